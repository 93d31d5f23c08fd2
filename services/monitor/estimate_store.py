"""The table of estimates: what was expected of each day's records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from services.chassis.database import Connection


class Estimates:
    """Whoever changes a watch's rows holds its deployment's lock first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def since(self, watch: int, day: date) -> dict[date, bytes]:
        """What was expected of each day's records from a day on, oldest first."""
        rows = await self._connection.fetch(
            "SELECT day, sums FROM estimates WHERE watch = $1 AND day >= $2 ORDER BY day", watch, day
        )
        return {row["day"]: row["sums"] for row in rows}

    async def newest(self, watch: int) -> date | None:
        """The newest day of a watch; None where there is none."""
        found: date | None = await self._connection.fetchval("SELECT max(day) FROM estimates WHERE watch = $1", watch)
        return found

    async def save(self, watch: int, days: Mapping[date, bytes]) -> None:
        """Write what is expected of days' records."""
        await self._connection.executemany(
            """INSERT INTO estimates (watch, day, sums) VALUES ($1, $2, $3)
               ON CONFLICT (watch, day) DO UPDATE SET sums = excluded.sums""",
            [(watch, day, sums) for day, sums in days.items()],
        )
