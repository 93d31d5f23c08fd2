"""The tables of the join: records that wait for their outcome, and what has been counted of them.

The join is bounded. Where more records wait than may, half of them are let go, and of what comes later half isn't
kept: those whose id has a hash in the upper half. Outcomes go by the same rule, so that what is kept on one side is
kept on the other, and what is counted is a sample that neither senders nor outcomes chose.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.chassis.database import Connection

OPEN_RECORDS: Final = 200_000
"""Records of a watch that wait for their outcome at most; some 50 to 300 bytes each, on disk."""

PATIENCE: Final = 1.25
"""How much longer than promised records wait by our clock, so that outcomes which lag behind on Kafka still count."""

_HASHED: Final = 4  # bytes of SHA-256 that decide whether a record is kept
_REPLAYED: Final = 10_000  # counted records of a watch that are kept, for whoever replays them
_AT_ONCE: Final = 64  # batches that are counted in one transaction


_DUE: Final = """b.counted_at IS NULL AND (b.due_by <= $1 OR b.due_at <= least(j.newest_outcome_at,
    (SELECT max(newest_record_at) FROM watches o WHERE o.model = w.model AND o.environment = w.environment)))"""
# of a batch b, of a watch w, of a model whose outcomes are j: by the records' own time, as far as both have come, or by
# ours


@dataclass(frozen=True, slots=True)
class Open:
    """A batch that waits: its id, its newest record's time, its records, and itself."""

    id: int
    newest_at: datetime
    rows: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch that begins to wait: what is kept of it, its records, and its oldest and newest one's time."""

    body: bytes
    rows: int
    oldest_at: datetime
    newest_at: datetime


def kept_below(halvings: int) -> bytes:
    """What a record's hash must be below to be kept, after so many halvings."""
    return ((256**_HASHED >> halvings) - 1).to_bytes(_HASHED, "big")


def is_kept(record_id: bytes, halvings: int) -> bool:
    """Whether a record is kept, by its id's 16 bytes, after so many halvings."""
    return not halvings or hashlib.sha256(record_id).digest()[:_HASHED] <= kept_below(halvings)


