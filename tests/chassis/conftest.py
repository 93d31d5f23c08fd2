"""The chassis' tests: a database with its schema, a service on it, and topics of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from services.chassis.database import Database, UnitOfWork
from services.chassis.grpc_client import Sibling
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer
from services.chassis.topics import INGEST, create_topics
from tests.chassis.kit import Service, make_database, own_topics
from tests.chassis.rpc import Api, server_of, sibling_with


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Tracebacks as text: drawn with every frame's variables they take seconds, in which nothing else runs."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A service's migrations: one table."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    table = "CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);"
    (folder / "0001_effects.sql").write_text(table)
    return folder


@pytest.fixture
async def db(database: Any, migrations: Path) -> AsyncIterator[Database[UnitOfWork]]:
    """A service's database, connected and migrated."""
    made = make_database(database.dsn, migrations=migrations)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def service(db: Database[UnitOfWork], unique: str) -> Service:
    """A service on that database, with topics that nobody else uses (and that aren't made yet)."""
    return Service(db, *own_topics(unique))


@pytest.fixture
async def on_kafka(service: Service, kafka: str) -> Service:
    """That service, with its topics on a real Kafka."""
    await create_topics(KafkaAccess(kafka), topics=[service.ours, service.others])
    return service


@pytest.fixture
async def keeper(service: Service, kafka: str) -> Service:
    """That service, with a read model that its topics feed, and a table of what it did about some of it."""
    service.ours = replace(service.ours, types=INGEST.types)
    async with service.database.begin() as uow:
        await uow.connection.execute("CREATE TABLE acts (what text NOT NULL)")
    await create_topics(KafkaAccess(kafka), topics=[service.ours, service.others])
    return service


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """Somebody who issues tokens."""
    return Issuer(tmp_path)


@pytest.fixture
def api() -> Api:
    return Api()  # type: ignore[abstract] # the other methods stay unimplemented, and nobody calls them


@pytest.fixture
async def server(api: Api, issuer: Issuer) -> AsyncIterator[GrpcServer]:
    made = server_of(api, issuer)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def sibling(server: GrpcServer, issuer: Issuer) -> AsyncIterator[Sibling]:
    made = sibling_with(server, issuer.token("ada", Role.SCIENTIST))
    yield made
    await made.close()
