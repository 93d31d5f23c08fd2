"""How fast the model server answers one row, bare and through Envoy, beside the servers that people would use instead.

    python -m benchmarks.modelserver            ours alone
    python -m benchmarks modelserver            ours and its peers (see peers.py); the first time installs them

Every server gets the same scikit-learn model (a scaler and a logistic regression on ten numbers), the same row, and the
same load (see http_load.py): eight kept-alive connections. Ours runs with everything on: the check of the signature,
records to a real Kafka, traces of one request in twenty into a file, metrics; and through Envoy with the routes that
the deployer writes. `columns` is ours with a tensor for each column instead of one tensor for all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.figures import TIMES, Figure, percentiles, report
from benchmarks.http_load import load
from benchmarks.peers import PEERS, ROW, TENSOR, TRAIN, Peer
from golden.embedded.envoy import EnvoyProxy
from golden.embedded.kafka import KafkaBroker
from golden.embedded.processes import free_port, start, wait_until
from services.chassis.errors import Unavailable
from services.chassis.settings import KafkaAccess
from services.chassis.topics import create_topics
from services.deployer.domain.deployment import Arm, Place
from services.deployer.domain.routing import Address, Route, Routing, Share, Upstream
from services.deployer.router.envoy_config import clusters_of, route_configuration, routes_of
from services.modelserver.artifact import File, digest_of

_SECONDS: Final = 8.0
_START: Final = timedelta(seconds=120)  # the slowest, MLflow's, takes 20 s on an idle machine
_STOP: Final = timedelta(seconds=30)
_PATH: Final = "/v2/models/numbers/infer"
_PLACE: Final = Place("numbers", "production")
_AS_TENSOR: Final = json.dumps({"inputs": [TENSOR | {"name": "x"}]}).encode()
_AS_COLUMNS: Final = json.dumps(
    {"inputs": [{"name": f"x{at}", "datatype": "FP64", "shape": [1], "data": [value]} for at, value in enumerate(ROW)]}
).encode()


def measure() -> list[Figure]:
    """Ours, the peers, and how many times the best of them we are."""
    figures = ours()
    peers = [figure for peer in PEERS for figure in _beside(peer)]
    rates = {figure.name: figure.value for figure in [*figures, *peers] if figure.name.endswith("per_second")}
    mine = rates.pop("modelserver.bare.per_second")
    best = max((name for name in rates if ".peer." in name), key=lambda name: rates[name], default="")
    if not best:
        return figures
    ratio = Figure("modelserver.vs_best_peer.ratio", round(mine / rates[best], 2), TIMES, f"beside {best}")
    return [*figures, *peers, ratio]


def ours() -> list[Figure]:
    """Ours, bare, by columns, and through Envoy."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, _kafka(Path(name)) as bootstrap:
        folder = Path(name)
        figures: list[Figure] = []
        digests = _saved_models(folder)
        with _our_server(folder, digests["tensor"], bootstrap) as address:
            figures += _loaded("modelserver.bare", _port(address.http), _PATH, _AS_TENSOR)
            with _envoy(folder, address) as port:
                figures += _loaded("modelserver.through_envoy", port, _PATH, _AS_TENSOR)
        with _our_server(folder, digests["columns"], bootstrap) as address:
            figures += _loaded("modelserver.columns", _port(address.http), _PATH, _AS_COLUMNS)
        return figures


def _loaded(name: str, port: int, path: str, body: bytes) -> list[Figure]:
    result = load(port, path, body, seconds=_SECONDS)
    if result.failed:
        raise Unavailable(f"{result.failed} of {len(result.seconds)} requests failed", where=name)
    return [Figure(f"{name}.per_second", round(result.per_second), "requests/s"), *percentiles(result.seconds, name)]


def _beside(peer: Peer) -> list[Figure]:
    port, other = free_port(), free_port()
    try:
        command, folder = peer.prepare(port, other)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{peer.name} can't be measured here: {error}", file=sys.stderr)
        return []
    with _process(command, folder, {}, _answering(f"http://127.0.0.1:{port}{peer.ready}"), peer.name):
        return _loaded(f"modelserver.peer.{peer.name}", port, peer.path, peer.body)


