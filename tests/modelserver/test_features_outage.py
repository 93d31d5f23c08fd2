"""The feature store's PostgreSQL is killed and comes back: the fallback answers, counted, and then the store again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import Running
from services.chassis.testing import eventually
from tests.modelserver.conftest import Serve
from tests.modelserver.feature_store import Fed, fed, saved, trained
from tests.modelserver.test_features import counted, expected, payment, scores
from tests.pusher.killed import kill_postgres

pytestmark = pytest.mark.servers

WHOLE, WITHOUT = (40.0, 3.0, 12.5, 0.25), (40.0, None, None, None)
SOON = timedelta(seconds=15)  # of a store that is back, on a machine that does much else


@dataclass
class Store:
    """A feature store, and the PostgreSQL of its own that it is in."""

    fed: Fed
    server: PostgresServer
    running: Running

    async def kill(self) -> None:
        """End PostgreSQL at once."""
        await asyncio.to_thread(kill_postgres, self.running)

    async def start(self) -> None:
        """Start it again."""
        self.running = await asyncio.to_thread(self.server.start)


@pytest.fixture
def own_store(unique: str, tmp_path: Path) -> Iterator[Store]:
    with tempfile.TemporaryDirectory(prefix="goldenpath-postgres-", ignore_cleanup_errors=True) as home:
        server = PostgresServer(Path(home), port=None)  # with fsync: what it committed outlives its kill
        running = server.start()
        server.create_database(unique, unique, "secret")
        with fed(server.dsn(unique, unique, "secret"), tmp_path) as made:
            made.write("customer_windows", "ann", count_7d=3.0, mean_7d=12.5)
            made.write("terminal_windows", "t1", risk=0.25)
            yield Store(made, server, running)
        server.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as made:
        yield made


async def test_the_first_read_after_a_restart_falls_back_and_the_store_answers_again(
    serving: Serve, own_store: Store, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    model = trained()
    served = await serving(saved(tmp_path / "models", model), **own_store.fed.told())
    assert await scores(client, served, payment("ann")) == pytest.approx(expected(model, WHOLE))
    before = await counted(client, served, "failed")
    await own_store.kill()
    await own_store.start()
    assert await scores(client, served, payment("ann")) == pytest.approx(expected(model, WITHOUT))
    assert await counted(client, served, "failed") - before == 1

    async def whole() -> bool:
        return await scores(client, served, payment("ann")) == pytest.approx(expected(model, WHOLE))

    await eventually(whole, within=SOON, what="features from the store")


async def test_an_outage_is_over_as_soon_as_the_store_is_back(
    serving: Serve, own_store: Store, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    model: Any = trained()
    served = await serving(saved(tmp_path / "models", model), **own_store.fed.told())
    before = await counted(client, served, "failed")
    await own_store.kill()

    async def failed() -> bool:
        assert await scores(client, served, payment("ann")) == pytest.approx(expected(model, WITHOUT))
        return await counted(client, served, "failed") - before >= 9

    await eventually(failed, within=timedelta(seconds=60), what="an outage")
    await own_store.start()

    async def whole() -> bool:
        return await scores(client, served, payment("ann")) == pytest.approx(expected(model, WHOLE))

    await eventually(whole, within=SOON, what="features from the store")
