"""The embedded PostgreSQL: everybody has a database of their own, and nobody opens another's."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy

from golden.embedded.postgres import PostgresServer
from tests.conftest import Database

pytestmark = pytest.mark.servers

_SOON = timedelta(seconds=20)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a server of the test's own, which is stopped after it."""
    with tempfile.TemporaryDirectory(prefix="goldenpath-postgres-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        PostgresServer(Path(folder), port=None).stop()


async def test_asyncpg_psycopg_and_sqlalchemy_take_the_dsn(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("CREATE TABLE t (n int)")
    await connection.close()
    with psycopg.connect(database.dsn) as other:
        other.execute("INSERT INTO t VALUES (1)")
    engine = sqlalchemy.create_engine(database.dsn.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as third:
        assert third.execute(sqlalchemy.text("SELECT n FROM t")).scalar() == 1
    engine.dispose()


def test_a_password_with_every_kind_of_sign_works(postgres: PostgresServer, unique: str) -> None:
    password = "a/b:c@d e%f?g#h&i'j\"k"
    postgres.create_database(unique, unique, password)
    with psycopg.connect(postgres.dsn(unique, unique, password)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (unique,)
    postgres.drop_database(unique, unique)


def test_a_wrong_password_is_refused(postgres: PostgresServer, database: Database) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn(database.name, database.role, "guess"))


def test_a_role_cannot_open_the_database_of_another(postgres: PostgresServer, database: Database, unique: str) -> None:
    postgres.create_database(f"{unique}b", f"{unique}b", "secret")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(postgres.dsn(database.name, f"{unique}b", "secret"))
    postgres.drop_database(f"{unique}b", f"{unique}b")


@pytest.mark.parametrize("name", ["postgres", "template1"])
def test_a_role_cannot_open_the_servers_own_databases(postgres: PostgresServer, unique: str, name: str) -> None:
    postgres.create_database(unique, unique, "secret")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(postgres.dsn(name, unique, "secret"))
    postgres.drop_database(unique, unique)


def test_making_a_database_twice_keeps_its_data_and_sets_the_password(postgres: PostgresServer, unique: str) -> None:
    postgres.create_database(unique, unique, "first")
    with psycopg.connect(postgres.dsn(unique, unique, "first")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    postgres.create_database(unique, unique, "second")
    with psycopg.connect(postgres.dsn(unique, unique, "second")) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn(unique, unique, "first"))
    postgres.drop_database(unique, unique)


def test_data_survives_a_crash_and_a_restart_on_another_port(folder: Path) -> None:
    server = PostgresServer(folder, port=None)
    running = server.start()
    server.create_database("kept", "kept", "secret")
    with psycopg.connect(server.dsn("kept", "kept", "secret")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")
    running.send(signal.SIGKILL)
    running.finish(_SOON)

    again = PostgresServer(folder, port=None)
    again.start()
    assert again.port != server.port
    with psycopg.connect(again.dsn("kept", "kept", "secret")) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (7,)


def test_a_second_start_finds_the_server_and_another_python_stops_it(folder: Path) -> None:
    server = PostgresServer(folder, port=None, fsync=False)
    running = server.start()
    second = PostgresServer(folder, port=None, fsync=False)
    assert second.start() == running
    assert second.port == server.port

    program = (
        "import sys; from pathlib import Path; from golden.embedded.postgres import PostgresServer;"
        "PostgresServer(Path(sys.argv[1]), port=None).stop()"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)
    assert not running.alive()
    assert not server.ready()


def test_the_superusers_password_is_for_its_owner_alone(folder: Path) -> None:
    PostgresServer(folder, port=None, fsync=False).start()
    assert stat.S_IMODE((folder / "superuser.password").stat().st_mode) == 0o600
