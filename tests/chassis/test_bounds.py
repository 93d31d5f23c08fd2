"""However slow the database is and however much stands on the topics: what a consumer holds meanwhile has a bound."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer

from services.chassis.cloudevents import CloudEvent
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.chassis.topics import RECORDS, create_topics
from services.monitor import stream
from services.monitor.intake import Read
from services.monitor.stream import RecordStream
from tests.chassis.kit import Service, both_partitions, event, has_effects, many, publish, raw, running

FETCH_BYTES = 1024 * 1024  # of a partition at once: what aiokafka asks for where nobody says
BATCH = 500
LARGE_BYTES = 20_000
LARGE = 600  # of these stand on two partitions: six fetches of each
ENVELOPE = 1.05  # what headers and framing add to large events, at the most


def heavy(begin: int, end: int) -> list[CloudEvent]:
    """Large events, on alternating partitions."""
    return [
        event(f"{number}".ljust(LARGE_BYTES), subject=f"model/{number % 2}", sequence=number // 2 + 1)
        for number in range(begin, end)
    ]


def clients_of(group: str) -> list[AIOKafkaConsumer]:
    """Kafka's clients that somebody consumes with."""
    every = [one for one in gc.get_objects() if type(one) is AIOKafkaConsumer and one._group_id == group]
    return [one for one in every if one._fetcher is not None]


async def taken(client: AIOKafkaConsumer) -> int:
    """How many events were handed out by now."""
    return sum([await client.position(place) for place in client.assignment()])


def fetched_bytes(client: AIOKafkaConsumer) -> list[int]:
    """By partition, what was fetched and not handed out yet."""
    fetcher: Any = client._fetcher
    waiting = [one._partition_records for one in fetcher._records.values()]
    return [one._records.size_in_bytes() for one in waiting if one is not None]


async def full(group: str, partitions: int) -> bool:
    """Whether something of each partition waits to be handed out: then nothing more is fetched."""
    return any(len(fetched_bytes(client)) >= partitions for client in clients_of(group))


async def true(value: object) -> object:
    return value


async def test_events_that_come_faster_than_they_are_handled_stay_on_kafka(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    on_kafka.hold = asyncio.Event()
    await both_partitions(kafka, on_kafka.ours, heavy(0, LARGE))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: true(on_kafka.tried), what="an event inside its transaction")
        await eventually(lambda: full(unique, 2), what="what is fetched ahead")
        (client,) = clients_of(unique)
        held = await taken(client) * LARGE_BYTES + sum(fetched_bytes(client))
        await both_partitions(kafka, on_kafka.ours, heavy(LARGE, 2 * LARGE))
        later = await taken(client) * LARGE_BYTES + sum(fetched_bytes(client))
        on_kafka.hold.set()
        await eventually(lambda: has_effects(on_kafka, 2 * LARGE), within=timedelta(seconds=60), what="every effect")

    assert held == later
    assert 2 * FETCH_BYTES < held < 4 * FETCH_BYTES * ENVELOPE


async def test_a_transaction_has_so_many_events_at_the_most_and_there_is_one_at_a_time(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    on_kafka.hold = asyncio.Event()
    await both_partitions(kafka, on_kafka.ours, many(3 * BATCH))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: full(unique, 1), what="what is fetched ahead")
        await eventually(lambda: true(on_kafka.tried), what="an event inside its transaction")
        held = await taken(*clients_of(unique))
        writing = await on_kafka.rows("SELECT DISTINCT pid FROM pg_locks WHERE relation = 'effects'::regclass")
        on_kafka.hold.set()
        await eventually(lambda: has_effects(on_kafka, 3 * BATCH), what="every effect")

    assert 0 < held <= BATCH
    assert len(writing) == 1


class Waiting:
    """Takes in nothing until it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.asked = False
        self.took = 0

    async def places(self, partitions: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    async def take(self, *reads: Read) -> list[list[bool]]:
        self.asked = True
        await self.let.wait()
        self.took += sum(len(read.raws) for read in reads)
        return [[False] * len(read.raws) for read in reads]

    async def retry_one(self) -> bool:
        return False

    async def count_waiting(self) -> None:
        await asyncio.Event().wait()


async def test_records_that_come_faster_than_they_are_taken_in_stay_on_kafka(kafka: str, unique: str) -> None:
    topic, waiting = replace(RECORDS, name=f"{unique}.records", partitions=1), Waiting()
    intake: Any = waiting
    await create_topics(KafkaAccess(kafka), topics=[topic])
    size, count = 900_000, 60
    await publish(kafka, topic, [raw(event("x" * size), topic, 0)] * count)
    access, session = KafkaAccess(kafka), timedelta(seconds=6)
    reader = RecordStream(intake, kafka=access, topic=topic.name, group=unique, session_timeout=session)
    async with running(reader.run):
        await eventually(lambda: true(waiting.asked), what="records in hand")
        await eventually(lambda: full(unique, 1), what="what is fetched ahead")
        (client,) = clients_of(unique)
        held = await taken(client) * size + sum(fetched_bytes(client))
        waiting.let.set()
        await eventually(lambda: true(waiting.took == count), what="every record")

    assert stream.FETCH_BYTES < held < 2 * stream.FETCH_BYTES * ENVELOPE
