"""A platform with a feature store: views are applied, the stream fills them, and a plain platform has none of it."""

from __future__ import annotations

import asyncio
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from examples.fraud import store as fraud
from examples.fraud.simulator import simulate
from examples.fraud.world import World
from golden.embedded import platform
from golden.embedded.parts import Parts
from golden.embedded.platform import Platform, Ports
from services.chassis.testing import eventually
from services.features.definitions import views_of
from services.features.reader import Reader, Wanted

pytestmark = pytest.mark.servers

REPO = Path(fraud.__file__).parent / "feature_repo"
_REGISTRY = frozenset({"registry"})


@pytest.fixture
def home() -> Iterator[Path]:
    """Outside of pytest's own folder: that one is closed to the account that PostgreSQL gets from root."""
    made = Path(tempfile.mkdtemp(prefix="goldenpath-home-"))
    yield made
    platform.down(made, wipe=True)
    shutil.rmtree(made, ignore_errors=True)


def up(home: Path, ports: Ports, features: Path | None = None) -> Platform:
    return platform.up(home, only=_REGISTRY, ports=ports, say=lambda _: None, features=features)


def reading_dsn(running: Platform) -> str:
    """How a model server opens the store's database."""
    pusher = Parts(running.folders, running.state).pusher
    assert pusher is not None
    return pusher.reader_dsn


def loops(dsn: str) -> object:
    """Whether who opens a database so may join by nested loops."""
    with psycopg.connect(dsn) as connection:
        (shown,) = connection.execute("SHOW enable_nestloop").fetchone() or ("",)
        return shown


async def test_what_the_stream_tells_is_served(home: Path) -> None:
    ports = Ports.free()
    plain = await asyncio.to_thread(up, home, ports)
    assert "pusher" not in plain.state.parts
    assert not plain.folders.feature_store.exists()

    running = await asyncio.to_thread(up, home, ports, REPO)
    assert running.state.alive("pusher")
    assert stat.S_IMODE(running.folders.feature_store.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    paid = simulate(World(customers=60, terminals=400, days=40, seed=3)).tail(200)
    recent = paid.assign(time=paid["time"] + (datetime.now(UTC).replace(tzinfo=None) - paid["time"].max()))
    assert await fraud.publish(running.endpoints().kafka.bootstrap, recent) == 2

    views = views_of(REPO, fraud.SERVICE)
    reader = Reader(
        running.folders.feature_reader,
        [Wanted(view.name, view.digest, view.inputs, view.keys, view.ttl) for view in views],
    )
    assert reader.changed() == []
    keys = {key: fraud.keys_of(key, recent.tail(1)).tolist() for key in fraud.VIEWS.values()}

    async def found() -> bool:
        reads = await asyncio.to_thread(reader.read, keys, datetime.now(UTC))
        return [read.outcomes for read in reads] == [["found"], ["found"]]

    await eventually(found, what="features from the stream")
    await reader.close()

    with psycopg.connect(reading_dsn(running)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM goldenpath_customer_windows")

    pusher = Parts(running.folders, running.state).pusher
    assert pusher is not None
    assert [loops(dsn) for dsn in (pusher.dsn, pusher.reader_dsn)] == ["off", "on"]

    again = await asyncio.to_thread(up, home, ports)
    assert replace(again.state, parts={}) == replace(running.state, parts={})
    assert again.state.parts["pusher"] == running.state.parts["pusher"]
    anew = await asyncio.to_thread(up, home, ports, REPO)  # whose views may have changed
    assert anew.state.alive("pusher")
    assert anew.state.parts["pusher"] != running.state.parts["pusher"]
    platform.down(home, wipe=False)
    assert not anew.state.alive("pusher")
