"""A pusher that is killed or stopped as values stream in, or its PostgreSQL is: nothing goes back or is lost."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from golden.embedded.postgres import PostgresServer
from services.chassis.settings import KafkaAccess
from services.chassis.topics import FEATURES, create_topics
from services.features.reader import Reader, Wanted
from services.features.writer import Writer
from tests.features.repository import REPOSITORY, settings_of
from tests.pusher.killed import CUSTOMERS, VIEW, Stream, kill_postgres

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

MINUTES = 900  # in three parts, of which the middle one is disturbed


@pytest.fixture
async def stream(kafka: str, unique: str, tmp_path: Path) -> AsyncIterator[Stream]:
    (tmp_path / "definitions.py").write_text(REPOSITORY)
    async with AsyncExitStack() as stack:
        home = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="goldenpath-postgres-", ignore_cleanup_errors=True)
        )
        server = PostgresServer(Path(home), port=None)  # with fsync: what it committed outlives its kill
        database = await asyncio.to_thread(server.start)
        stack.callback(server.stop)
        server.create_database(unique, unique, "secret")
        dsn = server.dsn(unique, unique, "secret")
        settings = settings_of(dsn, tmp_path)
        await (await asyncio.to_thread(Writer, settings, tmp_path)).close()
        await create_topics(KafkaAccess(kafka), topics=(FEATURES,))
        producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
        await producer.start()
        stack.push_async_callback(producer.stop)
        reader = Reader(settings, [Wanted(VIEW, "", ("count_7d", "mean_7d"), ("customer",), None)])
        stack.push_async_callback(reader.close)
        made = Stream(kafka, dsn, settings, tmp_path, unique, producer, reader, server, database)
        stack.push_async_callback(made.stop)
        yield made


async def killed(stream: Stream) -> None:
    """The pusher is killed, and started again."""
    stream.pushers[-1].send(signal.SIGKILL)
    await stream.start_pusher()


async def stopped(stream: Stream) -> None:
    """The pusher is stopped, and another takes over."""
    stream.pushers[-1].send(signal.SIGSTOP)
    await stream.start_pusher()


async def without_database(stream: Stream) -> None:
    """PostgreSQL is killed, and started again."""
    await asyncio.to_thread(kill_postgres, stream.database)
    await stream.start_postgres()


@pytest.mark.parametrize("fault", [killed, stopped, without_database])
async def test_nothing_goes_back_and_everything_arrives_whatever_ends(
    fault: Callable[[Stream], Awaitable[None]], stream: Stream
) -> None:
    await stream.start_pusher()
    looking = asyncio.create_task(stream.look())
    part = CUSTOMERS * MINUTES // 3
    await stream.tell(0, MINUTES // 3)
    await stream.until(part // 2)
    telling = asyncio.create_task(stream.tell(MINUTES // 3, 2 * MINUTES // 3))
    await stream.until(part + part // 8)
    assert len(await stream.kept()) < 2 * part  # else it was done before
    await fault(stream)
    await telling
    await stream.until(2 * part)
    stream.pushers[0].send(signal.SIGCONT)  # who was stopped goes on where it was
    await stream.tell(2 * MINUTES // 3, MINUTES)
    await stream.until(len(stream.told))
    stream.ended.set()
    await looking

    assert sorted(await stream.kept()) == sorted(stream.told)
    assert await stream.served() == [MINUTES - 1.0] * CUSTOMERS
    newest = np.array(stream.seen)
    assert len(newest) > 20
    assert (np.diff(newest, axis=0) >= 0).all()
