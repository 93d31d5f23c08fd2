"""The table of estimates: what was expected of each day's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from services.chassis.database import Connection


class Estimates:
    """Whoever changes a watch's rows holds its deployment's lock first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of(self, watch: int, days: Sequence[date]) -> dict[date, bytes]:
        """What was expected of some days' records so far."""
        rows = await self._connection.fetch(
            "SELECT day, sums FROM estimates WHERE watch = $1 AND day = ANY($2)", watch, list(days)
        )
        return {row["day"]: row["sums"] for row in rows}

    async def all(self, watch: int) -> list[tuple[date, bytes]]:
        """What was expected of each day that is kept, oldest first."""
        rows = await self._connection.fetch("SELECT day, sums FROM estimates WHERE watch = $1 ORDER BY day", watch)
        return [(row["day"], row["sums"]) for row in rows]

    async def keep(self, watch: int, days: int) -> None:
        """Keep so many days, the newest and those before it."""
        await self._connection.execute(
            """DELETE FROM estimates WHERE watch = $1
               AND day <= (SELECT max(day) FROM estimates WHERE watch = $1) - $2::int""",
            watch,
            days,
        )

    async def save(self, watch: int, days: Mapping[date, bytes]) -> None:
        """Write what is expected of days' records."""
        await self._connection.executemany(
            """INSERT INTO estimates (watch, day, sums) VALUES ($1, $2, $3)
               ON CONFLICT (watch, day) DO UPDATE SET sums = excluded.sums""",
            [(watch, day, sums) for day, sums in days.items()],
        )
