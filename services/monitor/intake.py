"""Taking batches of records in: decode and count outside of any transaction, then judge, keep and move on inside one.

A batch that can't be read, or doesn't fit its version's profile, becomes a dead letter in the same transaction, and
the rest goes on. What an operator replays comes back through `retry_one`, as if it had just arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.chassis import cloudevents, instruments, upkeep
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import Database
from services.chassis.errors import Invalid
from services.chassis.parking import Parking, Raw
from services.monitor import batches, handlers
from services.monitor.clients import Judges
from services.monitor.domain.judge import Judge
from services.monitor.domain.panes import cut
from services.monitor.handlers import Arrived
from services.monitor.singles import TYPE, by_place, check, gathered, read
from services.monitor.store import MonitorUnitOfWork

_log = structlog.get_logger()


class Moved(Exception):
    """The offset row isn't where it was left: another replica reads the partition."""


@dataclass(frozen=True)
class Prepared:
    """What a poll brought: what is whole, what is dead and why, and who judges."""

    arrived: list[Arrived]
    dead: list[tuple[Raw, Invalid]]
    judges: dict[tuple[str, int], Judge | None]


class Intake:
    """Takes batches in.

    Args:
        name: The reader's name, in dead letters.
        topic: The topic's name, in offset rows.
        database: Where places, evidence and samples commit.
        judges: Gives the judge of a version.
        kept: How many records of a watch are kept.
    """

    def __init__(
        self, name: str, topic: str, database: Database[MonitorUnitOfWork], judges: Judges, *, kept: int
    ) -> None:
        self._name = name
        self._topic = topic
        self._database = database
        self._judges = judges
        self._kept = kept

    async def places(self, partitions: Sequence[int]) -> dict[int, int]:
        """Where each partition goes on."""
        async with self._database.begin() as uow:
            return await uow.records.next_offsets(self._topic, partitions)

    async def take(self, partition: int, old: int, raws: Sequence[Raw]) -> list[bool]:
        """Take a poll in and move on behind it, or change nothing; of each batch whether it died.

        Raises:
            Moved: another replica has moved the partition on.
            Unavailable: the database or the registry doesn't answer.
            Conflict: another replica was in the way.
        """
        prepared = await self._prepared(raws)
        async with self._database.begin() as uow:
            await self._move(uow, partition, old=old, new=raws[-1].offset + 1)
            for raw, error in prepared.dead:
                await self._parking(uow).park(raw, error, dead=True, blocks=False)
            await handlers.take_records(prepared.arrived, prepared.judges, uow, kept=self._kept)
        instruments.MONITOR_BATCHES.labels("dead").inc(len(prepared.dead))
        instruments.MONITOR_BATCHES.labels("read").inc(len(prepared.arrived))
        instruments.MONITOR_RECORDS.inc(sum(batch.rows for batch in prepared.arrived))
        died = {raw.offset for raw, _ in prepared.dead}
        return [raw.offset in died for raw in raws]

    async def bury(self, partition: int, old: int, raw: Raw, error: Exception) -> None:
        """Give a batch up that fails in a way that nobody foresaw, and move on behind it."""
        async with self._database.begin() as uow:
            await self._move(uow, partition, old=old, new=raw.offset + 1)
            await self._parking(uow).park(raw, error, dead=True, blocks=False)
        instruments.MONITOR_BATCHES.labels("dead").inc()

    async def retry_one(self) -> bool:
        """Take in the first batch that an operator replays; True where there was one."""
        async with self._database.begin() as uow:
            parking = self._parking(uow)
            parked = await parking.next_due()
            if parked is None:
                return False
            savepoint = uow.connection.transaction()
            await savepoint.start()
            try:
                prepared = await self._prepared([parked.raw])
                if prepared.dead:
                    raise prepared.dead[0][1]  # noqa: TRY301  # it dies like any other error here
                await handlers.take_records(prepared.arrived, prepared.judges, uow, kept=self._kept)
            except Exception as error:  # noqa: BLE001 - whatever it is, the operator sees it at the dead letter
                await savepoint.rollback()
                uow.forget_events()
                await parking.bury(parked, error, blocks=False)
            else:
                await savepoint.commit()
                await parking.done(parked)
        return True

    async def count_waiting(self) -> None:
        """Keep the gauges of what waits up to date, for ever."""
        await upkeep.count_waiting(self._name, self._database)

    async def _move(self, uow: MonitorUnitOfWork, partition: int, *, old: int, new: int) -> None:
        if not await uow.records.move(self._topic, partition, old=old, new=new):
            raise Moved

    def _parking(self, uow: MonitorUnitOfWork) -> Parking:
        return Parking(uow.connection, consumer=self._name)

    async def _prepared(self, raws: Sequence[Raw]) -> Prepared:
        prepared, singles = Prepared([], [], {}), []
        for raw in raws:
            try:
                event = cloudevents.read(raw.headers, raw.value)
                if event.type == "inference.recorded":
                    await self._prepare(event, raw, prepared)
                elif event.type == TYPE:
                    singles.append(check(read(event), raw.appended_ms))
            except Invalid as error:
                _log.warning("a batch of records can't be read", reason=str(error), offset=raw.offset)
                prepared.dead.append((raw, error))
        for place, group in by_place(singles).items():
            judge = await self._judge(place.model, place.version, prepared)
            first = raws[0]
            name = f"{first.topic}/{first.partition}/{first.offset}"
            body = gathered(place, group, name, judge.profile if judge else None)
            packed = PackedBatch.FromString(body.SerializeToString())
            prepared.arrived.append(counted(body, packed, judge, _appended(raws[-1]), ""))
        return prepared

    async def _prepare(self, event: CloudEvent, raw: Raw, prepared: Prepared) -> None:
        body = cloudevents.body(event, InferenceRecorded)
        same = event.content_type == cloudevents.PROTOBUF  # else it came as JSON
        packed = PackedBatch.FromString(event.data if same else body.SerializeToString())
        judge = await self._judge(body.model, body.version, prepared)
        prepared.arrived.append(counted(body, packed, judge, _appended(raw), event.traceparent))

    async def _judge(self, model: str, version: int, prepared: Prepared) -> Judge | None:
        judge = prepared.judges[model, version] = await self._judges.of(model, version)
        return judge


def counted(
    body: InferenceRecorded, packed: PackedBatch, judge: Judge | None, appended_at: datetime, traceparent: str
) -> Arrived:
    """A batch that arrived, counted where it counts.

    Args:
        body: The batch.
        packed: The same, packed.
        judge: Its version's judge; None where the version has no profile.
        appended_at: When the broker took it.
        traceparent: The trace context in which it was sent.

    Raises:
        Invalid: it isn't whole, or doesn't fit its version's profile.
    """
    rows = batches.check(body)
    times = batches.times_of(body, packed, appended_at)
    counts = judge is not None and body.arm in batches.ROLES
    panes = cut(judge.profile, batches.columns_of(body, packed), times) if judge and counts else ()
    return Arrived(body, rows, datetime.fromtimestamp(int(times.max()) / 1e6, UTC), panes, traceparent)


def _appended(raw: Raw) -> datetime:
    return datetime.fromtimestamp(raw.appended_ms / 1000, UTC)
