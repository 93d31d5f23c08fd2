"""Signals that wait for a decision, and decisions with their numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from services.chassis.errors import NotFound
from services.deployer.domain.deployment import Place
from services.deployer.domain.going_back import Signal, Trouble

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row


@dataclass(frozen=True, slots=True)
class Case:
    """A signal, and where it stands.

    Args:
        id: The decision's id.
        place: Which deployment.
        signal: The finding.
        cleared: True once the monitor said that it is over.
        open: True while nothing is decided.
        received_at: When it came.
        traceparent: The trace that it came in.
    """

    id: UUID
    place: Place
    signal: Signal
    cleared: bool
    open: bool
    received_at: datetime
    traceparent: str


class Decisions:
    """The table of decisions."""

    def __init__(self, connection: Connection, *, now: datetime) -> None:
        self._connection = connection
        self._now = now

    async def open(self, decision: UUID, place: Place, signal: Signal, *, traceparent: str) -> None:
        """A signal came; a second decision about it isn't opened. One that was cleared before it came stays cleared."""
        await self._connection.execute(
            """INSERT INTO decisions (id, model, environment, signal_id, signal, received_at, traceparent)
               VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7)
               ON CONFLICT (signal_id) WHERE signal_id <> '' DO UPDATE SET signal = excluded.signal""",
            decision,
            place.model,
            place.environment,
            signal.id,
            json.dumps(asdict(signal)),
            self._now,
            traceparent,
        )

    async def clear(self, signal_id: str) -> None:
        """A signal is over."""
        await self._connection.execute("UPDATE decisions SET cleared = true WHERE signal_id = $1", signal_id)

    async def record(
        self, decision: UUID, place: Place, signal_id: str, body: bytes, *, received_at: datetime, traceparent: str
    ) -> None:
        """Keep what was decided, be it about an open signal or by a person."""
        await self._connection.execute(
            """INSERT INTO decisions (id, model, environment, signal_id, body, received_at, traceparent)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET body = excluded.body""",
            decision,
            place.model,
            place.environment,
            signal_id,
            body,
            received_at,
            traceparent,
        )

    async def rewrite(self, decision: UUID, body: bytes) -> None:
        """Write a decision again, with when it took effect."""
        await self._connection.execute("UPDATE decisions SET body = $2 WHERE id = $1", decision, body)

    async def case(self, decision: UUID) -> Case:
        """A signal by its decision's id, locked until the commit.

        Raises:
            NotFound: there is none.
        """
        row = await self._connection.fetchrow(
            "SELECT * FROM decisions WHERE id = $1 AND signal IS NOT NULL FOR UPDATE", decision
        )
        if row is None:
            raise NotFound(f"there is no decision {decision} about a signal")
        return _case(row)

    async def waiting(self) -> list[Case]:
        """Signals that nothing is decided about, oldest first."""
        rows = await self._connection.fetch("SELECT * FROM decisions WHERE body IS NULL ORDER BY number")
        return [_case(row) for row in rows]

    async def body(self, decision: str) -> bytes:
        """A decision by its id, or by its signal's.

        Raises:
            NotFound: there is none, or none yet.
        """
        found: bytes | None = await self._connection.fetchval(
            "SELECT body FROM decisions WHERE (id::text = $1 OR (signal_id = $1 AND $1 <> '')) AND body IS NOT NULL",
            decision,
        )
        if found is None:
            raise NotFound(f"nothing is decided about {decision!r} yet")
        return found

    async def page(self, *, model: str, environment: str, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Decisions, newest first, with the number that the next page begins before."""
        rows = await self._connection.fetch(
            """SELECT number, body FROM decisions
               WHERE body IS NOT NULL AND ($1 = '' OR model = $1) AND ($2 = '' OR environment = $2)
                 AND ($3::bigint IS NULL OR number < $3)
               ORDER BY number DESC LIMIT $4""",
            model,
            environment,
            before,
            limit,
        )
        return [(row["number"], row["body"]) for row in rows]


def _case(row: Row) -> Case:
    body = json.loads(row["signal"])
    signal = Signal(**body | {"trouble": Trouble(body["trouble"]), "features": tuple(body["features"])})
    return Case(
        row["id"],
        Place(row["model"], row["environment"]),
        signal,
        row["cleared"],
        row["body"] is None,
        row["received_at"],
        row["traceparent"],
    )
