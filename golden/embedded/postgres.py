"""One PostgreSQL 18 for a laptop, from a wheel: a database and a role per service, which nobody else can open.

It listens on loopback TCP only: a socket's path has a length limit that a home folder easily breaks, and one kind
of DSN suits asyncpg, psycopg and SQLAlchemy. Every role has a password (SCRAM), the superuser's lies in the folder
with mode 0600, and PUBLIC may connect to nothing.

Whether it runs is read from PostgreSQL's own postmaster.pid, so any process that knows the folder can stop it.
"""

from __future__ import annotations

import os
import secrets
import signal
from datetime import timedelta
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from golden.embedded.postgres_files import initialise, programs, server_account
from golden.embedded.processes import Running, free_port, start, wait_until

_READY_WITHIN = timedelta(seconds=60)  # half a second on an idle laptop; a recovery after a crash takes longer
_STOP_WITHIN = timedelta(seconds=20)  # a fast shutdown writes one checkpoint of at most 64 MB
_CREATING = 5_823_047_112  # the advisory lock of create_database; any number that nobody else uses

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",  # four services with pools, MLflow, and a run of tests beside them
    "shared_buffers": "64MB",  # a laptop's whole platform fits; the default is twice that
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # compiles for longer than our short queries run
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer:
    """The embedded database server.

    Args:
        folder: Holds its data, its superuser's password and its log; made when absent.
        port: Where clients connect; None picks a free one.
        fsync: Whether a commit is on the disk when it is answered. Tests do without.
    """

    def __init__(self, folder: Path, *, port: int | None, fsync: bool = True) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._fsync = fsync
        self._port = port or self._port_in_use() or free_port()

    @property
    def port(self) -> int:
        """Where clients connect, on 127.0.0.1."""
        return self._port

    def start(self) -> Running:
        """Start the server, and wait until it answers."""
        running = self.launch()
        self.wait(running)
        return running

    def launch(self) -> Running:
        """Start the server without waiting for it; one that already runs on this folder is taken as it is."""
        if running := self.running():
            return running
        account = server_account()
        if not (self._data / "PG_VERSION").exists():
            initialise(self._data, password=self._superuser_password(), account=account, sync=self._fsync)
        settings = _SETTINGS | {"port": str(self._port)} | ({} if self._fsync else _NOT_DURABLE)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return start(
            [programs() / "postgres", "-D", self._data, *options],
            log=self._folder / "postgres.log",
            environment={"PATH": os.defpath, "LANG": "C"},
            cwd=self._data,
            account=account,
        )

    def wait(self, running: Running) -> None:
        """Wait until a launched server answers."""
        wait_until(self.ready, running, within=_READY_WITHIN, what="PostgreSQL")
        self._close_to_everybody()

    def stop(self) -> None:
        """Stop the server, whoever started it; open connections are closed."""
        if running := self.running():
            running.stop(_STOP_WITHIN, gently=signal.SIGINT)  # PostgreSQL's "fast": SIGTERM would wait for clients

    def running(self) -> Running | None:
        """The server process on this folder, if there is one."""
        try:
            pid = int(self._postmaster()[0])
            process = psutil.Process(pid)
            if str(self._data) in process.cmdline():  # else the pid is somebody else's by now
                return Running(pid, process.create_time(), str(self._folder / "postgres.log"))
        except (IndexError, psutil.Error):
            pass
        return None

    def ready(self) -> bool:
        """Whether it takes connections."""
        try:
            with self._superuser():
                return True
        except psycopg.OperationalError:
            return False

    def create_database(self, name: str, role: str, password: str) -> None:
        """Make a database that only this role (and the superuser) can open; what exists stays, the password is set."""
        with self._superuser() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [_CREATING])
            _create_role(connection, role, password)
            if not _found(connection, "SELECT FROM pg_database WHERE datname = %s", name):
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(role))
                )
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))

    def create_reader(self, name: str, owner: str, role: str, password: str) -> None:
        """Let a role read what is in a database, and what its owner will make there, and nothing else."""
        with self._superuser() as connection:
            _create_role(connection, role, password)
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(role))
            )
        admin = self.dsn(name, "postgres", self._superuser_password())
        with psycopg.connect(admin, autocommit=True, connect_timeout=5) as connection:
            for statement in (
                "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
                "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
            ):
                connection.execute(sql.SQL(statement).format(role=sql.Identifier(role), owner=sql.Identifier(owner)))

    def join_without_loops(self, role: str) -> None:
        """Keep a role from nested loops, by which Feast's join takes minutes for thousands of rows: it looks tiny."""
        with self._superuser() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} SET enable_nestloop = off").format(sql.Identifier(role)))

    def drop_database(self, name: str, role: str) -> None:
        """Remove a database and its role; whoever is connected is thrown out."""
        with self._superuser() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))

    def dsn(self, name: str, role: str, password: str) -> str:
        """How a client opens the database; SQLAlchemy wants postgresql+psycopg:// before it instead."""
        return f"postgresql://{quote(role)}:{quote(password, safe='')}@127.0.0.1:{self._port}/{quote(name)}"

    def _superuser(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            self.dsn("postgres", "postgres", self._superuser_password()), autocommit=True, connect_timeout=5
        )

    def _superuser_password(self) -> str:
        file = self._folder / "superuser.password"
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as new:
                new.write(secrets.token_urlsafe(24))
        return file.read_text()

    def _close_to_everybody(self) -> None:
        with self._superuser() as connection:
            connection.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")

    def _postmaster(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _port_in_use(self) -> int | None:
        fourth = self._postmaster()[3:4]  # pid, folder, start, port
        return int(fourth[0]) if self.running() and fourth else None


def _create_role(connection: psycopg.Connection[tuple[object, ...]], role: str, password: str) -> None:
    """Make a role that may log in; one that is there gets the password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    verb = "ALTER" if _found(connection, "SELECT FROM pg_roles WHERE rolname = %s", role) else "CREATE"
    connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(sql.SQL(verb), sql.Identifier(role), verifier))


def _found(connection: psycopg.Connection[tuple[object, ...]], query: LiteralString, name: str) -> bool:
    return connection.execute(query, [name]).fetchone() is not None
