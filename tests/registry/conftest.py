"""The registry on a real PostgreSQL, with runs that a test makes up instead of MLflow's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from services.chassis.database import Database
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.runner import Background
from services.chassis.settings import KafkaAccess
from services.chassis.signatures import Signers
from services.chassis.testing import Issuer, Signer, signers_of
from services.chassis.topics import create_topics
from services.chassis.watching import Changes
from services.registry.app import database_of
from services.registry.artifacts import ArtifactStore
from services.registry.commands import Commands
from services.registry.consumers import consumer_of
from services.registry.queries import Queries
from services.registry.store import CHANNEL, RegistryUnitOfWork
from tests.registry.made_up import FakeDeployments, FakeRuns, Trained
from tests.registry.wires import Topics


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


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
def deployments() -> FakeDeployments:
    return FakeDeployments()


@pytest.fixture
def commands(registry_database: Database[RegistryUnitOfWork], runs: FakeRuns, deployments: FakeDeployments) -> Commands:
    return Commands(registry_database, runs, deployments)


@pytest.fixture
async def queries(registry_database: Database[RegistryUnitOfWork]) -> AsyncIterator[Queries]:
    changes = Changes(registry_database, CHANNEL)
    watching = Background("changes", changes.run)
    await watching.start()
    yield Queries(registry_database, changes)
    await watching.stop()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    script = Path(__file__).parent / "train.py"
    ended = subprocess.run(
        [sys.executable, str(script), uri, str(folder / "artifacts")],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    return Trained(uri, json.loads(ended.stdout.splitlines()[-1]))


@pytest.fixture
def ada() -> Signer:
    """Somebody whose signatures the registry knows."""
    return Signer("ada")


@pytest.fixture
async def topics(
    kafka: str, registry_database: Database[RegistryUnitOfWork], runs: FakeRuns, ada: Signer, tmp_path: Path
) -> AsyncIterator[Topics]:
    access = KafkaAccess(kafka)
    await create_topics(access)
    signers = Signers(signers_of(tmp_path, ada))
    patience = timedelta(seconds=10)
    consumer = consumer_of(registry_database, runs, kafka=access, session_timeout=patience, signers=signers)
    relay = Relay(registry_database, Leases(registry_database, duration=timedelta(seconds=5)), kafka=access)
    parts = [Background("consumer", consumer.run), Background("relay", relay.run)]
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    for part in parts:
        await part.start()
    yield Topics(kafka, producer, consumer)
    for part in parts:
        await part.stop()
    await producer.stop()


@pytest.fixture
def model(unique: str) -> str:
    """A model of the test's own, since the topics are everybody's."""
    return unique
