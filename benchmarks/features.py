# mypy: disable-error-code="no-untyped-call"
# scikit-learn ships no types.
"""What reading features online costs a prediction: beside the same model without them, and beside `feast serve` alone.

    python -m benchmarks features

One model of sixteen inputs answers one payment over HTTP. `without` gets all inputs in the request; `with` gets three
of them and two keys, and reads the other thirteen from two views of a real PostgreSQL, guarded as the platform has it.
`feast_serve` is Feast's own server (one worker, its own PostgreSQL store in the same database), which only reads the
same thirteen values: whoever calls it has yet to predict. One client asks after the other, and then eight at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pandas as pd
import yaml
from google.protobuf.json_format import MessageToJson

from benchmarks.figures import TIMES, Figure, percentiles, report
from benchmarks.http_load import load
from benchmarks.modelserver import stored
from benchmarks.processes import answering, postgres, process
from examples.fraud import features as computed
from examples.fraud import store as fraud
from examples.fraud.simulator import simulate
from examples.fraud.world import World
from golden.embedded.processes import free_port
from goldenpath.registry.v1 import events_pb2 as told
from services.chassis.errors import Unavailable
from services.features.definitions import views_of
from services.features.shapes import Row
from services.features.writer import Writer

REPO: Final = Path(fraud.__file__).parent / "feature_repo"
_SECONDS: Final = 6.0
_WARM_UP: Final = 2.0
_WORLD: Final = World(customers=1_000, terminals=2_000, days=40, seed=3)
_MODEL: Final = "payments"
_GUARDED: Final = "services.features.online_store.GuardedPostgreSQLOnlineStore"


@dataclass(frozen=True)
class _Ready:
    """What is measured: a payment's inputs, the model's place, and the stores' settings."""

    row: Mapping[str, float]
    keys: Mapping[str, str]
    folder: Path
    digest: str
    ours: Path
    feasts: Path


