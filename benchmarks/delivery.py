"""How long an event takes from its commit to the next service's handler, and how many pass a second.

A consumer and a relay of the chassis, and then two of each, on real Kafka and PostgreSQL; all in one process, which is
what limits the volume. Beside it, in the same run, the bare cost of the same work: asyncpg doing one insert and one
update in a transaction, aiokafka sending the same bytes.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaProducer

from benchmarks.figures import TIMES, Figure, percentiles
from benchmarks.processes import kafka, postgres
from goldenpath.registry.v1 import events_pb2 as events
from services.chassis.clock import SystemClock
from services.chassis.database import Database, UnitOfWork
from services.chassis.kafka import Consumer, Received
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.settings import KafkaAccess
from services.chassis.topics import REGISTRY

_FIRST = 1_000  # five seconds, while producers connect and a new broker's code is compiled
_HOPS = 1_000
_RATE = 200.0  # events a second, the load at which hops are measured
_VOLUME = 20_000


def measure() -> list[Figure]:
    """Hop time at 200 events a second; events a second at full load; the bare cost."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with postgres(folder) as dsn, kafka(folder) as bootstrap:
            return asyncio.run(_measure(dsn, bootstrap))


async def _measure(dsn: str, bootstrap: str) -> list[Figure]:
    arrived: list[float] = []
    async with _replica(dsn, bootstrap, arrived) as database:
        first = await _hops(database, arrived, _FIRST)
        arrived.clear()
        hops = await _hops(database, arrived, _HOPS)
        through = await _through(database, arrived)
        arrived.clear()
        async with _replica(dsn, bootstrap, arrived):
            hops_of_two = await _hops(database, arrived, _HOPS)
            through_two = await _through(database, arrived)
        bare = await _bare(dsn, bootstrap)
    return [
        Figure("delivery.first.hop.longest", round(max(first) * 1000), "ms", f"of the first {_FIRST} after a start"),
        *percentiles(hops, "delivery.hop", f"commit → handler, at {_RATE:g} events/s; aim: p99 under 25"),
        *percentiles(hops_of_two, "delivery.two_replicas.hop", f"the same, at {_RATE:g} events/s"),
        Figure("delivery.two_replicas.events_per_second", round(through_two), "events/s", "the same"),
        Figure(
            "delivery.events_per_second",
            round(through),
            "events/s",
            "one transaction an event → outbox → Kafka → inbox",
        ),
        Figure(
            "delivery.bare_events_per_second",
            round(bare),
            "events/s",
            "asyncpg insert + update, aiokafka send, by hand",
        ),
        Figure(
            "delivery.vs_bare.ratio",
            round(bare / through, 2),
            TIMES,
            "bare ÷ ours: the suite's share on top; aim: at most 1.5",
        ),
    ]


@asynccontextmanager
async def _replica(dsn: str, bootstrap: str, arrived: list[float]) -> AsyncIterator[Database[UnitOfWork]]:
    """A replica of a service that hears its own events; it has its partitions once the block begins."""
    database: Database[UnitOfWork] = Database(
        dsn, source="goldenpath/bench", clock=SystemClock(), unit_of_work=UnitOfWork
    )
    await database.start()
    relay = Relay(database, Leases(database, duration=timedelta(seconds=5)), kafka=KafkaAccess(bootstrap))
    consumer = Consumer("bench", [REGISTRY], database=database, kafka=KafkaAccess(bootstrap))
    consumer.on("model.retired", events.ModelRetired, _noting(arrived))
    tasks = [asyncio.ensure_future(relay.run()), asyncio.ensure_future(consumer.run())]
    await _until(lambda: _is_ready(consumer))
    yield database
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await database.stop()


def _noting(arrived: list[float]) -> Callable[[Received[events.ModelRetired], UnitOfWork], Awaitable[None]]:
    async def note(received: Received[events.ModelRetired], _: UnitOfWork) -> None:
        arrived.append(time.time() - float(received.body.reason))

    return note


async def _emit(database: Database[UnitOfWork], number: int) -> None:
    async with database.begin() as uow:
        body = events.ModelRetired(model=f"model-{number % 100}", version=1, reason=repr(time.time()))
        uow.emit(REGISTRY, "model.retired", f"model/model-{number % 100}", body)


async def _hops(database: Database[UnitOfWork], arrived: list[float], count: int) -> list[float]:
    start = asyncio.get_running_loop().time()
    emitting = []
    for number in range(count):
        await asyncio.sleep(max(start + number / _RATE - asyncio.get_running_loop().time(), 0))
        emitting.append(asyncio.ensure_future(_emit(database, number)))
    await asyncio.gather(*emitting)
    await _until(lambda: _has(arrived, count))
    return arrived[:]


async def _through(database: Database[UnitOfWork], arrived: list[float]) -> float:
    arrived.clear()
    start = time.perf_counter()

    async def worker(first: int) -> None:
        for number in range(first, _VOLUME, 8):
            await _emit(database, number)

    await asyncio.gather(*[worker(first) for first in range(8)])
    await _until(lambda: _has(arrived, _VOLUME))
    return _VOLUME / (time.perf_counter() - start)


async def _bare(dsn: str, bootstrap: str) -> float:
    pool = await asyncpg.create_pool(dsn, min_size=8, max_size=8)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    await pool.execute("CREATE TABLE bare (id bigint PRIMARY KEY, body bytea)")
    await pool.execute("CREATE TABLE state (id bigint PRIMARY KEY, n bigint)")
    await pool.execute("INSERT INTO state SELECT i, 0 FROM generate_series(0, 99) AS i")
    body = bytes(200)
    start = time.perf_counter()

    async def worker(first: int) -> None:
        for number in range(first, _VOLUME, 8):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("UPDATE state SET n = n + 1 WHERE id = $1", number % 100)
                await connection.execute("INSERT INTO bare VALUES ($1, $2)", number, body)
            await producer.send(REGISTRY.name + ".dlq", body)

    await asyncio.gather(*[worker(first) for first in range(8)])
    await producer.flush()
    took = time.perf_counter() - start
    await producer.stop()
    await pool.close()
    return _VOLUME / took


async def _is_ready(consumer: Consumer[UnitOfWork]) -> bool:
    try:
        await consumer.ready()
    except Exception:  # noqa: BLE001 - not yet
        return False
    return True


async def _has(arrived: list[float], wanted: int) -> bool:
    return len(arrived) >= wanted


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - what it waits for is in another task, and tells nobody
        await asyncio.sleep(0.01)
