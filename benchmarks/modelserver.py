"""How fast the model server answers one row, bare and through Envoy, beside the servers that people would use instead.

    python -m benchmarks.modelserver            ours alone
    python -m benchmarks modelserver            ours and its peers (see peers.py); the first time installs them

Every server gets the same scikit-learn model (a scaler and a logistic regression on ten numbers), the same row, and the
same load (see http_load.py): eight kept-alive connections. Ours runs with everything on: the check of the signature,
records to a real Kafka, traces of one request in twenty into a file, metrics; and through Envoy with the routes that
the deployer writes. `columns` is ours with a tensor for each column instead of one tensor for all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.figures import TIMES, Figure, percentiles, report
from benchmarks.http_load import load
from benchmarks.peers import PEERS, ROW, TENSOR, TRAIN, Peer
from benchmarks.processes import answering, cpu_seconds, envoy, kafka, process
from golden.embedded.processes import Running, free_port
from services.chassis.errors import Unavailable
from services.deployer.domain.deployment import Arm, Place
from services.deployer.domain.routing import Address, Route, Routing, Share, Upstream
from services.deployer.router.envoy_config import clusters_of, routes_of
from services.modelserver.artifact import File, digest_of

_WARM_UP: Final = 2.0
_SECONDS: Final = 8.0
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
    return [*figures, *peers, *_ratios({figure.name: figure.value for figure in [*figures, *peers]})]


def ours() -> list[Figure]:
    """Ours, bare, by columns, and through Envoy."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, kafka(Path(name)) as bootstrap:
        folder = Path(name)
        figures: list[Figure] = []
        digests = _saved_models(folder)
        with _our_server(folder, digests["tensor"], bootstrap) as (address, running):
            figures += _loaded("modelserver.bare", _port(address.http), _PATH, _AS_TENSOR, running)
            with envoy(*_our_routes(address), ready=f"/v2/models/{_PLACE.model}/ready") as port:
                figures += _loaded("modelserver.through_envoy", port, _PATH, _AS_TENSOR, running)
        with _our_server(folder, digests["columns"], bootstrap) as (address, running):
            figures += _loaded("modelserver.columns", _port(address.http), _PATH, _AS_COLUMNS, running)
        return figures


def _beside(peer: Peer) -> list[Figure]:
    """A peer, bare and through Envoy; nothing where it can't be had here."""
    name = f"modelserver.peer.{peer.name}"
    try:
        with peer.serving() as (port, running):
            figures = _loaded(f"{name}.bare", port, peer.path, peer.body, running)
            with envoy(*_plain_route(port), ready=peer.ready) as proxied:
                return [*figures, *_loaded(f"{name}.through_envoy", proxied, peer.path, peer.body, running)]
    except Unavailable as error:
        print(f"  {peer.name} can't be measured here: {error}", file=sys.stderr)
        return []


def _ratios(values: Mapping[str, float]) -> Iterator[Figure]:
    """Ours beside the best peer of each kind: the most requests a second, the shortest 99th percentile."""
    for how, what in (("bare", "vs_best_peer"), ("through_envoy", "vs_best_peer.through_envoy")):
        rates, tails = _of_peers(values, f"{how}.per_second"), _of_peers(values, f"{how}.p99")
        if rates:
            most, shortest = max(rates, key=rates.__getitem__), min(tails, key=tails.__getitem__)
            rate = values[f"modelserver.{how}.per_second"] / rates[most]
            tail = values[f"modelserver.{how}.p99"] / tails[shortest]
            yield Figure(f"modelserver.{what}.ratio", round(rate, 2), TIMES, f"{most}, requests/s; aim: 3")
            yield Figure(f"modelserver.{what}.p99.ratio", round(tail, 2), TIMES, f"{shortest}; aim: at most 1")


def _of_peers(values: Mapping[str, float], which: str) -> dict[str, float]:
    """One figure of each peer that could be measured."""
    named = {peer.name: f"modelserver.peer.{peer.name}.{which}" for peer in PEERS}
    return {peer: values[name] for peer, name in named.items() if name in values}


def _loaded(name: str, port: int, path: str, body: bytes, server: Running) -> list[Figure]:
    load(port, path, body, seconds=_WARM_UP)
    before = cpu_seconds(server)
    result = load(port, path, body, seconds=_SECONDS)
    if result.failed:
        raise Unavailable(f"{result.failed} of {len(result.seconds)} requests failed", where=name)
    cpu = (cpu_seconds(server) - before) / len(result.seconds)
    return [
        Figure(f"{name}.per_second", round(result.per_second), "requests/s"),
        Figure(f"{name}.cpu", round(cpu * 1e6), "µs/request", "of the server alone; a busy machine changes it little"),
        *percentiles(result.seconds, name),
    ]


def _saved_models(folder: Path) -> dict[str, str]:
    """The peers' model in our store, once for a tensor and once for columns; the artifacts' digests."""
    from mlflow import sklearn as flavor
    from mlflow.models import infer_signature

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it advises about an environment that nobody builds
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
        digests[name] = stored(folder / name, folder / "store")
    return digests


def stored(source: Path, store: Path) -> str:
    """Put a saved model into an artifact store; its digest."""
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
def _our_server(folder: Path, digest: str, bootstrap: str) -> Iterator[tuple[Address, Running]]:
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
    ready = answering(f"http://{address.http}/v2/health/ready")
    with process(command, Path(__file__).parents[1], settings, ready, "the model server") as running:
        yield address, running


def _our_routes(address: Address) -> tuple[list[Any], dict[Place, Any]]:
    """What the deployer would tell Envoy of one stable version."""
    upstreams, shares = (Upstream(_PLACE, 1, (address,)),), (Share(1, Arm.STABLE, epoch=1, weight=100),)
    routing = Routing(upstreams, (Route(_PLACE, shares),))
    return clusters_of(routing), routes_of(routing.routes)


def _plain_route(port: int) -> tuple[list[Any], dict[Place, Any]]:
    """The least that sends everything to a port: a peer's Envoy does less than ours."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    cluster = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "peer",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "peer", "endpoints": endpoints},
    }
    return [cluster], {_PLACE: [{"match": {"prefix": "/"}, "route": {"cluster": "peer"}}]}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


if __name__ == "__main__":
    report(ours(), Path(__file__).with_name("bench.json"))
