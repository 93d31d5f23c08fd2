"""The real parts that tests run on, each started when the first test asks for it and stopped at the end.

kafka      one broker for the whole run; `unique` keeps tests apart on it
postgres   one server for the whole run, without fsync
database   an empty database of the test's own, dropped after it
spans      what the test's own process traces
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from golden.embedded.kafka import KafkaBroker
from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import free_port

_SERVERS = frozenset({"kafka", "postgres", "one_envoy"})


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker that this module gives."""
    config.addinivalue_line("markers", "servers: starts a real Kafka, PostgreSQL, Envoy or service")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a server, so that `make test-fast` leaves it out."""
    for item in items:
        if isinstance(item, pytest.Function) and _SERVERS & set(item.fixturenames):
            item.add_marker(pytest.mark.servers)


@dataclass(frozen=True)
class Database:
    """A database of one test's own.

    Args:
        name: What it is called.
        role: Who owns it, the only role that can open it.
        dsn: How to open it: asyncpg and psycopg take it as it is.
    """

    name: str
    role: str
    dsn: str

    def __str__(self) -> str:
        return self.dsn


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a real broker, host:port. Topics aren't made by themselves."""
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"), port=free_port(), controller_port=free_port())
    running = broker.launch()
    try:
        broker.wait(running)
        yield broker.bootstrap
    finally:
        broker.stop(running)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL 18, outside of pytest's own folder: that one is closed to the account that root gives it."""
    with tempfile.TemporaryDirectory(prefix="goldenpath-postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), port=None, fsync=False)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
def database(postgres: PostgresServer, unique: str) -> Iterator[Database]:
    """A fresh, empty database and its DSN."""
    name, password = unique.replace("-", "_"), secrets.token_urlsafe(12)
    postgres.create_database(name, name, password)
    yield Database(name, name, postgres.dsn(name, name, password))
    postgres.drop_database(name, name)


@pytest.fixture
def unique() -> str:
    """A prefix that no other test uses: for topics, consumer groups, names."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture(scope="session")
def _every_span() -> InMemorySpanExporter:
    """Where the whole process's spans go; OpenTelemetry takes one provider for a process."""
    exporter = InMemorySpanExporter()
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def spans(_every_span: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """The spans that a test makes."""
    _every_span.clear()
    yield _every_span
    _every_span.clear()
