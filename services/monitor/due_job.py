"""The job that counts records whose outcome came or won't: one replica at a time, a transaction a piece.

What can't be counted, by a fault of ours or of the data, holds up its own watch alone: it is tried again, later and
later, and until it can be /readyz names it, on every replica.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from services.chassis import instruments
from services.chassis.database import Database
from services.chassis.errors import Conflict, GoldenpathError, Unavailable
from services.chassis.leases import Lease, LeaseLost, Leases
from services.monitor import joining
from services.monitor.preparing import Judged
from services.monitor.store import MonitorUnitOfWork, Watches
from services.monitor.uncounted_store import Uncounted

_IDLE: Final = timedelta(seconds=1)
_NAMED: Final = 3  # of those that fail; the others are counted
_LONGEST: Final = 500  # characters of why: it may quote the data
_log = structlog.get_logger()


class DueJob:
    """Counts what is due.

    Args:
        database: Where records and outcomes wait.
        leases: One monitor at a time counts.
        judges: Know what each version promised.
    """

    def __init__(self, database: Database[MonitorUnitOfWork], leases: Leases, judges: Judged) -> None:
        self._database = database
        self._leases = leases
        self._judges = judges

    async def ready(self) -> None:
        """Ask whether all that is due can be counted, by whichever replica.

        Raises:
            Unavailable: not of every watch; the sentence names them, and says why.
        """
        async with self._database.read() as connection:
            failing = await Uncounted(connection).all()
        if failing:
            others = f"; and of {len(failing) - _NAMED} more" if len(failing) > _NAMED else ""
            named = "; ".join(map(str, failing[:_NAMED]))
            raise Unavailable(f"records that are due can't be counted of {named}{others}")

    async def run(self) -> None:
        """Count for ever, whenever the lease is ours."""
        await self._leases.run("due", self._work)

    async def round(self, lease: Lease) -> bool:
        """Count a piece of each watch that has something due; False where none has."""
        async with self._database.begin() as uow:
            watches = await uow.join.watches_due(uow.now)
        counted = any([await self._count(watch, lease) for watch in watches])
        async with self._database.read() as connection:
            instruments.MONITOR_UNCOUNTED.set(len(await Uncounted(connection).all()))
        return counted

    async def _work(self, lease: Lease) -> None:
        try:
            while True:
                if not await self.round(lease):
                    await asyncio.sleep(_IDLE.total_seconds())
        finally:
            instruments.MONITOR_UNCOUNTED.set(0)  # whoever counts now says it

    async def _count(self, watch: int, lease: Lease) -> bool:
        try:
            async with self._database.read() as connection:
                found = await Watches(connection).get(watch)
            judge = await self._judges.of(found.model, found.version)
            if judge is None or judge.promise is None:
                return False
            async with self._database.begin() as uow:
                await lease.check(uow.connection)
                counted = await joining.count_due(watch, judge.promise, uow)
                await uow.uncounted.done(watch)
        except (LeaseLost, Conflict) as error:
            _log.info("records that are due wait", reason=str(error))
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it holds up nobody else
            await self._put_off(watch, error, lease)
            return False
        return counted

    async def _put_off(self, watch: int, error: Exception, lease: Lease) -> None:
        known = isinstance(error, GoldenpathError)
        why = str(error) if known else f"{type(error).__name__}, which nobody foresaw: the monitor's log says more"
        why = why.replace("\0", "?")[:_LONGEST]
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            tries = await uow.uncounted.put_off(watch, why, uow.now)
        trace = None if known else error
        _log.error(
            "records that are due can't be counted", tries=tries, reason=f"watch {watch}: {error}", exc_info=trace
        )
