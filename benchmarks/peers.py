"""The servers that people would use instead of ours, each in an environment of its own, made once by uv.

Each is started as its own documentation says, with one process, on the model that `TRAIN` makes there: the same
scikit-learn code on the same numbers. Where a setting makes a peer faster it is chosen: MLServer predicts in its own
process (parallel_workers 0) and without metrics, kserve without its access log and its gRPC server.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import answering, process
from golden.embedded.processes import Running, free_port
from services.chassis.errors import Unavailable

_ROOT: Final = Path(__file__).parents[1]
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "goldenpath" / "peers"
ROW: Final = [0.1 * place for place in range(10)]
TENSOR: Final = {"shape": [1, len(ROW)], "datatype": "FP64", "data": ROW}

TRAIN: Final = """
import joblib, numpy
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
values = numpy.random.default_rng(0).normal(size=(2000, 10))
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(values, (values[:, 0] > 0).astype(int))
joblib.dump(model, "model.joblib")
"""
_SAVE_BY_MLFLOW: Final = """
import mlflow, shutil
shutil.rmtree("model", ignore_errors=True)
signature = mlflow.models.infer_signature(values, model.predict_proba(values))
mlflow.sklearn.save_model(model, "model", signature=signature, pyfunc_predict_fn="predict_proba")
"""
_KSERVE: Final = """
import sys, uuid, joblib
from kserve import InferOutput, InferResponse, Model, ModelServer

class Numbers(Model):
    def __init__(self):
        super().__init__("numbers")
        self.model = joblib.load("model.joblib")
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        scores = self.model.predict_proba(payload.inputs[0].as_numpy())[:, 1]
        output = InferOutput("score", list(scores.shape), "FP64")
        output.set_data_from_numpy(scores, binary_data=False)
        return InferResponse(payload.id or str(uuid.uuid4()), "numbers", [output])

ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1, access_log_format=None).start([Numbers()])
"""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The Python of an environment of its own, made where it isn't there yet: kept by what it is made of.

    Raises:
        Unavailable: it can't be made.
    """
    content = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    folder = _CACHE / f"{name}-{content}"
    python = folder / "venv" / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"  installing {name} …", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        uv = shutil.which("uv") or str(_ROOT / ".uv" / "bin" / "uv")
        _run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], folder)
        _run([uv, "pip", "install", "--quiet", "--python", python, *requirements], folder)
        (folder / "complete").touch()
    return python


def asked(python: Path, script: str, question: str = "") -> Any:
    """What a script of a peer's environment answers, as JSON on a line that begins with RESULT.

    None of them tells its makers that it was run.

    Raises:
        Unavailable: it fails, or takes longer than an hour.
    """
    silent = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    command: list[str | Path] = [python, "-c", script]
    try:
        ended = subprocess.run(
            command, check=True, capture_output=True, text=True, input=question, env=os.environ | silent, timeout=3_600
        )
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"it can't be run here: {error.stderr.strip()[-300:]}", where=str(python)) from None
    except subprocess.TimeoutExpired:
        raise Unavailable("it took longer than an hour", where=str(python)) from None
    return json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("RESULT ")).split(" ", 1)[1])


@dataclass(frozen=True)
class Peer:
    """A server to be measured beside ours.

    Args:
        name: Its name in figures.
        requirements: What its environment holds.
        train: The script that makes its model in its folder.
        command: What starts it, in its folder, with its environment's programs first; {port} is the port it serves on,
            {other} and {third} are free.
        files: Files of its folder, by name, with the ports too.
        ready: The path that answers 200 once it serves.
        path: Where predictions are asked for.
        request: The request.
    """

    name: str
    requirements: Sequence[str]
    command: Sequence[str]
    ready: str
    path: str
    request: Mapping[str, Any]
    train: str = TRAIN
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The request's body."""
        return json.dumps(self.request).encode()

    @contextmanager
    def serving(self) -> Iterator[tuple[int, Running]]:
        """Make its environment where it isn't there yet, and its model, and serve; the port and the process.

        Raises:
            Unavailable: it can't be made, or doesn't start.
        """
        python = environment(self.name, self.requirements)
        programs, folder = python.parent, python.parents[2]
        (folder / "train.py").write_text(self.train)
        _run([python, "train.py"], folder)
        ports = {"port": free_port(), "other": free_port(), "third": free_port()}
        for name, text in self.files.items():
            (folder / name).write_text(_filled(text, ports))
        command = [_filled(part, ports) for part in self.command]
        settings = {"PATH": f"{programs}:{os.environ['PATH']}"}
        ready = answering(f"http://127.0.0.1:{ports['port']}{self.ready}")
        with process([programs / command[0], *command[1:]], folder, settings, ready, self.name) as running:
            yield ports["port"], running


def _run(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"it can't be made here: {done.stderr.strip()[-1000:]}", where=folder.name)


def _filled(text: str, ports: Mapping[str, int]) -> str:
    for name, port in ports.items():
        text = text.replace("{" + name + "}", str(port))
    return text


_SKLEARN: Final = "scikit-learn>=1.6"
PEERS: Final = (
    Peer(
        name="mlserver",
        requirements=("mlserver==1.7.1", "mlserver-sklearn==1.7.1", _SKLEARN),
        command=("mlserver", "start", "."),
        files={
            "settings.json": '{"http_port": {port}, "grpc_port": {other}, "metrics_port": {third}, '
            '"metrics_endpoint": null, "parallel_workers": 0}',
            "model-settings.json": '{"name": "numbers", "implementation": "mlserver_sklearn.SKLearnModel", '
            '"parameters": {"uri": "./model.joblib"}}',
        },
        ready="/v2/models/numbers/ready",
        path="/v2/models/numbers/infer",
        request={"inputs": [TENSOR | {"name": "x"}], "outputs": [{"name": "predict_proba"}]},
    ),
    Peer(
        name="kserve",
        requirements=("kserve==0.21.*", _SKLEARN),
        command=("python", "serve.py", "{port}"),
        files={"serve.py": _KSERVE},
        ready="/v2/models/numbers/ready",
        path="/v2/models/numbers/infer",
        request={"inputs": [TENSOR | {"name": "x"}]},
    ),
    Peer(
        name="mlflow",
        requirements=("mlflow==3.17.2", _SKLEARN),
        train=TRAIN + _SAVE_BY_MLFLOW,
        command=("mlflow", "models", "serve", "-m", "model", "-p", "{port}", "--env-manager", "local"),
        ready="/ping",
        path="/invocations",
        request={"inputs": [ROW]},
    ),
)
