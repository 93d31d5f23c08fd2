"""The pusher's tables: the views' histories, beside what consuming needs."""

from __future__ import annotations

from collections.abc import Sequence

from services.chassis.database import UnitOfWork
from services.features import history_store
from services.features.shapes import Row, Shape


class PusherUnitOfWork(UnitOfWork):
    """One transaction of the pusher."""

    async def keep(self, shape: Shape, rows: Sequence[Row]) -> None:
        """Add rows to a view's history."""
        await history_store.add(self.connection, shape, rows, self.now)
