"""Models as MLflow saves them, an artifact store that holds them, and servers that serve them.

models     two models, saved once: `mixed` (columns of every datatype) and `matrix` (one tensor, a regression)
store      an artifact store of the test's own
serving    starts a server in the test's own event loop, with records that stay in memory
"""

# mypy: disable-error-code="no-untyped-call"
# scikit-learn ships no types.

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from services.chassis.clock import SystemClock
from services.chassis.cloudevents import CloudEvent, body
from services.modelserver.app import ModelServer
from services.modelserver.artifact import File, digest_of
from services.modelserver.loading import load
from services.modelserver.settings import ModelServerSettings

# Clients of other vendors run as processes of their own: their messages have the names of ours.
collect_ignore = ["clients"]

ROWS = 200
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")


def census(rows: int = ROWS) -> pd.DataFrame:
    """Made-up people: a column of every datatype; some ages and some occupations are missing."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "age": random.normal(40, 12, rows).round(1),
            "hours": random.normal(38, 5, rows).astype("float32"),
            "dependants": random.integers(0, 5, rows),
            "district": random.integers(0, 20, rows).astype("int32"),
            "owner": random.random(rows) < 0.5,
            "occupation": random.choice(np.array(["clerk", "farmer", "müller"], dtype=object), rows),
        }
    )
    frame.loc[::17, "age"] = np.nan
    frame.loc[::19, "occupation"] = np.nan
    return frame


def mixed_model() -> Any:
    """A pipeline as a data scientist writes it: columns chosen by name, gaps filled, text encoded, labels of text."""
    people = census()
    numbers, texts = ["age", "hours", "dependants", "district", "owner"], ["occupation"]
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), texts),
    )
    labels = np.where(people["age"].fillna(40) + 3 * people["owner"] > 42, "repays", "defaults")
    return make_pipeline(prepare, LogisticRegression()).fit(people, labels)


def matrix_model() -> Any:
    """A regression on a tensor of three columns: their sum."""
    values = np.random.default_rng(1).normal(size=(50, 3))
    return LinearRegression().fit(values, values.sum(axis=1))


def save(model: Any, folder: Path, example: Any, **options: Any) -> Path:
    """Save a model the way MLflow does, with a signature from its example."""
    from mlflow import sklearn as flavor
    from mlflow.models import infer_signature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow advises about integers and about pickles, and uses what pandas left
        options.setdefault("pip_requirements", ["scikit-learn", "pandas", "numpy"])
        options.setdefault("skops_trusted_types", ["numpy.dtype"])
        predicted = model.predict(example)
        signature = infer_signature(example, predicted)
        flavor.save_model(model, str(folder), signature=signature, input_example=example[:3], **options)
    return folder


def put(store: Path, source: Path) -> str:
    """Copy a folder into an artifact store, as the registry does; its digest."""
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


@dataclass(frozen=True)
class Models:
    """Folders of saved models, and the models that were saved there."""

    mixed: Path
    matrix: Path
    mixed_model: Any
    matrix_model: Any


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    mixed, matrix = mixed_model(), matrix_model()
    save(mixed, folder / "mixed", census().dropna())
    save(matrix, folder / "matrix", np.random.default_rng(2).normal(size=(5, 3)))
    return Models(folder / "mixed", folder / "matrix", mixed, matrix)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@dataclass
class MemorySink:
    """Keeps batches; while `down` is set, it refuses them with it."""

    events: list[CloudEvent] = field(default_factory=list)
    down: Exception | None = None
    stopped: bool = False

    async def send(self, event: CloudEvent) -> None:
        if self.down is not None:
            raise self.down
        self.events.append(event)

    async def stop(self) -> None:
        self.stopped = True

    @property
    def batches(self) -> list[InferenceRecorded]:
        return [body(event, InferenceRecorded) for event in self.events]


@dataclass(frozen=True)
class Served:
    """A running server and where its records go."""

    server: ModelServer
    sink: MemorySink

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.server.http.port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.server.grpc.port}"


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serving(store: Path) -> AsyncIterator[Serve]:
    """Starts servers on free ports; they are stopped at the end of the test."""
    started: list[ModelServer] = []

    async def serve(folder: Path, **more: Any) -> Served:
        digest = put(store, folder)
        settings = ModelServerSettings.model_validate(
            {
                "artifacts_folder": store,
                "artifact_digest": digest,
                "model": "credit",
                "version": 3,
                "http_address": "127.0.0.1:0",
                "grpc_address": "127.0.0.1:0",
                "kafka_bootstrap": "memory",
                "record_flush": timedelta(milliseconds=10),
                "trace_ratio": 0.0,
            }
            | more
        )
        sink = MemorySink()
        server = ModelServer(settings, load(store, digest), clock=SystemClock(), sink=sink)
        started.append(server)
        await server.start()
        return Served(server, sink)

    yield serve
    for server in started:
        await server.stop()


@pytest.fixture
async def mixed(serving: Serve, models: Models) -> Served:
    return await serving(models.mixed)


@pytest.fixture
async def matrix(serving: Serve, models: Models) -> Served:
    return await serving(models.matrix)


def environment(**variables: object) -> dict[str, str]:
    """The environment of a process of the test's own: what it needs of ours, and GOLDENPATH_ variables."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    return kept | {f"GOLDENPATH_{name.upper()}": str(value) for name, value in variables.items()}


def tensor(name: str, datatype: str, *values: Any) -> dict[str, Any]:
    """A tensor of the protocol's JSON."""
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": list(values)}


def person(**changes: dict[str, Any] | None) -> dict[str, Any]:
    """A request for one person; a change replaces an input, and None takes it away."""
    inputs = {
        "age": tensor("age", "FP64", 41.5),
        "hours": tensor("hours", "FP32", 38.0),
        "dependants": tensor("dependants", "INT64", 2),
        "district": tensor("district", "INT32", 7),
        "owner": tensor("owner", "BOOL", True),
        "occupation": tensor("occupation", "BYTES", "clerk"),
    }
    merged = inputs | changes
    return {"inputs": [value for value in merged.values() if value is not None]}


class _Kept(SpanExporter):
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._rows += [_row(span) for span in spans]
        return SpanExportResult.SUCCESS


def _row(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None
    return {
        "name": span.name,
        "kind": span.kind.name,
        "trace_id": f"{context.trace_id:032x}",
        "attributes": dict(span.attributes or {}),
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
    }


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The spans that end during the test, in their order."""
    rows: list[dict[str, Any]] = []
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_Kept(rows)))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return rows
