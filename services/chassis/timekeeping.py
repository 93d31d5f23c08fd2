"""Whether our clock is right, by the database's, which all replicas share and by which leases run.

Nothing's order depends on it; but events say when they happened by our clock, and so does what is counted by days.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import Unavailable

_MAY_DIFFER: Final = timedelta(seconds=5)  # more than a slow answer, of at most 2 s, can make it seem


def on_time(database: Database[Any], clock: Clock) -> Callable[[], Awaitable[None]]:
    """A readiness check.

    Raises:
        Unavailable: the clocks differ; or the database doesn't answer.
    """

    async def check() -> None:
        async with database.read() as connection:
            there: datetime = await connection.fetchval("SELECT clock_timestamp()")
        ahead = clock.now() - there
        if abs(ahead) > _MAY_DIFFER:
            way = "ahead of" if ahead > timedelta() else "behind"
            raise Unavailable(f"our clock is {abs(ahead).total_seconds():,.0f} s {way} the database's")

    return check
