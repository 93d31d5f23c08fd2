"""The job that counts records whose outcome came or won't: one replica at a time, a transaction a piece."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from services.chassis.database import Database
from services.chassis.errors import Conflict, Invalid, Unavailable
from services.chassis.leases import Lease, Leases
from services.monitor import joining
from services.monitor.preparing import Judged
from services.monitor.store import MonitorUnitOfWork, Watches

_IDLE: Final = timedelta(seconds=1)
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

    async def run(self) -> None:
        """Count for ever, whenever the lease is ours."""
        await self._leases.run("due", self._work)

    async def round(self, lease: Lease) -> bool:
        """Count a piece of each watch that has something due; False where none has."""
        async with self._database.begin() as uow:
            watches = await uow.join.watches_due(uow.now)
        return any([await self._count(watch, lease) for watch in watches])

    async def _work(self, lease: Lease) -> None:
        while True:
            if not await self.round(lease):
                await asyncio.sleep(_IDLE.total_seconds())

    async def _count(self, watch: int, lease: Lease) -> bool:
        try:
            async with self._database.read() as connection:
                found = await Watches(connection).get(watch)
            judge = await self._judges.of(found.model, found.version)
            if judge is None or judge.promise is None:
                return False
            async with self._database.begin() as uow:
                await lease.check(uow.connection)
                return await joining.count_due(watch, judge.promise, uow)
        except (Unavailable, Conflict) as error:
            _log.warning("records that are due wait", reason=str(error))
        except Invalid as error:  # sums of another form
            _log.error("records that are due can't be counted", reason=str(error))
        return False
