"""The table of signals."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from goldenpath.monitor.v1 import events_pb2 as pb
from services.chassis.database import Connection, Row
from services.chassis.errors import NotFound

SIGNALS: Final = "signals"  # the channel that wakes watchers


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """A signal, and its end."""

    ordinal: int
    changed: int
    watch: int
    level: str
    since: datetime
    cleared_at: datetime | None
    body: pb.Signal


class Signals:
    """Findings."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def raise_(self, watch: int, level: str, body: pb.Signal, *, since: datetime, at: datetime) -> None:
        """Keep a new signal."""
        await self._connection.execute(
            """INSERT INTO signals (id, watch, model, environment, level, since, raised_at, changed, body)
               VALUES ($1, $2, $3, $4, $5, $6, $7, nextval('signal_changes'), $8)""",
            uuid.UUID(body.id),
            watch,
            body.model,
            body.environment,
            level,
            since,
            at,
            body.SerializeToString(),
        )
        await self._notify()

    async def clear(self, watch: int, at: datetime) -> list[StoredSignal]:
        """End every detected signal of a watch that stands; which they were."""
        rows = await self._connection.fetch(
            """UPDATE signals SET cleared_at = $2, changed = nextval('signal_changes')
               WHERE watch = $1 AND level = 'detected' AND cleared_at IS NULL RETURNING *""",
            watch,
            at,
        )
        await self._notify()
        return [_signal(row) for row in rows]

    async def get(self, signal: str) -> StoredSignal:
        """One signal.

        Raises:
            NotFound: there is none of that id.
        """
        row = await self._connection.fetchrow("SELECT * FROM signals WHERE id::text = $1", signal.lower())
        if row is None:
            raise NotFound(f"there is no signal {signal}")
        return _signal(row)

    async def standing(self, watch: int) -> StoredSignal | None:
        """The newest detected signal of a watch that hasn't cleared."""
        row = await self._connection.fetchrow(
            """SELECT * FROM signals WHERE watch = $1 AND level = 'detected' AND cleared_at IS NULL
               ORDER BY ordinal DESC LIMIT 1""",
            watch,
        )
        return _signal(row) if row else None

    async def degraded(self, watch: int) -> StoredSignal | None:
        """The signal that a watch broke its promise; None where none was raised."""
        row = await self._connection.fetchrow(
            "SELECT * FROM signals WHERE watch = $1 AND level = 'degraded' ORDER BY ordinal DESC LIMIT 1", watch
        )
        return _signal(row) if row else None

    async def violated(self, watch: int) -> list[StoredSignal]:
        """The signals that data of a watch is broken, newest first."""
        rows = await self._connection.fetch(
            "SELECT * FROM signals WHERE watch = $1 AND level = 'violated' ORDER BY ordinal DESC", watch
        )
        return [_signal(row) for row in rows]

    async def page(self, model: str, environment: str, before: int, limit: int) -> list[StoredSignal]:
        """Signals, newest first; empty names are any."""
        rows = await self._connection.fetch(
            """SELECT * FROM signals WHERE ($1 = '' OR model = $1) AND ($2 = '' OR environment = $2) AND ordinal < $3
               ORDER BY ordinal DESC LIMIT $4""",
            model,
            environment,
            before,
            limit,
        )
        return [_signal(row) for row in rows]

    async def newest_change(self) -> int:
        """How far the changes of all signals have come."""
        newest: int | None = await self._connection.fetchval("SELECT max(changed) FROM signals")
        return newest or 0

    async def changed_after(self, model: str, after: int, limit: int) -> list[StoredSignal]:
        """Signals that were raised or cleared since, in order; an empty name is any."""
        rows = await self._connection.fetch(
            "SELECT * FROM signals WHERE ($1 = '' OR model = $1) AND changed > $2 ORDER BY changed LIMIT $3",
            model,
            after,
            limit,
        )
        return [_signal(row) for row in rows]

    async def _notify(self) -> None:
        await self._connection.execute("SELECT pg_notify($1, '')", SIGNALS)


def _signal(row: Row) -> StoredSignal:
    return StoredSignal(
        ordinal=row["ordinal"],
        changed=row["changed"],
        watch=row["watch"],
        level=row["level"],
        since=row["since"],
        cleared_at=row["cleared_at"],
        body=pb.Signal.FromString(row["body"]),
    )
