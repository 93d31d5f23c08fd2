"""Consuming: polls Kafka, has the events handled, and commits offsets after their effects.

The life of a batch. What Kafka gives in one poll is one transaction (handling.py). If anything in it fails, it is
undone and its events are handled one by one, each in a transaction of its own; an event's error then says its fate
(fates.py). The offset is committed last: what Kafka gives twice, the inbox knows.

A rebalance may come at any await. Whoever lost a partition finds its events in the inbox of whoever has it now, its
offsets aren't committed, and a pause isn't its own any more. In a rebuild (rebuilding.py) rows say where a partition
goes on, and not what Kafka has committed.

This stands on aiokafka itself: pausing a partition, going back to an offset, and one transaction per poll need the
consumer in hand, which a framework above it keeps to itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, Generic, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from google.protobuf.message import Message

from services.chassis.database import Database, UnitOfWork
from services.chassis.errors import Unavailable
from services.chassis.fates import FATES, UNKNOWN_TRIES, Fate, fate_of
from services.chassis.handling import Handling
from services.chassis.parking import Raw, reason_of
from services.chassis.pausing import Pauses
from services.chassis.polling import poll, raw_of
from services.chassis.rebuilding import Moved, Rebuilding, progress_of
from services.chassis.rewinding import Rewinding, ends_of
from services.chassis.routes import Received
from services.chassis.runner import to_the_end
from services.chassis.settings import KafkaAccess
from services.chassis.signatures import Signers
from services.chassis.topics import Topic
from services.chassis.upkeep import count_waiting, purge_inbox, retry_parked

__all__ = ["FATES", "Consumer", "Fate", "Received"]

U = TypeVar("U", bound=UnitOfWork)
M = TypeVar("M", bound=Message)

_POLL: Final = timedelta(milliseconds=200)
_BATCH: Final = 500  # events a poll; a batch of 500 took 17 µs an event where single ones took 86
_START_OVER: Final = timedelta(milliseconds=250)
_log = structlog.get_logger()


class Consumer(Generic[U]):
    """A service's consumer of some topics.

    Args:
        name: Its name: the consumer group, and the name in inbox rows. It never changes.
        topics: What it reads.
        database: Where effects and inbox commit.
        kafka: Where Kafka is, and as whom we come.
        rejections: The service's own topic, on which publishers of other systems learn why an event was refused;
            None for a consumer of our own topics.
        forget: Takes away what the subscriptions of the read model keep, in a rebuild; None where there are none.
        signers: Whose signatures count on others' topics; None: nobody's, and every actor there is a claim.
        session_timeout: How long Kafka waits for a silent consumer.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[Topic],
        *,
        database: Database[U],
        kafka: KafkaAccess,
        rejections: Topic | None = None,
        forget: Callable[[U], Awaitable[None]] | None = None,
        signers: Signers | None = None,
        session_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        self.name = name
        self._topics = topics
        self._database = database
        self._rebuilding = Rebuilding(name, forget)
        self._rewinding = Rewinding(self._rebuilding, database)
        self._handling = Handling(name, topics, database, rejections, self._rebuilding, signers)
        self._kafka = kafka
        self._trouble = ""
        self._session_timeout = session_timeout
        self._pauses = Pauses()
        self._unknown_tries: Counter[tuple[TopicPartition, int]] = Counter()
        self._connected: AIOKafkaConsumer | None = None

    def on(
        self,
        type_name: str,
        schema: type[M],
        handle: Callable[[Received[M], U], Awaitable[None]],
        *,
        read_model: bool = False,
    ) -> None:
        """Handle a type of event; types that nobody handles are counted and skipped.

        Args:
            type_name: The type.
            schema: Its body's message.
            handle: What is done with it.
            read_model: True where it only keeps what was told, so that a rebuild may do it again.
        """
        self._handling.on(type_name, schema, handle, read_model=read_model)

    @property
    def _stopped_by(self) -> str:
        """Why it stopped itself; empty while it didn't."""
        exceeded = self._handling.limit.exceeded()
        return f"{self.name} stopped itself: {exceeded}" if exceeded else ""

    async def rebuild(self, *, actor: str, reason: str) -> None:
        """Forget the read model, and read it again from the beginning of its topics.

        Raises:
            Conflict: there is none.
            Unavailable: Kafka or the database doesn't answer, or a handler takes long.
        """
        async with self._database.begin(actor=actor) as uow:
            ends = partial(ends_of, self._connected, self._handling.replayed())
            await self._rebuilding.begin(uow, ends, reason=reason)

    async def ready(self) -> None:
        """Ask whether it consumes.

        Raises:
            Unavailable: it doesn't; the sentence says why.
        """
        if self._stopped_by:
            raise Unavailable(self._stopped_by, fix="golden deadletters list")
        if self._connected is None:
            raise Unavailable(self._trouble or f"{self.name} has no connection to Kafka yet")
        try:
            await self._connected.topics()
        except KafkaError as error:
            raise Unavailable(f"Kafka doesn't answer {self.name}: {error}") from None

    async def flowing(self) -> None:
        """Ask whether events flow.

        Raises:
            Unavailable: partitions wait at an event, or the read model is being rebuilt; the sentence says why.
        """
        if reasons := self._pauses.reasons:
            raise Unavailable(f"{len(reasons)} partitions wait: {reasons[0]}")
        async with self._database.read() as connection:
            rebuild = await progress_of(connection, self.name)
        if rebuild and rebuild.under_way:
            raise Unavailable(f"the read model is being rebuilt: {rebuild.done:,} of {rebuild.of:,} events")

    async def run(self) -> None:
        """Consume for ever; a fault of Kafka or PostgreSQL costs time, never an event."""
        while True:
            try:
                await self._consume()
            except (KafkaError, OSError) as error:
                self._trouble = str(await self._kafka.explained(error))
                _log.warning("the consumer starts again", consumer=self.name, reason=self._trouble)
                await asyncio.sleep(_START_OVER.total_seconds())

    async def _consume(self) -> None:
        consumer = self._make()
        retrying = asyncio.ensure_future(retry_parked(self._handling))
        counting = asyncio.ensure_future(count_waiting(self.name, self._database))
        beside = [counting, asyncio.ensure_future(purge_inbox(self._handling))]
        try:
            await consumer.start()
            self._connected = consumer
            while not self._stopped_by and not retrying.done():
                await self._poll(consumer)
            if self._stopped_by:
                _log.error("the dead-letter limit stopped the consumer", consumer=self.name, reason=self._stopped_by)
            await retrying  # stopped by the limit, it holds its place, and what an operator replays is still tried
        finally:
            self._connected = None
            self._pauses.clear()
            await to_the_end(_close(consumer, [retrying, *beside]))

    def _make(self) -> AIOKafkaConsumer:
        session_ms = int(self._session_timeout.total_seconds() * 1000)
        made = AIOKafkaConsumer(
            **self._kafka.client(),
            group_id=self.name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=_BATCH,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 3,
        )
        made.subscribe([one.name for one in self._topics], listener=self._rewinding)
        return made

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        self._pauses.end_those_due(consumer)
        await self._rewinding.follow(consumer)
        polled = await poll(consumer, patience=_POLL, most=_BATCH, go_back=lambda: self._rewinding.go_back(consumer))
        if not polled:
            return
        raws = {place: [raw_of(record) for record in records] for place, records in polled.items()}
        try:
            await self._handling.handle([raw for records in raws.values() for raw in records])
        except Moved:
            self._rewinding.take_back(consumer, raws)
            return
        except Exception as error:  # noqa: BLE001 - whose fault it is shows when its events are handled one by one
            _log.debug("a batch is handled one by one", consumer=self.name, reason=repr(error))
            done = {place: await self._one_by_one(consumer, place, records) for place, records in raws.items()}
        else:
            done = {place: records[-1].offset + 1 for place, records in raws.items()}
            self._forget(raws)
        await self._commit(consumer, {place: offset for place, offset in done.items() if offset is not None})

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        still_ours = {place: offset for place, offset in offsets.items() if place in consumer.assignment()}
        if not still_ours:
            return
        try:
            await consumer.commit(still_ours)
        except (CommitFailedError, IllegalStateError):
            _log.info("partitions moved before the commit; the inbox knows the events", consumer=self.name)

    async def _one_by_one(self, consumer: AIOKafkaConsumer, place: TopicPartition, raws: Sequence[Raw]) -> int | None:
        """Handle a partition's events singly; the offset up to which it went well, None where none did."""
        done: int | None = None
        for raw in raws:
            why = self._stopped_by or await self._single(raw)
            if why:
                self._pauses.begin(consumer, place, raw.offset, why)
                break
            self._forget({place: [raw]})
            done = raw.offset + 1
        return done

    async def _single(self, raw: Raw) -> str:
        """Handle one event, or put it where its error says; why the partition must wait, empty where it needn't."""
        try:
            await self._handling.handle([raw])
        except Exception as error:  # noqa: BLE001 - the error's type says the event's fate, the unknown included
            return await self._give_fate(raw, error)
        return ""

    async def _give_fate(self, raw: Raw, error: Exception) -> str:
        fate = self._decide(raw, error)
        if fate is Fate.PAUSE:
            return reason_of(error)
        try:
            await self._handling.put_aside(raw, error, dead=fate is Fate.DEAD)
        except Exception as again:  # noqa: BLE001 - an event that can't even be put aside must not be passed over
            _log.error("an event can't be put aside", consumer=self.name, exc_info=again)
            return reason_of(again)
        return ""

    def _decide(self, raw: Raw, error: Exception) -> Fate:
        fate = fate_of(error)
        stood = {"topic": raw.topic, "partition": raw.partition, "offset": raw.offset}
        if fate is not Fate.RETRY:
            _log.warning("an event can't be handled", consumer=self.name, reason=str(error), fate=fate.value, **stood)
            return fate
        place = (TopicPartition(raw.topic, raw.partition), raw.offset)
        self._unknown_tries[place] += 1
        tries = self._unknown_tries[place]
        _log.error("an event can't be handled", consumer=self.name, tries=tries, exc_info=error, **stood)
        return Fate.DEAD if tries >= UNKNOWN_TRIES else Fate.PAUSE

    def _forget(self, handled: dict[TopicPartition, list[Raw]]) -> None:
        """What was handled has no tries behind it any more."""
        for place, raws in handled.items():
            self._pauses.went_well(place)
            for raw in raws:
                del self._unknown_tries[place, raw.offset]


async def _close(consumer: AIOKafkaConsumer, beside: Sequence[asyncio.Future[None]]) -> None:
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    await consumer.stop()
