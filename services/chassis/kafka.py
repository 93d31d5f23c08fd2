"""Consuming: effects, inbox and what must wait commit in one transaction, and then the offset.

The life of a batch. What Kafka gives in one poll is one transaction: the events' effects, the inbox rows, the
outbox rows. If anything in it fails, it is undone and its events are handled one by one, each in a transaction of
its own; an event's error then says its fate (`FATES`):

    Invalid, Denied      dead letter at once; on others' topics the publisher is told (event.rejected)
    NotFound, Conflict   parked, with its key behind it, and retried with back-off
    Unavailable          the partition pauses and starts again from this event, with back-off; polling goes on
    anything else        the same, a bounded number of times, then dead letter

The dead-letter limit: when too many of the last events died, the consumer stops and says so on /readyz. A release
that can't read anything must not empty a topic into the dead letters.

Trace. Each event's process span continues the hop that carried it; the batch's transaction is a span of its own,
linked to them.

This stands on aiokafka itself: pausing a partition, going back to an offset, and one transaction per poll need the
consumer in hand, which a framework above it keeps to itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, Generic, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind

from goldenpath.ingest.v1 import events_pb2 as ingest_pb2
from services.chassis import cloudevents, instruments, telemetry
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import Database, UnitOfWork
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.inbox import Inbox
from services.chassis.parking import Parked, Parking, Raw, key_of
from services.chassis.topics import Topic, topic

U = TypeVar("U", bound=UnitOfWork)
M = TypeVar("M", bound=Message)

_POLL: Final = timedelta(milliseconds=200)
_BATCH: Final = 500  # events a poll; a batch of 500 took 17 µs an event where single ones took 86
_PAUSE_FIRST: Final = timedelta(milliseconds=250)
_PAUSE_LAST: Final = timedelta(seconds=10)
_UNKNOWN_TRIES: Final = 5
_LIMIT_WINDOW: Final = 200  # events that the dead-letter limit looks back on
_LIMIT_SHARE: Final = 0.5
_LIMIT_FLOOR: Final = 20  # so many may die before the share counts: a bad publisher isn't a bad release
_log = structlog.get_logger()


class Fate(Enum):
    """What becomes of an event whose handling failed."""

    DEAD = "dead letter"
    PARK = "parked"
    PAUSE = "partition paused"
    RETRY = "tried again, then dead letter"


FATES: Final[dict[type[Exception], Fate]] = {
    Invalid: Fate.DEAD,
    Denied: Fate.DEAD,
    NotFound: Fate.PARK,
    Conflict: Fate.PARK,
    Unavailable: Fate.PAUSE,
}


def fate_of(error: Exception) -> Fate:
    """An error's fate by its type; the unknown is tried again."""
    return next((FATES[kind] for kind in type(error).__mro__ if kind in FATES), Fate.RETRY)


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """An event for a handler: its attributes, its body, and where it stood."""

    event: CloudEvent
    body: M
    raw: Raw


@dataclass(frozen=True)
class _Route:
    schema: type[Message]
    handle: Callable[[Any, Any], Awaitable[None]]


