"""Taking batches of records in: prepared outside of any transaction, then judged, kept and moved on inside one.

What is read at once, of however many partitions, is one transaction, so that its cost is paid once.

A batch that can't be read, or doesn't fit its version's profile, becomes a dead letter in the same transaction, and
the rest goes on. What an operator replays comes back through `retry_one`, as if it had just arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import structlog

from services.chassis import cloudevents, instruments, upkeep
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import Database
from services.chassis.database_errors import translated
from services.chassis.errors import Conflict, Invalid, Unavailable
from services.chassis.parking import Parking, Raw
from services.chassis.publishers import Publishers, claimed
from services.monitor import handlers, logged, singles
from services.monitor.clients import Judges
from services.monitor.join_store import OPEN_RECORDS
from services.monitor.preparing import Prepared, arrive, prepare
from services.monitor.store import MonitorUnitOfWork

_log = structlog.get_logger()


class Moved(Exception):
    """The offset row isn't where it was left: another replica reads the partition."""


class Read(NamedTuple):
    """What was read of a partition at once.

    Args:
        partition: The partition.
        old: Where we think that it stands.
        raws: The events from there on, at least one.
    """

    partition: int
    old: int
    raws: Sequence[Raw]


class Intake:
    """Takes batches in.

    Args:
        name: The reader's name, in dead letters.
        topic: The topic's name, in offset rows.
        database: Where places, evidence and samples commit.
        judges: Gives the judge of a version.
        kept: How many records of a watch are kept.
        open_records: How many of a watch wait for their outcome at most.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        database: Database[MonitorUnitOfWork],
        judges: Judges,
        *,
        kept: int,
        open_records: int = OPEN_RECORDS,
    ) -> None:
        self._name = name
        self._topic = topic
        self._database = database
        self._judges = judges
        self._kept = kept
        self._open_records = open_records
        self._publishers = Publishers(name)

    async def places(self, partitions: Sequence[int]) -> dict[int, int]:
        """Where each partition goes on."""
        async with self._database.begin() as uow:
            return await uow.records.next_offsets(self._topic, partitions)

    async def take(self, *reads: Read) -> list[list[bool]]:
        """Take in what was read and move on behind it, or change nothing; of each batch of each whether it died.

        Raises:
            Moved: another replica has moved a partition on.
            Unavailable: the database or the registry doesn't answer.
            Conflict: another replica was in the way.
        """
        raws = [raw for read in reads for raw in read.raws]
        prepared = await prepare(raws, self._judges)
        async with self._database.begin() as uow:
            for read in sorted(reads):  # in order, so that two replicas that both believe in theirs don't lock up
                await self._move(uow, read.partition, old=read.old, new=read.raws[-1].offset + 1)
            await self._take(prepared, raws, uow)
            died = {(raw.partition, raw.offset) for raw, _ in prepared.dead}
            told = _some_of([raw for raw in raws if (raw.partition, raw.offset) not in died] if died else raws)
            await self._publishers.note(uow.connection, told)
            for raw, error in prepared.dead:
                _log.warning("records can't be read", reason=str(error), offset=raw.offset)
                await self._parking(uow).park(raw, error, dead=True, blocks=False)
        self._publishers.noted(told)
        instruments.MONITOR_BATCHES.labels("dead").inc(len(prepared.dead))
        instruments.MONITOR_BATCHES.labels("read").inc(len(prepared.arrived))
        instruments.MONITOR_RECORDS.inc(sum(batch.rows for batch in prepared.arrived))
        if not died:
            return [[False] * len(read.raws) for read in reads]
        return [[(raw.partition, raw.offset) in died for raw in read.raws] for read in reads]

    async def bury(self, partition: int, old: int, raw: Raw, error: Exception) -> None:
        """Give a batch up that fails in a way that nobody foresaw, and move on behind it."""
        async with self._database.begin() as uow:
            await self._move(uow, partition, old=old, new=raw.offset + 1)
            await self._parking(uow).park(raw, error, dead=True, blocks=False)
        instruments.MONITOR_BATCHES.labels("dead").inc()

    async def may_be_our_fault(self, raw: Raw) -> bool:
        """Whether an event that couldn't be read may mean that our release is bad, and not its publisher's."""
        source, type_name = claimed(raw)
        async with self._database.read() as connection:
            return await self._publishers.were_read(connection, source=source, type_name=type_name)

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
                with translated():
                    prepared = await prepare([parked.raw], self._judges, again=True)
                    await self._take(prepared, [parked.raw], uow)
                if prepared.dead:
                    raise prepared.dead[0][1]  # noqa: TRY301  # it dies like any other error here
            except (Unavailable, Conflict):
                raise  # the database or the registry: it is tried again
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

    async def _take(self, prepared: Prepared, raws: Sequence[Raw], uow: MonitorUnitOfWork) -> None:
        told = await logged.join(prepared.sides, prepared.dead, uow)
        joined = singles.columns_of([raw for raw, _ in told], [each for _, each in told], prepared.dead)
        arrive(joined, "/logged", raws, prepared)
        await handlers.take_records(
            prepared.arrived, prepared.judges, uow, kept=self._kept, open_records=self._open_records
        )

    async def _move(self, uow: MonitorUnitOfWork, partition: int, *, old: int, new: int) -> None:
        if not await uow.records.move(self._topic, partition, old=old, new=new):
            raise Moved

    def _parking(self, uow: MonitorUnitOfWork) -> Parking:
        return Parking(uow.connection, consumer=self._name)


def _some_of(read: Sequence[Raw]) -> list[CloudEvent]:
    """The first and the last event that was read: in time each publisher's are among them, and all would be costly."""
    found = []
    for raw in {id(each): each for each in (*read[:1], *read[-1:])}.values():
        try:
            found.append(cloudevents.read(raw.headers, raw.value))
        except Invalid:  # an attribute that nobody needs
            continue
    return found
