"""The table of performance: what each day's records that came due add up to, as a whole and by segment."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from services.chassis.database import Connection
from services.monitor.domain.promise import Segment


@dataclass(frozen=True, slots=True)
class Day:
    """What a day's records of a segment add up to; feature and value are empty for all."""

    day: date
    feature: str
    value: str
    rows: int
    loss: float
    sums: bytes


class Days:
    """Whoever changes a watch's rows holds its deployment's lock first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def since(self, watch: int, since: date) -> list[Day]:
        """What each day since then adds up to as a whole, oldest first."""
        rows = await self._connection.fetch(
            """SELECT day, feature, value, rows, loss, sums FROM performance_days
               WHERE watch = $1 AND day >= $2 AND feature = '' ORDER BY day""",
            watch,
            since,
        )
        return [Day(**row) for row in rows]

    async def segments(self, watch: int, since: date) -> list[Segment]:
        """The segments of all days since then."""
        rows = await self._connection.fetch(
            """SELECT feature, value, sum(rows)::bigint AS rows, array_agg(loss ORDER BY day) AS losses
               FROM performance_days WHERE watch = $1 AND day >= $2 AND feature <> ''
               GROUP BY feature, value HAVING sum(rows) > 0 ORDER BY feature, value""",
            watch,
            since,
        )
        return [Segment(row["feature"], row["value"], row["rows"], math.fsum(row["losses"])) for row in rows]

    async def segment_sums(
        self, watch: int, since: date, segments: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], list[bytes]]:
        """What each day since then adds up to of some segments, by feature and value."""
        rows = await self._connection.fetch(
            """SELECT feature, value, sums FROM performance_days
               JOIN unnest($3::text[], $4::text[]) AS t(feature, value) USING (feature, value)
               WHERE watch = $1 AND day >= $2 ORDER BY day""",
            watch,
            since,
            [feature for feature, _ in segments],
            [value for _, value in segments],
        )
        found: dict[tuple[str, str], list[bytes]] = {}
        for row in rows:
            found.setdefault((row["feature"], row["value"]), []).append(row["sums"])
        return found

    async def places(self, watch: int, days: Collection[date]) -> list[tuple[date, str, str]]:
        """The segments that some days have, by day, feature and value; those of the whole are empty."""
        rows = await self._connection.fetch(
            "SELECT day, feature, value FROM performance_days WHERE watch = $1 AND day = ANY($2)", watch, list(days)
        )
        return [(row["day"], row["feature"], row["value"]) for row in rows]

    async def at(self, watch: int, places: Collection[tuple[date, str, str]]) -> list[Day]:
        """What some segments of days add up to so far."""
        rows = await self._connection.fetch(
            """SELECT day, feature, value, rows, loss, sums FROM performance_days
               JOIN unnest($2::date[], $3::text[], $4::text[]) AS t(day, feature, value) USING (day, feature, value)
               WHERE watch = $1""",
            watch,
            [day for day, _, _ in places],
            [feature for _, feature, _ in places],
            [value for _, _, value in places],
        )
        return [Day(**row) for row in rows]

    async def keep(self, watch: int, days: int) -> None:
        """Keep so many days, the newest and those before it: nobody asks for older ones."""
        await self._connection.execute(
            """DELETE FROM performance_days WHERE watch = $1
               AND day <= (SELECT max(day) FROM performance_days WHERE watch = $1) - $2::int""",
            watch,
            days,
        )

    async def newest(self, watch: int) -> date | None:
        """The newest day that came due; None where none did."""
        found: date | None = await self._connection.fetchval(
            "SELECT max(day) FROM performance_days WHERE watch = $1", watch
        )
        return found

    async def save(self, watch: int, days: Sequence[Day]) -> None:
        """Write what days add up to."""
        await self._connection.executemany(
            """INSERT INTO performance_days (watch, day, feature, value, rows, loss, sums)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (watch, day, feature, value) DO UPDATE
               SET rows = excluded.rows, loss = excluded.loss, sums = excluded.sums""",
            [(watch, each.day, each.feature, each.value, each.rows, each.loss, each.sums) for each in days],
        )
