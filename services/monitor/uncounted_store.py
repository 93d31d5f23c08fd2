"""The table of watches whose records are due and couldn't be counted: nobody tries them before their time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.chassis.database import Connection

FIRST: Final = timedelta(seconds=1)
LAST: Final = timedelta(minutes=5)  # what is mended is counted so much later at most; a day's tries are 288
_DOUBLINGS: Final = 9  # beyond them it is LAST


@dataclass(frozen=True, slots=True)
class Failing:
    """A watch whose records can't be counted."""

    model: str
    environment: str
    role: str
    version: int
    tries: int
    since: datetime
    why: str

    def __str__(self) -> str:
        """In a sentence, without its end."""
        of = f"{self.model}/{self.environment}, version {self.version} as {self.role}"
        return f"{of}, since {self.since:%Y-%m-%d %H:%M} UTC in {self.tries} tries: {self.why}"


class Uncounted:
    """Watches whose records can't be counted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put_off(self, watch: int, why: str, at: datetime) -> int:
        """A try failed: the next is later, and later again. How many failed in a row."""
        tries: int = await self._connection.fetchval(
            """INSERT INTO uncounted AS held (watch, tries, since, why, try_at)
               VALUES ($1, 1, $3::timestamptz, $2, $3 + $4::interval)
               ON CONFLICT (watch) DO UPDATE SET tries = held.tries + 1, why = $2,
                   try_at = $3 + least($4 * 2 ^ least(held.tries, $5::int), $6::interval)
               RETURNING tries""",
            watch,
            why,
            at,
            FIRST,
            _DOUBLINGS,
            LAST,
        )
        return tries

    async def done(self, watch: int) -> None:
        """They were counted."""
        await self._connection.execute("DELETE FROM uncounted WHERE watch = $1", watch)

    async def all(self) -> list[Failing]:
        """Those that fail, the longest first."""
        rows = await self._connection.fetch(
            """SELECT model, environment, role, version, tries, since, why
               FROM uncounted u JOIN watches w ON w.id = u.watch ORDER BY since, watch"""
        )
        return [Failing(**row) for row in rows]
