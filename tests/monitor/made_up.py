"""Records, batches and a registry that tests of the monitor make up."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from itertools import count as counting
from typing import Any

import numpy as np

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.registry.v1 import registry_service_pb2 as registry_pb
from goldenpath.registry.v1.events_pb2 import DriftSettings
from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceServicer
from services.chassis.errors import NotFound
from services.modelserver.batches import Packer
from services.modelserver.columns import Entry
from services.modelserver.predict import Prediction
from services.modelserver.route import Route
from services.modelserver.schema import Tensor, schema_of
from services.modelserver.signature import Matrix
from services.profile import Column, ReferenceProfile, profile_of
from services.profile.columns import Numbers

NUMBERS = counting(1)
SERVER = str(uuid.uuid4())


def credit(random: np.random.Generator, rows: int, **broken: Column) -> dict[str, Column]:
    """Applicants: an age, an education, gains that most don't have; `broken` replaces columns."""
    schools = np.array(["school", "college", "masters", "none"], dtype=object)
    made: dict[str, Column] = {
        "age": random.integers(18, 90, rows),
        "education": random.choice(schools, rows, p=[0.5, 0.3, 0.1, 0.1]),
        "gains": np.where(random.random(rows) < 0.05, random.lognormal(7, 1, rows), 0.0),
    }
    return made | broken


def profile(seed: int = 1, rows: int = 20_000) -> ReferenceProfile:
    """The reference of `credit`, with scores."""
    random = np.random.default_rng(seed)
    return profile_of(credit(random, rows), scores={"score": random.beta(1, 9, rows)})


def batch_of(
    columns: dict[str, Column],
    scores: np.ndarray[Any, np.dtype[np.float64]],
    *,
    version: int = 1,
    epoch: int = 1,
    arm: int = pb.ARM_STABLE,
    model: str = "credit",
    **more: Any,
) -> pb.InferenceRecorded:
    """A batch as a model server sends it."""
    rows = len(scores)
    ids = [uuid.uuid4().bytes for _ in range(rows)]
    body: dict[str, Any] = {
        "model": model,
        "version": version,
        "environment": "production",
        "epoch": epoch,
        "arm": arm,
        "server": SERVER,
        "batch": next(NUMBERS),
        "record_ids": b"".join(ids),
        "event_times_us": [int(datetime.now(UTC).timestamp() * 1e6)] * rows,
        "inputs": [column_of(name, column) for name, column in columns.items()],
        "outputs": [
            pb.Column(name="score", numbers=scores.tolist()),
            column_of("label", np.where(scores > 0.5, "yes", "no").astype(object)),
        ],
    }
    return pb.InferenceRecorded(**(body | more))


def served(vectors: Numbers, model: str) -> list[pb.InferenceRecorded]:
    """What a model server of one tensor tells of a request for some vectors, as it checks and packs it."""
    signature = Matrix("text", "FP64", vectors.shape[1])
    packer = Packer(model, 1, "production", "0" * 64, signature.columns)
    rows = schema_of(signature).rows([Tensor(signature.name, "FP64", vectors.shape, vectors.tolist())])
    now, ids = datetime.now(UTC), [uuid.uuid4().bytes for _ in vectors]
    scores = Prediction([0.5] * rows.size, None)
    entry = Entry(Route(epoch=1), ids, int(now.timestamp() * 1e6), rows, scores, 100, "")
    return [batch.body for batch in packer.close([entry], now=now, dropped=lambda: 0, lost=lambda _: None)]


def column_of(name: str, column: Column) -> pb.Column:
    """A column as a batch carries it."""
    values = np.asarray(column)
    if values.dtype.kind != "O":
        return pb.Column(name=name, numbers=values.astype(float).tolist())
    codes: dict[str, int] = {}
    coded = [-1 if text is None else codes.setdefault(text, len(codes)) for text in values]
    return pb.Column(name=name, dictionary=list(codes), codes=coded)


class MadeUpRegistry(RegistryServiceServicer):
    """A registry that knows the versions that a test put in, and answers what the monitor asks."""

    def __init__(self) -> None:
        self.profiles: dict[tuple[str, int], bytes] = {}
        self.drift = DriftSettings()
        self.asked = 0

    async def GetVersion(self, request: registry_pb.GetVersionRequest, _: Any) -> registry_pb.GetVersionResponse:  # noqa: N802 - the contract's name
        self.asked += 1
        key = request.model, request.version
        if key not in self.profiles:
            raise NotFound(f"there is no version {request.version} of {request.model}")
        version = registry_pb.Version(drift=self.drift)
        version.registered.model, version.registered.version = key
        version.registered.profile_digest = "0" * 64 if self.profiles[key] else ""
        return registry_pb.GetVersionResponse(version=version)

    async def GetProfile(self, request: registry_pb.GetProfileRequest, _: Any) -> registry_pb.GetProfileResponse:  # noqa: N802 - the contract's name
        return registry_pb.GetProfileResponse(profile=self.profiles[request.model, request.version])
