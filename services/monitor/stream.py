"""The stream of records: read with aiokafka itself, with its place kept beside what it changes.

A poll is one transaction: its first statements move the offset row of each partition from where we think it stands to
behind the poll. If somebody else has moved one, we lost that partition without knowing: the transaction is undone, and
we go on from the row. So a record takes effect exactly once, whichever replica dies when. On assignment the row says
where to go on, never Kafka's own commit.

Where a poll of several partitions fails, each of them is taken by itself, so that none waits for another's sake. When
the registry is asked for a profile and doesn't answer, or the database is down, the partition waits. What fails in a
way that nobody foresaw is taken batch by batch, and the batch whose fault it is becomes a dead letter. When too many
die, reading stops and /readyz says why.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.errors import Conflict, Denied, GoldenpathError, Unavailable
from services.chassis.fates import DeadLetterLimit
from services.chassis.parking import Raw
from services.chassis.polling import poll, raw_of
from services.chassis.runner import to_the_end
from services.chassis.settings import KafkaAccess
from services.monitor.intake import Intake, Moved, Read

NAME: Final = "monitor-records"
_POLL: Final = timedelta(milliseconds=100)
_MOST: Final = 5_000  # messages a transaction, where they are single events
FETCH_BYTES: Final = 4 * 2**20  # of a partition at once, some twenty batches: with Kafka's 1 MiB a transaction is for
# few of them; with 16 MiB the client takes a third longer, as it copies through memory that is new each time
_BACK_OFF: Final = timedelta(milliseconds=500)
_RETRY_EVERY: Final = timedelta(seconds=1)  # an operator's replay may wait so long
_log = structlog.get_logger()


class RecordStream:
    """Reads inference.records for ever.

    Args:
        intake: Takes in what was read.
        kafka: Where Kafka is, and as whom we come.
        topic: The topic's name.
        group: The consumer group, which only shares out partitions.
        session_timeout: How long Kafka waits for a silent consumer.
    """

    def __init__(
        self, intake: Intake, *, kafka: KafkaAccess, topic: str, group: str, session_timeout: timedelta
    ) -> None:
        self._intake = intake
        self._kafka = kafka
        self._topic = topic
        self._group = group
        self._session_timeout = session_timeout
        self._next: dict[int, int] = {}
        self._limit = DeadLetterLimit(group)
        self._trouble = "it has no connection to Kafka yet"
        self._waiting: dict[int, str] = {}  # why, by partition

    async def ready(self) -> None:
        """Ask whether it reads.

        Raises:
            Unavailable: it doesn't; the sentence says why.
        """
        waiting = [why for partition, why in self._waiting.items() if partition in self._next]
        why = self._limit.exceeded() or self._trouble or "".join(waiting[:1])
        if why:
            raise Unavailable(f"the stream of records waits: {why}")

    async def run(self) -> None:
        """Read for ever; a fault of Kafka, PostgreSQL or the registry costs time, never a record."""
        beside = [asyncio.ensure_future(self._retry()), asyncio.ensure_future(self._intake.count_waiting())]
        try:
            while True:
                try:
                    await self._read()
                except (KafkaError, GoldenpathError, OSError) as error:
                    self._trouble = str(error)
                    _log.warning("the stream of records starts again", reason=str(error))
                    await asyncio.sleep(_BACK_OFF.total_seconds())
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _read(self) -> None:
        self._next.clear()
        consumer = AIOKafkaConsumer(
            **self._kafka.client(),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=_MOST,
            max_partition_fetch_bytes=FETCH_BYTES,
            session_timeout_ms=int(self._session_timeout.total_seconds() * 1000),
            heartbeat_interval_ms=int(self._session_timeout.total_seconds() * 1000 / 3),
        )
        consumer.subscribe([self._topic], listener=_Changing(self._next))
        try:
            await consumer.start()
            self._trouble = ""
            while not self._limit.exceeded():
                with garbage_waits():
                    await self._poll(consumer)
            _log.error("the dead-letter limit stopped the stream of records", reason=self._limit.exceeded())
            await asyncio.Event().wait()  # it holds its place
        finally:
            await to_the_end(consumer.stop())

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        # Here and not in the listener: aiokafka would log what fails there, and fetch from anywhere.
        await self._go_on(consumer, [place for place in consumer.assignment() if place.partition not in self._next])
        go_back = partial(self._go_on, consumer, consumer.assignment())
        polled = await poll(consumer, patience=_POLL, most=_MOST, go_back=go_back)
        read: dict[TopicPartition, list[Raw]] = {}
        for place, records in polled.items():
            following = self._next.get(place.partition)
            if following is not None:  # else it was assigned during the fetch, which began anywhere
                read[place] = [raw_of(record) for record in records if record.offset >= following]
        await self._take_all(consumer, {place: raws for place, raws in read.items() if raws})

    async def _go_on(self, consumer: AIOKafkaConsumer, places: Collection[TopicPartition]) -> None:
        """Go on where the rows say."""
        rows = await self._intake.places([place.partition for place in places]) if places else {}
        for place in places:
            if rows[place.partition]:
                consumer.seek(place, rows[place.partition])
            else:
                await consumer.seek_to_beginning(place)
            self._next[place.partition] = rows[place.partition]
            self._waiting.pop(place.partition, None)

    async def _take_all(self, consumer: AIOKafkaConsumer, read: Mapping[TopicPartition, Sequence[Raw]]) -> None:
        """All in one transaction; where that fails, each partition in its own, which shows whose fault it is."""
        if len(read) > 1:
            try:
                died = await self._intake.take(*(self._read_of(place, raws) for place, raws in read.items()))
            except Exception as error:  # noqa: BLE001 - whatever it is, it comes again below
                _log.info("partitions are taken one by one", reason=str(error))
            else:
                for (place, raws), each in zip(read.items(), died, strict=True):
                    self._done(place, raws)
                    await self._remember(raws, each)
                return
        for place, raws in read.items():
            if place.partition in self._next:  # else it was taken from us meanwhile
                await self._take(consumer, place, raws)

    async def _take(self, consumer: AIOKafkaConsumer, place: TopicPartition, raws: Sequence[Raw]) -> None:
        try:
            (died,) = await self._intake.take(self._read_of(place, raws))
        except Moved:
            _log.info("another replica reads the partition", partition=place.partition)
            await self._go_on(consumer, [place])
        except (Unavailable, Conflict, Denied) as error:  # not the batch's fault: the database, the registry, a token
            self._waiting[place.partition] = str(error)
            consumer.seek(place, raws[0].offset)
            await asyncio.sleep(_BACK_OFF.total_seconds())
        except Exception as error:  # noqa: BLE001 - whose fault it is shows when the batches are taken one by one
            await self._one_by_one(consumer, place, raws, error)
        else:
            self._done(place, raws)
            await self._remember(raws, died)

    async def _one_by_one(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, raws: Sequence[Raw], error: Exception
    ) -> None:
        if len(raws) == 1:
            _log.error("a batch of records can't be handled", offset=raws[0].offset, exc_info=error)
            await self._intake.bury(place.partition, self._next[place.partition], raws[0], error)
            self._done(place, raws)
            self._limit.remember(self._topic, died=True)  # whatever it holds, it should have been refused in words
            return
        for raw in raws:
            await self._take(consumer, place, [raw])
            if self._next.get(place.partition) != raw.offset + 1:
                return  # it waits there, or is somebody else's

    def _read_of(self, place: TopicPartition, raws: Sequence[Raw]) -> Read:
        return Read(place.partition, self._next[place.partition], raws)

    def _done(self, place: TopicPartition, raws: Sequence[Raw]) -> None:
        self._next[place.partition] = raws[-1].offset + 1
        self._waiting.pop(place.partition, None)

    async def _remember(self, raws: Sequence[Raw], died: Sequence[bool]) -> None:
        """Count what was read, and what died and speaks against our release: what others write must not stop us."""
        if True in died:
            counts = [not one or await self._intake.may_be_our_fault(raw) for raw, one in zip(raws, died, strict=True)]
            died = [one for one, each in zip(died, counts, strict=True) if each]
        self._limit.remember_each(self._topic, died)

    async def _retry(self) -> None:
        while True:
            try:
                tried = await self._intake.retry_one()
            except GoldenpathError:
                tried = False  # the database is down; the reader says so
            if not tried:
                await asyncio.sleep(_RETRY_EVERY.total_seconds())


@contextmanager
def garbage_waits() -> Iterator[None]:
    """Put the process's search for cyclic garbage off during a poll: what is fetched, read and taken in is in use.

    5,000 single events are 60,000 objects, all in use: to look through them again and again costs a third of all.
    """
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


class _Changing(ConsumerRebalanceListener):
    """Forgets where partitions stand that change hands; nothing is held that isn't committed."""

    def __init__(self, places: dict[int, int]) -> None:
        self._places = places

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """They are somebody else's now, perhaps."""
        for place in revoked:
            self._places.pop(place.partition, None)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """They are ours, perhaps again: the row knows where they stand."""
        for place in assigned:
            self._places.pop(place.partition, None)
