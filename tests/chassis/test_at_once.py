"""Two transactions that are in each other's way: one of them is undone and tried again, and both have their effect."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis.database import UnitOfWork
from services.chassis.errors import NotFound
from services.chassis.fates import UNKNOWN_TRIES
from services.chassis.kafka import Received
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.chassis.topics import create_topics
from tests.chassis.handled import counted, hand_over, handling, retry_all, stream, waiting
from tests.chassis.kit import TYPE, Service, both_partitions, event, has_effects, make_database, many, running

CONSUMERS = 3
EACH = 20


class Counting:
    """Two rows that handlers add to, one after the other, once everybody who takes part has its first.

    Args:
        service: Where they stand.
        parties: How many wait for each other; whoever is tried again waits for nobody.
    """

    def __init__(self, service: Service, parties: int) -> None:
        self._service = service
        self._missing = parties
        self._all_there = asyncio.Event()

    def adding(self, first: str, second: str) -> Callable[[Received[ProjectStarted], UnitOfWork], Awaitable[None]]:
        """A handler that adds to one row and then to the other."""

        async def add(received: Received[ProjectStarted], uow: UnitOfWork) -> None:
            await self._service.handle(received, uow)
            await _add_one(uow, first)
            await self._meet()
            await _add_one(uow, second)

        return add

    async def _meet(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._all_there.set()
        await self._all_there.wait()

    async def counts(self) -> dict[str, int]:
        """How often each row was added to."""
        return {row["name"]: row["count"] for row in await self._service.rows("SELECT * FROM counters ORDER BY name")}


async def _add_one(uow: UnitOfWork, name: str) -> None:
    # Read and then written, as a handler does that decides in between.
    count = await uow.connection.fetchval("SELECT count FROM counters WHERE name = $1", name)
    await uow.connection.execute("UPDATE counters SET count = $2 WHERE name = $1", name, count + 1)


async def make_counters(service: Service) -> None:
    async with service.database.begin() as uow:
        await uow.connection.execute(
            "CREATE TABLE counters (name text PRIMARY KEY, count int NOT NULL); "
            "INSERT INTO counters VALUES ('a', 0), ('b', 0)"
        )


@pytest.fixture
async def serial(service: Service, database: Any, kafka: str) -> AsyncIterator[Service]:
    """The service, on a database whose transactions are serializable."""
    await make_counters(service)
    async with service.database.begin() as uow:
        await uow.connection.execute(
            f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable'"
        )
    service.database = make_database(database.dsn)
    await service.database.start()
    await create_topics(KafkaAccess(kafka), topics=[service.ours, service.others])
    yield service
    await service.database.stop()


async def test_of_two_that_deadlock_one_is_tried_again_and_both_have_their_effect_once(service: Service) -> None:
    await make_counters(service)
    counting = Counting(service, 2)
    one, other = handling(service, "one"), handling(service, "other")
    one.on(TYPE, ProjectStarted, counting.adding("a", "b"))
    other.on(TYPE, ProjectStarted, counting.adding("b", "a"))
    (same,) = stream(service.ours, [event("credit", sequence=1)])
    await asyncio.gather(hand_over(one, [same]), hand_over(other, [same]))

    assert await waiting(service) == [("Conflict", False)]
    await retry_all(one, service)
    await retry_all(other, service)
    assert await counting.counts() == {"a": 2, "b": 2}
    assert await service.effects() == ["credit", "credit"]
    assert await service.count("outbox") == 2
    assert await waiting(service) == []


async def test_of_many_that_cannot_be_put_in_a_row_each_has_its_effect_once(
    serial: Service, kafka: str, unique: str
) -> None:
    counting = Counting(serial, 0)
    consumers = [serial.consumer(f"{unique}-{number}", kafka) for number in range(CONSUMERS)]
    for one in consumers:
        one.on(TYPE, ProjectStarted, counting.adding("a", "b"))
    await both_partitions(kafka, serial.ours, many(EACH, models=4))
    async with running(*(one.run for one in consumers)):
        await eventually(lambda: has_effects(serial, CONSUMERS * EACH), what="every effect")

    assert len(serial.tried) > CONSUMERS * EACH
    assert await counting.counts() == {"a": CONSUMERS * EACH, "b": CONSUMERS * EACH}
    assert Counter(await serial.effects()) == Counter(f"{number}" for number in range(EACH) for _ in range(CONSUMERS))
    assert await waiting(serial) == []


async def test_what_waits_and_finds_its_rows_locked_goes_on_waiting(service: Service, database: Any) -> None:
    async def hurry(received: Received[ProjectStarted], uow: UnitOfWork) -> None:
        await uow.connection.execute("SET LOCAL lock_timeout = '20ms'")
        await service.handle(received, uow)

    made = handling(service)
    made.on(TYPE, ProjectStarted, hurry)
    (parked,) = stream(service.ours, counted("credit"))
    await made.put_aside(parked, NotFound("not there yet"), dead=False)
    somebody = await asyncpg.connect(database.dsn)
    async with somebody.transaction():
        await somebody.execute("LOCK TABLE effects IN EXCLUSIVE MODE")
        for _ in range(UNKNOWN_TRIES + 1):
            await retry_all(made, service)
        assert await waiting(service) == [("Unavailable", False)]
    await somebody.close()
    await retry_all(made, service)

    assert await service.effects() == ["credit"]
    assert await waiting(service) == []
