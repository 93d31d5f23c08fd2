"""The stream of records: read with aiokafka itself, with its place kept beside what it changes.

A poll of a partition is one transaction: its first statement moves the partition's offset row from where we think it
stands to behind the poll. If somebody else has moved it, we lost the partition without knowing: the transaction is
undone, and we go on from the row. So a record takes effect exactly once, whichever replica dies when. On assignment
the row says where to go on, never Kafka's own commit.

A batch that can't be read, or doesn't fit its version's profile, becomes a dead letter, and the rest goes on. When
the registry is asked for a profile and doesn't answer, or the database is down, the partition waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from services.chassis import cloudevents
from services.chassis.database import Database
from services.chassis.errors import GoldenpathError, Invalid, Unavailable
from services.chassis.parking import Parking, Raw
from services.chassis.topics import RECORDS
from services.monitor import batches, handlers, instruments
from services.monitor.clients import Judges
from services.monitor.domain.judge import Judge
from services.monitor.handlers import Arrived
from services.monitor.store import MonitorUnitOfWork
from services.profile import count

NAME: Final = "monitor-records"
_POLL: Final = timedelta(milliseconds=100)
_MOST: Final = 200  # batches a transaction; with a thousand records each, some 50 MB
_BACK_OFF: Final = timedelta(milliseconds=500)
_log = structlog.get_logger()


class Moved(Exception):
    """The offset row isn't where it was left: another replica reads the partition."""