def measure() -> list[Figure]:
    """The three, one client and eight."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, postgres(Path(name)) as dsn:
        ready = _prepared(Path(name), dsn)
        everything = {"inputs": [_number(name, value) for name, value in ready.row.items()]}
        brought = [_number(name, ready.row[name]) for name in ("amount", "at_night", "on_weekend")]
        keyed = {"inputs": [*brought, *(_text(name, value) for name, value in ready.keys.items())]}
        path = f"/v2/models/{_MODEL}/infer"
        with _server(ready, {}) as port:
            figures = _loaded("features.without", port, path, everything)
        with _server(ready, {"FEATURES": _settings(), "FEATURES_STORE": str(ready.ours)}) as port:
            figures += _loaded("features.with", port, path, keyed)
            _check_found(port)
        with _feast_serve(ready) as port:
            asked = {"feature_service": fraud.SERVICE, "entities": {key: [value] for key, value in ready.keys.items()}}
            figures += _loaded("features.feast_serve", port, "/get-online-features", asked)
        return [*figures, *_ratios({figure.name: figure.value for figure in figures})]


def _ratios(values: Mapping[str, float]) -> Iterator[Figure]:
    for clients in ("1", "8"):
        ours, serve = values[f"features.with.{clients}.p50"], values[f"features.feast_serve.{clients}.p50"]
        yield Figure(
            f"features.vs_feast_serve.{clients}.ratio",
            round(ours / serve, 2),
            TIMES,
            "read and predicted, beside read alone; p50",
        )


def _loaded(name: str, port: int, path: str, request: Mapping[str, Any]) -> list[Figure]:
    body = json.dumps(request).encode()
    load(port, path, body, seconds=_WARM_UP)
    figures = []
    for connections in (1, 8):
        result = load(port, path, body, connections=connections, seconds=_SECONDS)
        if result.failed:
            raise Unavailable(f"{result.failed} of {len(result.seconds)} requests failed", where=name)
        figures.append(Figure(f"{name}.{connections}.per_second", round(result.per_second), "requests/s"))
        figures += percentiles(result.seconds, f"{name}.{connections}")
    return figures


def _prepared(folder: Path, dsn: str) -> _Ready:
    transactions = simulate(_WORLD)
    ours, feasts = _stores(folder, dsn)
    for settings in (ours, feasts):
        _fill(settings, transactions)
    inputs = computed.features_of(transactions).drop(columns="amount_over_usual")
    digest = _saved(folder, inputs, (transactions["scenario"] > 0).astype(int))
    keys = {key: str(fraud.keys_of(key, transactions.tail(1)).iloc[0]) for key in fraud.VIEWS.values()}
    return _Ready(dict(inputs.iloc[-1].items()), keys, folder, digest, ours, feasts)  # type: ignore[arg-type] # columns' names


def _stores(folder: Path, dsn: str) -> tuple[Path, Path]:
    found = urlsplit(dsn)
    database = {
        "host": found.hostname,
        "port": found.port,
        "database": found.path.removeprefix("/"),
        "user": found.username,
        "password": found.password,
        "db_schema": "public",
        "sslmode": "disable",
    }
    made = []
    for project, kind, more in (("ours", _GUARDED, {}), ("feasts", "postgres", {"conn_type": "pool"})):
        (folder / project).mkdir()
        said = {
            "project": project,
            "provider": "local",
            "registry": {"path": str(folder / project / "registry.db"), "cache_ttl_seconds": 0},
            "online_store": {"type": kind, **database, **more},
            "offline_store": {"type": "postgres", **database},
            "entity_key_serialization_version": 3,
        }
        file = folder / project / "feature_store.yaml"
        file.write_text(yaml.safe_dump(said))
        made.append(file)
    return made[0], made[1]


def _fill(settings: Path, transactions: pd.DataFrame) -> None:
    writer = Writer(settings, REPO)
    recent = datetime.now(UTC) - timedelta(minutes=1)
    for view, key in fraud.VIEWS.items():
        newest = fraud.rows_of(view, transactions).drop_duplicates(key, keep="last").drop(columns="event_time")
        rows = [{str(name): value for name, value in row.items()} for row in newest.to_dict("records")]
        writer.write(view, [Row({key: row.pop(key)}, row, recent) for row in rows])
    asyncio.run(writer.close())


def _saved(folder: Path, inputs: pd.DataFrame, label: pd.Series[int]) -> str:
    from mlflow import sklearn as flavor
    from mlflow.models import infer_signature
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(inputs, label)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow advises about the environment that it would like to write down
        flavor.save_model(
            model,
            str(folder / "model"),
            signature=infer_signature(inputs, model.predict_proba(inputs)),
            input_example=inputs[:2],
            pip_requirements=["scikit-learn"],
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],
        )
    return stored(folder / "model", folder / "store")


def _settings() -> str:
    message = told.FeatureSettings(service=fraud.SERVICE, fallback=told.FEATURE_FALLBACK_MISSING)
    message.deadline.FromTimedelta(timedelta(seconds=1))
    for view in views_of(REPO, fraud.SERVICE):
        kept = message.views.add(name=view.name, digest=view.digest, inputs=view.inputs, keys=view.keys)
        kept.ttl.FromTimedelta(view.ttl or timedelta(days=36_500))
    return MessageToJson(message, indent=None)


@contextmanager
def _server(ready: _Ready, more: Mapping[str, str]) -> Iterator[int]:
    port = free_port()
    settings = {
        "ARTIFACTS_FOLDER": str(ready.folder / "store"),
        "ARTIFACT_DIGEST": ready.digest,
        "MODEL": _MODEL,
        "VERSION": "1",
        "HTTP_ADDRESS": f"127.0.0.1:{port}",
        "GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
        "TRACES_FOLDER": str(ready.folder / "traces"),
        **more,
    }
    command = [sys.executable, "-m", "services.modelserver"]
    told_by = {f"GOLDENPATH_{name}": value for name, value in settings.items()}
    answers = answering(f"http://127.0.0.1:{port}/v2/health/ready")
    with process(command, Path(__file__).parents[1], told_by, answers, "the model server"):
        yield port


def _check_found(port: int) -> None:
    """See that what was measured is reading, and not waiting for a deadline."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        lines = response.read().decode().splitlines()
    others = [line for line in lines if "features_read_total{" in line and 'outcome="found"' not in line]
    if others:
        raise Unavailable(f"not every read found its values: {others}")


@contextmanager
def _feast_serve(ready: _Ready) -> Iterator[int]:
    port = free_port()
    feast = Path(sys.executable).with_name("feast")
    command: list[str | Path] = [
        feast,
        "-f",
        ready.feasts,
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-access-log",
    ]
    answers = answering(f"http://127.0.0.1:{port}/health")
    with process(command, ready.feasts.parent, {"FEAST_USAGE": "False"}, answers, "feast serve"):
        yield port


def _number(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "datatype": "FP64", "shape": [1], "data": [value]}


def _text(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [1], "data": [value]}


if __name__ == "__main__":
    report(measure(), Path(__file__).with_name("bench.json"))
