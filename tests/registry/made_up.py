"""What the registry's tests make up: runs, requests, and a look at what was told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.database import Database
from services.chassis.errors import NotFound
from services.chassis.identity import Caller, Role
from services.registry.artifacts import ArtifactStore
from services.registry.domain.versions import Brought
from services.registry.handlers import ImportedRun
from services.registry.messages import QUESTIONS
from services.registry.store import RegistryUnitOfWork

ADA = Caller("ada@bank.example", frozenset({Role.SCIENTIST}))
DATA = "d" * 64
PROFILE = b"a profile"


@dataclass(frozen=True)
class Trained:
    """An MLflow with runs in it."""

    uri: str
    runs: dict[str, str]


class FakeRuns:
    """Runs that a test makes up; their files go into a real artifact store."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._runs: dict[str, tuple[Mapping[str, str], bool, dict[str, Any]]] = {}

    def add(self, run: str, files: Mapping[str, str] | None = None, *, seasonal: bool = False, **brought: Any) -> None:
        self._runs[run] = (files or {"MLmodel": f"run_id: {run}", "model.skops": "weights"}, seasonal, brought)

    async def bring(self, run: str) -> ImportedRun:
        if run not in self._runs:
            raise NotFound(f"MLflow has no run {run!r}", where="mlflow_run")
        files, seasonal, brought = self._runs[run]
        with self._artifacts.staging() as staging:
            for path, content in files.items():
                (staging.files / path).parent.mkdir(parents=True, exist_ok=True)
                (staging.files / path).write_text(content)
            artifact = staging.seal()
        digest = hashlib.sha256(PROFILE).hexdigest()
        usual: dict[str, Any] = {"metrics": {"log_loss": 0.126, "auc": 0.932}, "profile_digest": digest}
        return ImportedRun(Brought(artifact.digest, artifact.files, **usual | brought), PROFILE, seasonal)


def registration(model: str = "credit", run: str = "run-1", **more: Any) -> pb.RegisterVersionRequest:
    usual: dict[str, Any] = {
        "model": model,
        "risk_tier": told.RISK_TIER_HIGH,
        "owner": "risk-team",
        "use_case": "pre-screening",
        "mlflow_run": run,
        "datasets": [dataset()],
        "promise": told.Promise(metric="log_loss", margin=0.02),
    }
    return pb.RegisterVersionRequest(**usual | more)


def dataset(name: str = "census", digest: str = DATA, **more: Any) -> pb.DatasetInput:
    usual: dict[str, Any] = {
        "owner": "data-team",
        "licence": "CC-BY-4.0",
        "personal_data": "pseudonymous",
        "datasheet_json": '{"@type": "sc:Dataset"}',
        "answers": {question: f"about {question}" for question in QUESTIONS},
    }
    return pb.DatasetInput(name=name, digest=digest, **usual | more)


@dataclass
class FakeDeployments:
    """What serves, as a test says: by model and version, the environments."""

    serves: dict[tuple[str, int], list[str]] = field(default_factory=dict)

    async def of_version(self, model: str, version: int) -> list[str]:
        return self.serves.get((model, version), [])


async def outbox(database: Database[RegistryUnitOfWork]) -> list[tuple[str, bytes]]:
    """What was told: type and body of every event, in the order of the outbox."""
    async with database.read() as connection:
        rows = await connection.fetch("SELECT header_names, header_values, value FROM outbox ORDER BY id")
    headers = [dict(zip(row["header_names"], row["header_values"], strict=True)) for row in rows]
    return [(named["ce_type"].decode(), row["value"]) for named, row in zip(headers, rows, strict=True)]