class RecordStream:
    """Reads inference.records for ever.

    Args:
        database: Where places, evidence and samples commit.
        judges: Gives the judge of a version.
        bootstrap: Kafka's bootstrap servers.
        kept: How many records of a watch are kept.
        topic: The topic's name.
        group: The consumer group, which only shares out partitions.
        session_timeout: How long Kafka waits for a silent consumer.
    """

    def __init__(
        self,
        database: Database[MonitorUnitOfWork],
        judges: Judges,
        *,
        bootstrap: str,
        kept: int,
        topic: str = RECORDS.name,
        group: str = NAME,
        session_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        self._database = database
        self._judges = judges
        self._bootstrap = bootstrap
        self._kept = kept
        self._topic = topic
        self._group = group
        self._session_timeout = session_timeout
        self._next: dict[int, int] = {}
        self._trouble = "it has no connection to Kafka yet"

    async def ready(self) -> None:
        """Raises Unavailable where it isn't reading, with the reason."""
        if self._trouble:
            raise Unavailable(f"the stream of records waits: {self._trouble}")

    async def run(self) -> None:
        """Read for ever; a fault of Kafka, PostgreSQL or the registry costs time, never a record."""
        while True:
            try:
                await self._read()
            except (KafkaError, GoldenpathError, OSError) as error:
                self._trouble = str(error)
                _log.warning("the stream of records starts again", reason=str(error))
                await asyncio.sleep(_BACK_OFF.total_seconds())

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=_MOST,
            session_timeout_ms=int(self._session_timeout.total_seconds() * 1000),
            heartbeat_interval_ms=int(self._session_timeout.total_seconds() * 1000 / 3),
        )
        consumer.subscribe([self._topic], listener=_Changing(self))
        try:
            await consumer.start()
            self._trouble = ""
            while True:
                # Here and not in the listener: aiokafka would log what fails there, and fetch from anywhere.
                await self._go_on(consumer, [p for p in consumer.assignment() if p.partition not in self._next])
                polled = await consumer.getmany(timeout_ms=int(_POLL.total_seconds() * 1000), max_records=_MOST)
                for place, records in polled.items():
                    following = self._next.get(place.partition)
                    if following is not None:  # else it was assigned during the fetch, which began anywhere
                        await self._take(consumer, place, [_raw(r) for r in records if r.offset >= following])
        finally:
            await consumer.stop()

    def forget(self, places: Collection[TopicPartition]) -> None:
        """Forget where partitions stand that change hands; nothing is held that isn't committed."""
        for place in places:
            self._next.pop(place.partition, None)

    async def _go_on(self, consumer: AIOKafkaConsumer, places: Collection[TopicPartition]) -> None:
        """Go on where the rows say."""
        if not places:
            return
        async with self._database.begin() as uow:
            rows = await uow.records.next_offsets(self._topic, [place.partition for place in places])
        for place in places:
            if rows[place.partition]:
                consumer.seek(place, rows[place.partition])
            else:
                await consumer.seek_to_beginning(place)
            self._next[place.partition] = rows[place.partition]

    async def _take(self, consumer: AIOKafkaConsumer, place: TopicPartition, raws: Sequence[Raw]) -> None:
        if not raws:
            return
        try:
            await self._commit(place.partition, raws)
        except Moved:
            _log.info("another replica reads the partition", partition=place.partition)
            await self._go_on(consumer, [place])
        except Unavailable as error:
            self._trouble = str(error)
            consumer.seek(place, raws[0].offset)
            await asyncio.sleep(_BACK_OFF.total_seconds())
        else:
            self._trouble = ""

    async def _commit(self, partition: int, raws: Sequence[Raw]) -> None:
        """Judge and keep what a poll brought, and move on, or change nothing.

        Raises:
            Moved: another replica has moved the partition on.
            Unavailable: the database or the registry doesn't answer.
        """
        arrived, dead, judges = await self._prepared(raws)
        new = raws[-1].offset + 1
        async with self._database.begin() as uow:
            if not await uow.records.move(self._topic, partition, old=self._next[partition], new=new):
                raise Moved
            parking = Parking(uow.connection, consumer=self._group)
            for raw, error in dead:
                await parking.park(raw, error, dead=True, blocks=False)
            await handlers.take_records(arrived, judges, uow, kept=self._kept)
        self._next[partition] = new
        instruments.BATCHES.labels("dead").inc(len(dead))
        instruments.BATCHES.labels("read").inc(len(arrived))
        instruments.RECORDS.inc(sum(batch.rows for batch in arrived))

    async def _prepared(
        self, raws: Sequence[Raw]
    ) -> tuple[list[Arrived], list[tuple[Raw, Invalid]], dict[tuple[str, int], Judge | None]]:
        """Decode and count outside of any transaction: what is whole, what is dead, and who judges."""
        judges: dict[tuple[str, int], Judge | None] = {}
        arrived: list[Arrived] = []
        dead: list[tuple[Raw, Invalid]] = []
        for raw in raws:
            try:
                batch, event = _decoded(raw)
                if batch is None:
                    continue
                key = batch.model, batch.version
                judges[key] = await self._judges.of(*key)
                arrived.append(_arrived(batch, event.traceparent, raw, judges[key]))
            except Invalid as error:
                _log.warning("a batch of records can't be read", reason=str(error), offset=raw.offset)
                dead.append((raw, error))
        return arrived, dead, judges


class _Changing(ConsumerRebalanceListener):
    """Tells the stream which partitions change hands."""

    def __init__(self, stream: RecordStream) -> None:
        self._stream = stream

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """They are somebody else's now, perhaps."""
        self._stream.forget(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """They are ours, perhaps again: the row knows where they stand."""
        self._stream.forget(assigned)


def _decoded(raw: Raw) -> tuple[InferenceRecorded | None, cloudevents.CloudEvent]:
    """The batch, None where the event is of another type."""
    event = cloudevents.read(raw.headers, raw.value)
    if event.type != "inference.recorded":
        return None, event
    return cloudevents.body(event, InferenceRecorded), event


def _arrived(batch: InferenceRecorded, traceparent: str, raw: Raw, judge: Judge | None) -> Arrived:
    rows = batches.check(batch)
    window = count(judge.profile, batches.columns_of(batch)) if judge and batch.arm in batches.ROLES else None
    appended = datetime.fromtimestamp(raw.appended_ms / 1000, UTC)
    return Arrived(batch, rows, appended, window, traceparent)


def _raw(record: ConsumerRecord[Any, Any]) -> Raw:
    return Raw(
        record.topic, record.partition, record.offset, record.key, list(record.headers), record.value, record.timestamp
    )