class Join:
    """Whoever changes a watch's rows holds its deployment's lock first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def halvings(self, model: str) -> int:
        """How often the share of a model's records that is kept was halved."""
        found: int | None = await self._connection.fetchval("SELECT halvings FROM joins WHERE model = $1", model)
        return found or 0

    async def wait(self, watch: int, batches: Sequence[Waiting], *, within: timedelta, at: datetime) -> int:
        """Let batches wait; how many records of the watch wait now."""
        due_by = at + PATIENCE * within
        await self._connection.executemany(
            """INSERT INTO open_batches (watch, oldest_at, newest_at, due_at, due_by, rows, body)
               VALUES ($1, $2, $3, $4, $5, $6, $7)""",
            [
                (watch, each.oldest_at, each.newest_at, each.newest_at + within, due_by, each.rows, each.body)
                for each in batches
            ],
        )
        return await self._waiting(watch, sum(each.rows for each in batches))

    async def halve(self, model: str) -> int:
        """Keep half of a model's records from now on; how often that was done by now."""
        halvings: int = await self._connection.fetchval(
            """INSERT INTO joins (model, halvings) VALUES ($1, 1)
               ON CONFLICT (model) DO UPDATE SET halvings = joins.halvings + 1 RETURNING halvings""",
            model,
        )
        await self._connection.execute(
            """DELETE FROM outcomes WHERE model = $1 AND NOT counted
               AND substring(sha256(uuid_send(record_id)) for $2) > $3""",
            model,
            _HASHED,
            kept_below(halvings),
        )
        return halvings

    async def all_open(self, watch: int) -> list[Open]:
        """Every batch of a watch that waits."""
        rows = await self._connection.fetch(
            "SELECT id, newest_at, rows, body FROM open_batches WHERE watch = $1 AND counted_at IS NULL ORDER BY id",
            watch,
        )
        return [Open(**row) for row in rows]

    async def thin(self, watch: int, bodies: Mapping[int, tuple[bytes, int]]) -> None:
        """Replace batches that wait by what is kept of them, each with its rows; of none, nothing stays."""
        await self._connection.executemany(
            "UPDATE open_batches SET body = $2, rows = $3 WHERE id = $1",
            [(each, body, rows) for each, (body, rows) in bodies.items()],
        )
        await self._connection.execute("DELETE FROM open_batches WHERE watch = $1 AND rows = 0", watch)
        await self._connection.execute(
            """UPDATE promises SET open_rows = (SELECT coalesce(sum(rows), 0) FROM open_batches
                                                WHERE watch = $1 AND counted_at IS NULL) WHERE watch = $1""",
            watch,
        )

    async def watches_due(self, now: datetime) -> list[int]:
        """The watches with due records, of which a try that failed isn't too fresh."""
        rows = await self._connection.fetch(
            f"""SELECT w.id FROM watches w JOIN promises p ON p.watch = w.id AND p.open_rows > 0
                LEFT JOIN joins j ON j.model = w.model
                WHERE EXISTS (SELECT FROM open_batches b WHERE b.watch = w.id AND {_DUE})
                  AND NOT EXISTS (SELECT FROM uncounted u WHERE u.watch = w.id AND u.try_at > $1) ORDER BY w.id""",  # noqa: S608 - a condition of ours
            now,
        )
        return [row["id"] for row in rows]

    async def due(self, watch: int, now: datetime) -> list[Open]:
        """The next batches of a watch that count, in the order in which they came due."""
        rows = await self._connection.fetch(
            f"""SELECT b.id, b.newest_at, b.rows, b.body FROM open_batches b JOIN watches w ON w.id = b.watch
                LEFT JOIN joins j ON j.model = w.model
                WHERE b.watch = $2 AND {_DUE} ORDER BY b.due_at, b.id LIMIT $3""",  # noqa: S608 - a condition of ours
            now,
            watch,
            _AT_ONCE,
        )
        return [Open(**row) for row in rows]

    async def outcomes(self, model: str, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[float | None, str | None]]:
        """The outcomes of records that are counted now; what changes them later changes no number any more."""
        rows = await self._connection.fetch(
            """UPDATE outcomes SET counted = true WHERE model = $1 AND record_id = ANY($2)
               RETURNING record_id, value, label""",
            model,
            list(ids),
        )
        return {uuid.UUID(int=row["record_id"].int): (row["value"], row["label"]) for row in rows}

    async def counted(self, watch: int, ids: Sequence[int], rows: int, at: datetime) -> None:
        """These batches were counted; of all that were, the newest are kept."""
        await self._connection.execute("UPDATE open_batches SET counted_at = $2 WHERE id = ANY($1)", list(ids), at)
        await self._waiting(watch, -rows)
        await self._connection.execute(
            """DELETE FROM open_batches WHERE id IN (
                   SELECT id FROM (SELECT id, sum(rows) OVER (ORDER BY id DESC) AS newer FROM open_batches
                                   WHERE watch = $1 AND counted_at IS NOT NULL) AS each WHERE newer - $2 > 0)""",
            watch,
            _REPLAYED,
        )

    async def counted_since(self, watch: int, since: datetime) -> list[bytes]:
        """The kept batches of a watch that were counted, of records since then, oldest first."""
        rows = await self._connection.fetch(
            """SELECT body FROM open_batches WHERE watch = $1 AND counted_at IS NOT NULL AND newest_at >= $2
               ORDER BY id""",
            watch,
            since,
        )
        return [row["body"] for row in rows]

    async def kept(self, watch: int) -> bytes | None:
        """How a watch keeps its promise; None where nothing came due yet."""
        kept: bytes | None = await self._connection.fetchval("SELECT kept FROM promises WHERE watch = $1", watch)
        return kept

    async def save(self, watch: int, kept: bytes) -> None:
        """Keep how a watch keeps its promise."""
        await self._connection.execute("UPDATE promises SET kept = $2 WHERE watch = $1", watch, kept)

    async def _waiting(self, watch: int, more: int) -> int:
        waiting: int = await self._connection.fetchval(
            """INSERT INTO promises (watch, open_rows) VALUES ($1, $2)
               ON CONFLICT (watch) DO UPDATE SET open_rows = promises.open_rows + $2 RETURNING open_rows""",
            watch,
            more,
        )
        return waiting
