"""The servers that people would use instead of ours, each in an environment of its own, made once by uv.

Each is started as its own documentation says, with one process, on the model that `TRAIN` makes there: the same
scikit-learn code on the same numbers. MLServer predicts in its own process (parallel_workers 0), which is faster for a
small model than its default of one worker beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

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
import sys, joblib
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
        return InferResponse(payload.id, "numbers", [output])

ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1, access_log_format=None).start([Numbers()])
"""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The Python of an environment of its own, made where it isn't there yet.

    Raises:
        subprocess.CalledProcessError: it can't be made.
    """
    folder = _CACHE / name
    python = folder / "venv" / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        uv = shutil.which("uv") or str(_ROOT / ".uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *requirements], check=True)
        (folder / "complete").touch()
    return python


@dataclass(frozen=True)
class Peer:
    """A server to be measured beside ours.

    Args:
        name: Its name in figures.
        requirements: What its environment holds.
        train: The script that makes its model in its folder.
        command: What starts it, in its folder; {port} and {other} stand for free ports, {bin} for its environment's.
        files: Files of its folder, by name, with {port} and {other} too.
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

    def prepare(self, port: int, other: int) -> tuple[list[str], Path]:
        """Make its environment and its model; the command that starts it on these ports, and its folder.

        Raises:
            subprocess.CalledProcessError: its environment or its model can't be made.
        """
        python = environment(self.name, self.requirements)
        folder = python.parents[2]
        (folder / "train.py").write_text(self.train)
        subprocess.run([python, "train.py"], check=True, cwd=folder)
        for name, text in self.files.items():
            (folder / name).write_text(_filled(text, port, other, python.parent))
        return [_filled(part, port, other, python.parent) for part in self.command], folder


def _filled(text: str, port: int, other: int, binaries: Path) -> str:
    return text.replace("{port}", str(port)).replace("{other}", str(other)).replace("{bin}", str(binaries))


_SKLEARN: Final = "scikit-learn>=1.6"
PEERS: Final = (
    Peer(
        name="mlserver",
        requirements=("mlserver==1.7.1", "mlserver-sklearn==1.7.1", _SKLEARN),
        command=("{bin}/mlserver", "start", "."),
        files={
            "settings.json": '{"http_port": {port}, "grpc_port": {other}, "metrics_port": null, "parallel_workers": 0}',
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
        command=("{bin}/python", "serve.py", "{port}"),
        files={"serve.py": _KSERVE},
        ready="/v2/models/numbers/ready",
        path="/v2/models/numbers/infer",
        request={"inputs": [TENSOR | {"name": "x"}]},
    ),
    Peer(
        name="mlflow",
        requirements=("mlflow==3.17.2", _SKLEARN),
        train=TRAIN + _SAVE_BY_MLFLOW,
        command=("{bin}/mlflow", "models", "serve", "-m", "model", "-p", "{port}", "--env-manager", "local"),
        ready="/ping",
        path="/invocations",
        request={"inputs": [ROW]},
    ),
)
