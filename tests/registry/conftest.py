"""The registry on a real PostgreSQL, with runs that a test makes up instead of MLflow's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.chassis.database import Database
from services.registry.app import database_of
from services.registry.artifacts import ArtifactStore
from services.registry.commands import Commands
from services.registry.queries import Queries
from services.registry.store import RegistryUnitOfWork
from tests.registry.made_up import FakeRuns


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def runs(artifacts: ArtifactStore) -> FakeRuns:
    made = FakeRuns(artifacts)
    made.add("run-1")
    return made


@pytest.fixture
async def registry_database(database: Any) -> AsyncIterator[Database[RegistryUnitOfWork]]:
    opened = database_of(database.dsn)
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
def commands(registry_database: Database[RegistryUnitOfWork], runs: FakeRuns) -> Commands:
    return Commands(registry_database, runs)


@pytest.fixture
def queries(registry_database: Database[RegistryUnitOfWork]) -> Queries:
    return Queries(registry_database)
