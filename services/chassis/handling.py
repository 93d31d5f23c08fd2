"""Handling: effects, inbox, outbox and what must wait commit in one transaction.

An event goes the same way whether it comes in a polled batch, alone, or out of the parking: the inbox admits it once,
it parks where an earlier event of its key waits, its handler runs inside a span that continues its own trace. What
can't be handled is put aside in a transaction of its own, which looks into the inbox again: meanwhile another replica
may have had the event.

Trace. Each event's process span continues the hop that carried it; the batch's transaction is a span of its own,
linked to them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message
from opentelemetry.trace import SpanKind

from services.chassis import cloudevents, instruments, telemetry
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import Database, UnitOfWork
from services.chassis.database_errors import PASSING, translated
from services.chassis.errors import Conflict, Invalid, Unavailable
from services.chassis.fates import UNKNOWN_TRIES, DeadLetterLimit, Fate, fate_of
from services.chassis.inbox import Inbox
from services.chassis.parking import Parked, Parking, Raw, key_of
from services.chassis.publishers import Publishers, claimed
from services.chassis.rebuilding import Rebuilding, Replay
from services.chassis.rejections import tell_publisher
from services.chassis.routes import Received, Routes
from services.chassis.signatures import Signers
from services.chassis.telemetry import hop_of
from services.chassis.topics import Topic

U = TypeVar("U", bound=UnitOfWork)
M = TypeVar("M", bound=Message)

# Kafka deletes whole segments, and closes the last one after a week: an event may outlive its topic's time by that.
_LINGERS: Final = timedelta(days=14)


@dataclass(frozen=True)
class _Work(Generic[U]):
    """One transaction, with its views of the inbox, of a rebuild, and of what waits."""

    uow: U
    inbox: Inbox
    replay: Replay
    parking: Parking
    blocked: frozenset[str] = frozenset()


class Handling(Generic[U]):
    """What a consumer does with events.

    Args:
        name: The consumer's name, as in inbox rows.
        topics: What it reads.
        database: Where effects and inbox commit.
        rejections: Where publishers of other systems learn why an event was refused; None: they don't.
        rebuilding: How its read model is rebuilt.
        signers: Whose signatures count on others' topics.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[Topic],
        database: Database[U],
        rejections: Topic | None = None,
        rebuilding: Rebuilding | None = None,
        signers: Signers | None = None,
    ) -> None:
        self.name = name
        self._topics = topics
        self._routes: Routes[U] = Routes(topics, signers or Signers(None))
        self._database = database
        self._rejections = rejections
        self._rebuilding = rebuilding or Rebuilding(name, forget=None)
        self._publishers = Publishers(name)
        self.limit = DeadLetterLimit(name)

    def on(
        self,
        type_name: str,
        schema: type[M],
        handle: Callable[[Received[M], U], Awaitable[None]],
        *,
        read_model: bool = False,
    ) -> None:
        """Handle a type of event."""
        self._routes.add(type_name, schema, handle, read_model=read_model)

    def replayed(self) -> list[Topic]:
        """The topics that a rebuild reads again."""
        return self._routes.replayed()

    async def handle(self, raws: Sequence[Raw]) -> None:
        """Handle events in one transaction.

        Raises:
            Exception: whatever a handler raised; nothing of the transaction stays.
        """
        events = [(raw, cloudevents.read(raw.headers, raw.value)) for raw in raws]
        links = [hop_of(raw.headers) or event.traceparent for raw, event in events]
        attributes = {"messaging.batch.message_count": len(events)}
        with (
            instruments.BATCH_SECONDS.labels(self.name).time(),
            telemetry.span(f"consume {self.name}", kind=SpanKind.CONSUMER, links=links, attributes=attributes),
        ):
            async with self._database.begin() as uow:
                work = await self._open(uow, raws, events)
                results = [await self._one(raw, event, work) for raw, event in events]
                handled = [one for one, result in zip(events, results, strict=True) if result == "handled"]
                of_others = [event for raw, event in handled if self._routes.is_others(raw)]
                await self._publishers.note(uow.connection, of_others)
                await work.inbox.save()
                await work.replay.save()
        self._rebuilding.committed(work.replay)
        self._publishers.noted(of_others)
        for raw, _ in handled:
            self.limit.remember(raw.topic, died=False)
        for (_, event), result in zip(events, results, strict=True):
            instruments.CONSUMED.labels(self.name, self._label(event), result).inc()

    async def _open(self, uow: U, raws: Sequence[Raw], events: Sequence[tuple[Raw, CloudEvent]]) -> _Work[U]:
        # First the inbox, which locks: what another replica has just parked is then committed, and seen; and so is a
        # rebuild that has just begun.
        inbox = Inbox(uow.connection, consumer=self.name)
        await inbox.load([(self._routes.topic(raw), event) for raw, event in events])
        replay = await self._rebuilding.join(uow.connection, raws)
        await replay.load([(self._routes.topic(raw), raw, event) for raw, event in events])
        parking = Parking(uow.connection, consumer=self.name)
        return _Work(uow, inbox, replay, parking, await parking.blocked({key_of(raw) for raw, _ in events}))

    async def _one(self, raw: Raw, event: CloudEvent, work: _Work[U]) -> str:
        topic = self._routes.topic(raw)
        forgotten = work.replay.admit(topic, raw, event)
        if not work.inbox.admit(topic, event):
            return await self._again(raw, event, work) if forgotten else "duplicate"
        if event not in self._routes:
            return "skipped"
        if key_of(raw) in work.blocked:
            await work.parking.park(raw, Conflict("an earlier event of this key waits"), dead=False, behind=True)
            return "parked"
        await self._dispatch(raw, event, work.uow, name=f"process {event.type}")
        return "handled"

    async def _again(self, raw: Raw, event: CloudEvent, work: _Work[U]) -> str:
        """Give an event that was had before to the read model that has forgotten it; nothing is emitted."""
        if not self._routes.feeds_read_model(event):
            return "duplicate"
        links = [hop_of(raw.headers) or event.traceparent]
        try:
            async with work.uow.connection.transaction():
                with telemetry.span(f"rebuild {event.type}", links=links), work.uow.silent():
                    await self._routes.run(raw, event, work.uow, again=True)
        except Unavailable:
            raise
        except PASSING as error:
            raise Unavailable(f"the database was in the way: {type(error).__name__}") from error
        except Exception as error:  # noqa: BLE001 - whatever it is, the operator sees it in the progress
            work.replay.fail(raw, error)
            return "not rebuilt"
        return "rebuilt"

    async def _dispatch(self, raw: Raw, event: CloudEvent, uow: U, *, name: str) -> None:
        parent = hop_of(raw.headers) or event.traceparent
        with telemetry.span(name, kind=SpanKind.CONSUMER, parent=parent, attributes=_attributes(raw, event)):
            instruments.HOP_SECONDS.labels(self.name).observe((uow.now - event.time).total_seconds())
            await self._routes.run(raw, event, uow)

    async def put_aside(self, raw: Raw, error: Exception, *, dead: bool) -> None:
        """Park an event that failed, or give it up, unless it was had, or put aside, already."""
        event = _readable(raw)
        async with self._database.begin() as uow:
            work = await self._open(uow, [raw], [] if event is None else [(raw, event)])
            new = event is None or work.inbox.admit(self._routes.topic(raw), event)
            kept = new and not work.replay.passes_over(raw) and await self._keep(raw, event, error, work, dead=dead)
            died_of_us = kept and dead and await self._may_be_our_fault(raw, event, uow)
            await work.inbox.save()
            await work.replay.save()
        self._rebuilding.committed(work.replay)
        if died_of_us:
            self.limit.remember(raw.topic, died=True)
        if kept:
            instruments.CONSUMED.labels(self.name, self._label(event), "dead" if dead else "parked").inc()

    async def _keep(self, raw: Raw, event: CloudEvent | None, error: Exception, work: _Work[U], *, dead: bool) -> bool:
        blocks = not (dead and self._routes.is_others(raw))
        kept = await work.parking.park(raw, error, dead=dead, blocks=blocks)
        if kept and dead:
            self._tell_publisher(work.uow, raw, event, error)
        return kept

    async def _may_be_our_fault(self, raw: Raw, event: CloudEvent | None, uow: U) -> bool:
        """True where a dead letter may mean that our release is bad."""
        if event is not None and self._routes.can_be_read(raw, event):
            return True
        source, type_name = claimed(raw)
        if not self._routes.is_others(raw):  # only its owner writes it; what says it is another's, its owner didn't
            return source in {"", f"goldenpath/{self._routes.topic(raw).owner}"}
        if not self._routes.handles(type_name):
            return False
        return await self._publishers.were_read(uow.connection, source=source, type_name=type_name)

    async def retry_one(self) -> bool:
        """Try the first parked event whose time has come; True where there was one.

        Once the dead-letter limit is exceeded, only what an operator replays is tried.
        """
        async with self._database.begin() as uow:
            parking = Parking(uow.connection, consumer=self.name)
            parked = await parking.next_due(replayed_only=bool(self.limit.exceeded()))
            if parked is None:
                return False
            error = await self._retried(parked, uow)
            dies = error is not None and _dies(parked, error)
            if error is None:
                await parking.done(parked)
            elif dies:
                await self._bury(parking, parked, error, uow)
            else:
                await parking.postpone(parked, error, unknown=fate_of(error) is Fate.RETRY)
            counts = error is None or (dies and await self._may_be_our_fault(parked.raw, _readable(parked.raw), uow))
        if counts and not parked.replayed:
            self.limit.remember(parked.raw.topic, died=dies)
        return True

    async def _retried(self, parked: Parked, uow: U) -> Exception | None:
        """Handle a parked event inside a savepoint; the error for which its effects were undone."""
        savepoint = uow.connection.transaction()
        await savepoint.start()
        try:
            with translated():
                event = cloudevents.read(parked.raw.headers, parked.raw.value)
                if event in self._routes:
                    await self._dispatch(parked.raw, event, uow, name=f"retry {event.type}")
        except Exception as error:  # noqa: BLE001 - the error's type says the event's fate, the unknown included
            await savepoint.rollback()
            uow.forget_events()
            return error
        await savepoint.commit()
        return None

    async def _bury(self, parking: Parking, parked: Parked, error: Exception, uow: U) -> None:
        await parking.bury(parked, error, blocks=not self._routes.is_others(parked.raw))
        self._tell_publisher(uow, parked.raw, _readable(parked.raw), error)

    def _tell_publisher(self, uow: U, raw: Raw, event: CloudEvent | None, error: Exception) -> None:
        if self._rejections is not None and self._routes.is_others(raw):
            tell_publisher(uow, self._rejections, raw, event, error)

    async def purge_inbox(self) -> None:
        """Forget the ids of events that their topics don't keep any more, and what a rebuild that is over has had."""
        await self._rebuilding.tidy(self._database)
        for topic in self._topics:
            if topic.kept is not None:
                async with self._database.begin() as uow:
                    await Inbox(uow.connection, consumer=self.name).purge(topic, uow.now - topic.kept - _LINGERS)

    def _label(self, event: CloudEvent | None) -> str:
        # Others choose their types' names freely; a label for each would grow without end.
        return event.type if event is not None and event in self._routes else "other"


def _dies(parked: Parked, error: Exception) -> bool:
    """True where an event that failed again won't be tried any more."""
    fate = fate_of(error)
    return fate is Fate.DEAD or (fate is Fate.RETRY and parked.unknown_tries + 1 >= UNKNOWN_TRIES)


def _readable(raw: Raw) -> CloudEvent | None:
    try:
        return cloudevents.read(raw.headers, raw.value)
    except Invalid:
        return None


def _attributes(raw: Raw, event: CloudEvent) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": raw.topic,
        "messaging.destination.partition.id": str(raw.partition),
        "messaging.kafka.offset": raw.offset,
        "cloudevents.event_id": event.id,
        "cloudevents.event_subject": event.subject,
    }
