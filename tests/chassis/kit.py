"""What the chassis' tests share: a small service that keeps what it handled, and Kafka in plain words.

The service reads two topics of the test's own: `ours`, whose owner counts its events, and `others`, on which anybody
writes. Its handler adds a row to `effects` and emits; what a test puts into `trouble` it raises instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis.clock import SystemClock
from services.chassis.cloudevents import CloudEvent, event_of, headers_of
from services.chassis.database import Database, UnitOfWork
from services.chassis.kafka import Consumer, Received
from services.chassis.parking import Raw
from services.chassis.settings import KafkaAccess
from services.chassis.topics import DEAD_LETTERS, INGEST, REGISTRY, Topic

TYPE = "project.started"
SOURCE = "goldenpath/elsewhere"
MANY = 300
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

Record = ConsumerRecord[bytes, bytes]


def make_database(dsn: str, *, migrations: Path | None = None, connections: int = 8) -> Database[UnitOfWork]:
    """A database as a service has it."""
    return Database(
        dsn,
        source="goldenpath/test",
        clock=SystemClock(),
        unit_of_work=UnitOfWork,
        migrations=migrations,
        connections=connections,
    )


def own_topics(unique: str) -> tuple[Topic, Topic]:
    """A test's own `ours` and `others`."""
    return replace(REGISTRY, name=f"{unique}.ours", partitions=2), replace(
        INGEST, name=f"{unique}.others", partitions=2
    )


def body(project: str = "credit", model: str = "credit-prescreen") -> ProjectStarted:
    """A small event's body."""
    return ProjectStarted(project=project, model=model)


def event(project: str, *, subject: str = "model/credit", sequence: int | None = None, **more: Any) -> CloudEvent:
    """An event whose effect is a row with its project's name."""
    made = event_of(body(project), type=TYPE, source=SOURCE, subject=subject, time=NOON, sequence=sequence)
    return replace(made, **more)


def raw(made: CloudEvent, topic: Topic, offset: int, *, partition: int = 0) -> Raw:
    """An event as it stands on a topic."""
    return Raw(topic.name, partition, offset, made.subject.encode(), headers_of(made), made.data)


@dataclass
class Service:
    """A service with one handler."""

    database: Database[UnitOfWork]
    ours: Topic
    others: Topic
    trouble: dict[str, Exception] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def handle(self, received: Received[ProjectStarted], uow: UnitOfWork) -> None:
        """Keep the project's name, unless there is trouble with it."""
        project = received.body.project
        self.tried.append(project)
        await uow.connection.execute("INSERT INTO effects (what) VALUES ($1)", project)
        uow.emit(self.ours, "model.registered", f"effect/{received.event.subject}", received.body)
        if self.hold is not None:
            await self.hold.wait()
        if project in self.trouble:
            raise self.trouble[project]

    async def effects(self) -> list[str]:
        """What took effect, in order."""
        async with self.database.read() as connection:
            return [row["what"] for row in await connection.fetch("SELECT what FROM effects ORDER BY id")]

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        async with self.database.read() as connection:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # a test's own literal

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """What a query finds."""
        async with self.database.read() as connection:
            return list(await connection.fetch(query, *arguments))

    def consumer(self, name: str, bootstrap: str, **more: Any) -> Consumer[UnitOfWork]:
        """A consumer of both topics that hands events to `handle`."""
        made = Consumer(
            name,
            [self.ours, self.others],
            database=self.database,
            kafka=KafkaAccess(bootstrap),
            rejections=self.ours,
            session_timeout=timedelta(seconds=6),
            **more,
        )
        made.on(TYPE, ProjectStarted, self.handle)
        return made


def many(count: int = MANY, *, models: int = 10) -> list[CloudEvent]:
    """Events of several aggregates, each counted by its owner."""
    return [
        event(f"{number}", subject=f"model/{number % models}", sequence=number // models + 1) for number in range(count)
    ]


@asynccontextmanager
async def running(*works: Callable[[], Awaitable[None]]) -> AsyncIterator[Sequence[asyncio.Future[None]]]:
    """Run some work beside a test, and end it."""
    tasks = [asyncio.ensure_future(work()) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def publish(bootstrap: str, topic: Topic, events: Sequence[CloudEvent | Raw], *, partition: int = 0) -> None:
    """Write events, or bytes as they are, to a topic."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for one in events:
            made = one if isinstance(one, Raw) else raw(one, topic, 0)
            await producer.send_and_wait(
                topic.name, made.value, key=made.key, headers=list(made.headers), partition=partition
            )
    finally:
        await producer.stop()


class _NoText(str):
    """A header's name that other clients write and that is no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


async def publish_undecodable(bootstrap: str, topic: str, value: bytes = b"", *, partition: int = 0) -> None:
    """Write an event with a header whose name isn't UTF-8."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        batch: Any = producer.create_batch()
        # The compiled builder takes only text; the one in Python asks the name for its bytes.
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, -1, -1, 1_000_000)
        batch.append(key=b"key", value=value, timestamp=None, headers=[(_NoText(), b"value")])
        sent = await producer.send_batch(batch, topic, partition=partition)
        await sent
    finally:
        await producer.stop()


async def collect(bootstrap: str, topic: str, count: int, *, within: timedelta = timedelta(seconds=30)) -> list[Record]:
    """The first so many records of a topic, in the order of their offsets."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found: list[Record] = []
    try:
        async with asyncio.timeout(within.total_seconds()):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(records)
    finally:
        await consumer.stop()
    return found


def headers(record: Record) -> dict[str, str]:
    """A record's headers as text."""
    return {name: value.decode() for name, value in record.headers}


def dead_letters(topic: Topic) -> str:
    """The name of a topic's dead-letter topic."""
    return topic.name + DEAD_LETTERS


async def both_partitions(kafka: str, topic: Topic, events: list[CloudEvent]) -> None:
    """Publish as a producer would: each aggregate on a partition of its own."""
    for partition in (0, 1):
        mine = [one for one in events if int(one.subject.rpartition("/")[2]) % 2 == partition]
        await publish(kafka, topic, mine, partition=partition)


async def has_effects(service: Service, count: int) -> bool:
    return len(await service.effects()) >= count