class Consumer(Generic[U]):
    """A service's consumer of some topics.

    Args:
        name: Its name: the consumer group, and the name in inbox rows. It never changes.
        topics: What it reads.
        database: Where effects and inbox commit.
        bootstrap: Kafka's bootstrap servers.
        rejections: The service's own topic, on which publishers of other systems learn why an event was refused;
            None for a consumer of our own topics.
        session_timeout: How long Kafka waits for a silent consumer.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[Topic],
        *,
        database: Database[U],
        bootstrap: str,
        rejections: Topic | None = None,
        session_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        self.name = name
        self._topics = topics
        self._database = database
        self._bootstrap = bootstrap
        self._rejections = rejections
        self._session_timeout = session_timeout
        self._routes: dict[str, _Route] = {}
        self._paused: dict[TopicPartition, float] = {}
        self._tries: dict[tuple[str, int, int], int] = {}
        self._recent: deque[bool] = deque(maxlen=_LIMIT_WINDOW)
        self._stopped_by: str = ""
        self._assigned = False

    def on(self, type_name: str, schema: type[M], handle: Callable[[Received[M], U], Awaitable[None]]) -> None:
        """Handle a type of event; types that nobody handles are counted and skipped."""
        self._routes[type_name] = _Route(schema, handle)

    async def ready(self) -> None:
        """Raises Unavailable where it isn't consuming, with the reason."""
        if self._stopped_by:
            raise Unavailable(self._stopped_by, fix="golden deadletters list")
        if not self._assigned:
            raise Unavailable(f"{self.name} has no connection to Kafka yet")

    async def run(self) -> None:
        """Consume for ever; a fault of Kafka or PostgreSQL costs time, never an event."""
        while True:
            try:
                await self._consume()
            except (KafkaError, OSError) as error:
                self._assigned = False
                _log.warning("the consumer starts again", consumer=self.name, reason=str(error))
                await asyncio.sleep(_PAUSE_FIRST.total_seconds())

    async def _consume(self) -> None:
        consumer = AIOKafkaConsumer(
            *[one.name for one in self._topics],
            bootstrap_servers=self._bootstrap,
            group_id=self.name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=_BATCH,
            session_timeout_ms=int(self._session_timeout.total_seconds() * 1000),
            heartbeat_interval_ms=int(self._session_timeout.total_seconds() * 1000 / 3),
        )
        await consumer.start()
        retrying = asyncio.ensure_future(self._retry_parked())
        try:
            self._assigned = True
            while not self._stopped_by:
                self._resume(consumer)
                polled = await consumer.getmany(timeout_ms=int(_POLL.total_seconds() * 1000), max_records=_BATCH)
                if polled:
                    await self._handle_poll(consumer, polled)
                if retrying.done():
                    retrying.result()
            await asyncio.Event().wait()  # stopped by the limit: it holds its place, and /readyz says why
        finally:
            retrying.cancel()
            await asyncio.gather(retrying, return_exceptions=True)
            await consumer.stop()

    async def _handle_poll(
        self, consumer: AIOKafkaConsumer, polled: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]
    ) -> None:
        raws = {place: [_raw(record) for record in records] for place, records in polled.items()}
        done = {place: records[-1].offset + 1 for place, records in raws.items()}
        try:
            await self._handle([raw for records in raws.values() for raw in records])
        except Exception:  # noqa: BLE001 - whose fault it is shows when its events are handled one by one
            done = {}
            for place, records in raws.items():
                done |= await self._one_by_one(consumer, place, records)
        if done:
            await self._commit(consumer, done)

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        try:
            await consumer.commit(offsets)
        except CommitFailedError:
            _log.info("partitions moved before the commit; the inbox knows the events", consumer=self.name)

    async def _one_by_one(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, raws: Sequence[Raw]
    ) -> dict[TopicPartition, int]:
        """Handle a partition's events singly; the offset up to which it went well."""
        done: dict[TopicPartition, int] = {}
        for raw in raws:
            if self._stopped_by or not await self._single(raw):
                self._pause(consumer, place, raw)
                break
            self._tries.pop((raw.topic, raw.partition, raw.offset), None)
            done[place] = raw.offset + 1
        return done

    async def _single(self, raw: Raw) -> bool:
        """Handle one event, or put it where its error says; False where the partition must wait."""
        try:
            await self._handle([raw])
        except Exception as error:  # noqa: BLE001 - the error's type says the event's fate, the unknown included
            fate = self._decide(raw, error)
            if fate is Fate.PAUSE:
                return False
            try:
                await self._put_aside(raw, error, dead=fate is Fate.DEAD)
            except GoldenpathError:
                return False
        return True

    def _decide(self, raw: Raw, error: Exception) -> Fate:
        fate = fate_of(error)
        place = (raw.topic, raw.partition, raw.offset)
        if fate is Fate.RETRY:
            self._tries[place] = self._tries.get(place, 0) + 1
            fate = Fate.DEAD if self._tries[place] >= _UNKNOWN_TRIES else Fate.PAUSE
            _log.error("an event can't be handled", consumer=self.name, tries=self._tries[place], exc_info=error)
        else:
            _log.warning(
                "an event can't be handled",
                consumer=self.name,
                reason=str(error),
                fate=fate.value,
                topic=raw.topic,
                partition=raw.partition,
                offset=raw.offset,
            )
        return fate

    async def _put_aside(self, raw: Raw, error: Exception, *, dead: bool) -> None:
        ours = topic(raw.topic).counted
        async with self._database.begin() as uow:
            parking = Parking(uow.connection, consumer=self.name)
            await parking.park(raw, error, dead=dead, blocks=ours or not dead)
            event = _readable(raw)
            if event is not None:
                inbox = Inbox(uow.connection, consumer=self.name)
                await inbox.load([(raw.topic, event)])
                inbox.admit(raw.topic, event)
                await inbox.save()
            if dead and not ours and self._rejections is not None:
                _tell_publisher(uow, self._rejections, raw, event, error)
        self._remember(died=dead)
        instruments.CONSUMED.labels(self.name, event.type if event else "", "dead" if dead else "parked").inc()
        await self._count_waiting()

    def _remember(self, *, died: bool) -> None:
        self._recent.append(died)
        dead = sum(self._recent)
        if dead >= _LIMIT_FLOOR and dead >= _LIMIT_SHARE * len(self._recent):
            self._stopped_by = (
                f"{self.name} stopped itself: {dead} of its last {len(self._recent)} events became dead letters"
            )
            _log.error("the dead-letter limit stopped the consumer", consumer=self.name, dead=dead)

    def _pause(self, consumer: AIOKafkaConsumer, place: TopicPartition, raw: Raw) -> None:
        if place not in consumer.assignment():
            return
        consumer.seek(place, raw.offset)
        consumer.pause(place)
        tries = self._tries.setdefault((raw.topic, raw.partition, raw.offset), 0)
        wait = min(_PAUSE_FIRST * 2 ** min(tries, 6), _PAUSE_LAST)
        self._paused[place] = asyncio.get_running_loop().time() + wait.total_seconds()

    def _resume(self, consumer: AIOKafkaConsumer) -> None:
        now = asyncio.get_running_loop().time()
        for place in [place for place, until in self._paused.items() if until <= now]:
            del self._paused[place]
            if place in consumer.assignment():
                consumer.resume(place)

    async def _handle(self, raws: Sequence[Raw]) -> None:
        """Handle events in one transaction.

        Raises:
            Exception: whatever a handler raised; nothing of the transaction stays.
        """
        events = [(raw, cloudevents.read(raw.headers, raw.value)) for raw in raws]
        links = [event.traceparent for _, event in events]
        with (
            instruments.BATCH_SECONDS.labels(self.name).time(),
            telemetry.span(f"consume {self.name}", kind=SpanKind.CONSUMER, links=links) as batch,
        ):
            batch.set_attribute("messaging.batch.message_count", len(events))
            results = []
            async with self._database.begin() as uow:
                inbox = Inbox(uow.connection, consumer=self.name)
                await inbox.load([(raw.topic, event) for raw, event in events])
                parking = Parking(uow.connection, consumer=self.name)
                blocked = await parking.blocked({key_of(raw) for raw in raws})
                for raw, event in events:
                    results.append(await self._one(raw, event, uow, inbox, parking, blocked))
                await inbox.save()
        for event, result in zip((event for _, event in events), results, strict=True):
            instruments.CONSUMED.labels(self.name, event.type, result).inc()
            self._recent.append(False)

    async def _one(self, raw: Raw, event: CloudEvent, uow: U, inbox: Inbox, parking: Parking, blocked: set[str]) -> str:
        if not inbox.admit(raw.topic, event):
            return "duplicate"
        if event.type not in self._routes:
            return "skipped"
        if key_of(raw) in blocked:
            await parking.park(raw, Conflict("an earlier event of this key waits"), dead=False)
            return "parked"
        await self._dispatch(raw, event, uow, name=f"process {event.type}")
        return "handled"

    async def _dispatch(self, raw: Raw, event: CloudEvent, uow: U, *, name: str) -> None:
        route = self._routes[event.type]
        parent = _hop(raw) or event.traceparent
        with telemetry.span(name, kind=SpanKind.CONSUMER, parent=parent, attributes=_attributes(raw, event)):
            body = cloudevents.body(event, route.schema)
            if not topic(raw.topic).counted:
                cloudevents.check_finite(body)
            instruments.HOP_SECONDS.labels(self.name).observe((uow.now - event.time).total_seconds())
            uow.actor = event.actor
            await route.handle(Received(event, body, raw), uow)

    async def _retry_parked(self) -> None:
        while True:
            try:
                tried = await self._retry_one()
            except GoldenpathError:
                tried = False
            if not tried:
                await asyncio.sleep(_POLL.total_seconds())

    async def _retry_one(self) -> bool:
        """Try the first parked event whose time has come; True where there was one."""
        failed: tuple[Parked, Exception] | None = None
        async with self._database.begin() as uow:
            parking = Parking(uow.connection, consumer=self.name)
            parked = await parking.next_due()
            if parked is None:
                return False
            savepoint = uow.connection.transaction()
            await savepoint.start()
            try:
                event = cloudevents.read(parked.raw.headers, parked.raw.value)
                if event.type in self._routes:
                    await self._dispatch(parked.raw, event, uow, name=f"retry {event.type}")
            except Exception as error:  # noqa: BLE001 - the error's type says the event's fate, the unknown included
                await savepoint.rollback()
                uow.forget_events()
                failed = parked, error
            else:
                await savepoint.commit()
                await parking.done(parked)
            if failed:
                await self._failed_again(parking, *failed)
        await self._count_waiting()
        return True

    async def _failed_again(self, parking: Parking, parked: Parked, error: Exception) -> None:
        fate = fate_of(error)
        if fate is Fate.DEAD or (fate is Fate.RETRY and parked.attempts + 1 >= _UNKNOWN_TRIES):
            await parking.bury(parked, error)
        else:
            await parking.postpone(parked, error)

    async def _count_waiting(self) -> None:
        async with self._database.read() as connection:
            parked, dead = await Parking(connection, consumer=self.name).count()
        instruments.PARKED.labels(self.name).set(parked)
        instruments.DEAD_LETTERS.labels(self.name).set(dead)