def _saved_models(folder: Path) -> dict[str, str]:
    """The peers' model in our store, once for a tensor and once for columns; the artifacts' digests."""
    from mlflow import sklearn as flavor
    from mlflow.models import infer_signature

    made: dict[str, Any] = {}
    (folder / "train").mkdir()
    here = Path.cwd()
    os.chdir(folder / "train")
    try:
        exec(TRAIN, made)  # noqa: S102 (the very script that the peers run)
    finally:
        os.chdir(here)
    values = made["values"]
    frame = pd.DataFrame(values, columns=[f"x{at}" for at in range(values.shape[1])])
    digests = {}
    for name, example in (("tensor", values), ("columns", frame)):
        model = made["model"].fit(example, (np.asarray(example)[:, 0] > 0).astype(int))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow advises about the environment that it would like to write down
            flavor.save_model(
                model,
                str(folder / name),
                signature=infer_signature(example, model.predict_proba(example)),
                input_example=example[:2],
                pip_requirements=["scikit-learn"],
            )
        digests[name] = _stored(folder / name, folder / "store")
    return digests


def _stored(source: Path, store: Path) -> str:
    contents = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    files = [File(hashlib.sha256(content).hexdigest(), len(content), name) for name, content in contents.items()]
    folder = store / "artifacts" / digest_of(files)
    for name, content in contents.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    rows = [{"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in files]
    (folder / "manifest.json").write_text(json.dumps({"files": rows}))
    return folder.name


@contextmanager
def _our_server(folder: Path, digest: str, bootstrap: str) -> Iterator[Address]:
    address = Address(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    told = {
        "ARTIFACTS_FOLDER": folder / "store",
        "ARTIFACT_DIGEST": digest,
        "MODEL": _PLACE.model,
        "VERSION": 1,
        "HTTP_ADDRESS": address.http,
        "GRPC_ADDRESS": address.grpc,
        "KAFKA_BOOTSTRAP": bootstrap,
        "TRACES_FOLDER": folder / "traces",
    }
    settings = {f"GOLDENPATH_{name}": str(value) for name, value in told.items()}
    command = [sys.executable, "-m", "services.modelserver"]
    ready = _answering(f"http://{address.http}/v2/health/ready")
    with _process(command, Path(__file__).parents[1], settings, ready, "the model server"):
        yield address


@contextmanager
def _process(
    command: list[str], folder: Path, settings: Mapping[str, str], ready: Callable[[], bool], what: str
) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="bench-") as logs:
        environment = {**os.environ, **settings}
        running = start(command, log=Path(logs) / "log", environment=environment, cwd=folder)
        try:
            wait_until(ready, running, _START, what)
            yield
        finally:
            running.stop(_STOP, gently=signal.SIGTERM)


@contextmanager
def _kafka(folder: Path) -> Iterator[str]:
    broker = KafkaBroker(folder / "kafka", port=free_port(), controller_port=free_port())
    running = broker.start()
    try:
        asyncio.run(create_topics(KafkaAccess(broker.bootstrap)))
        yield broker.bootstrap
    finally:
        broker.stop(running)


@contextmanager
def _envoy(folder: Path, address: Address) -> Iterator[int]:
    """Envoy, told what the deployer would tell it of one stable version."""
    routing = Routing(
        (Upstream(_PLACE, 1, (address,)),), (Route(_PLACE, (Share(1, Arm.STABLE, epoch=1, weight=100),)),)
    )
    files = folder / "envoy"
    files.mkdir()
    _discovered(files / "cds.json", clusters_of(routing))
    _discovered(files / "rds.json", [route_configuration(routes_of(routing.routes))])
    proxy = EnvoyProxy(files, port=(port := free_port()), admin_port=free_port())
    running = proxy.start()
    try:
        wait_until(_answering(f"http://127.0.0.1:{port}/v2/models/{_PLACE.model}/ready"), running, _START, "Envoy")
        yield port
    finally:
        running.stop(_STOP)


def _discovered(path: Path, resources: list[Any]) -> None:
    path.write_text(json.dumps({"version_info": "1", "resources": resources}))


def _answering(url: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 (our own, on loopback)
                return bool(response.status == 200)  # noqa: PLR2004 (OK)
        except (urllib.error.URLError, OSError):
            return False

    return answers


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


if __name__ == "__main__":
    report(ours(), Path(__file__).with_name("bench.json"))