def _raw(record: ConsumerRecord[bytes, bytes]) -> Raw:
    return Raw(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.headers,
        record.value,
        record.timestamp,
    )


def _readable(raw: Raw) -> CloudEvent | None:
    try:
        return cloudevents.read(raw.headers, raw.value)
    except Invalid:
        return None


def _hop(raw: Raw) -> str:
    return next((value.decode("ascii", "replace") for name, value in raw.headers if name == "traceparent"), "")


def _attributes(raw: Raw, event: CloudEvent) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": raw.topic,
        "messaging.destination.partition.id": str(raw.partition),
        "messaging.kafka.offset": raw.offset,
        "cloudevents.event_id": event.id,
        "cloudevents.event_subject": event.subject,
    }


def _tell_publisher(uow: UnitOfWork, on: Topic, raw: Raw, event: CloudEvent | None, error: Exception) -> None:
    known = error if isinstance(error, GoldenpathError) else GoldenpathError("the event can't be handled")
    body = ingest_pb2.EventRejected(
        event_id=event.id if event else "",
        event_source=event.source if event else "",
        event_type=event.type if event else "",
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        error=type(error).__name__ if isinstance(error, GoldenpathError) else "Unknown",
        what=known.what,
        where=known.where,
        fix=known.fix,
    )
    subject = event.subject if event and event.subject else f"topic/{raw.topic}"
    uow.emit(on, "event.rejected", subject, body)


def event_time(milliseconds: int) -> datetime:
    """A broker's time stamp as a moment."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
