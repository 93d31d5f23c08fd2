"""What happened to deployments, and what was decided and isn't in effect yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from services.deployer.domain.deployment import Place

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Args:
        id: Its number, rising.
        place: Where.
        type: The event's type, such as deployment.promoted.
        body: The event's body; without effective_at until it is in effect.
        sentence: What happened, for a person.
        actor: The person who did it; empty where nobody did.
        traceparent: The trace that it belongs to.
        decided_at: When it was decided.
        effective_at: When the proxy showed it; None while it doesn't.
    """

    id: int
    place: Place
    type: str
    body: bytes
    sentence: str
    actor: str
    traceparent: str
    decided_at: datetime
    effective_at: datetime | None


class History:
    """The table of what happened."""

    def __init__(self, connection: Connection, *, now: datetime) -> None:
        self._connection = connection
        self._now = now

    async def add(
        self, place: Place, type_name: str, body: bytes, sentence: str, *, actor: str, traceparent: str, effective: bool
    ) -> None:
        """Keep what happened; where it isn't effective yet, the routing job is woken to make it so."""
        await self._connection.execute(
            """INSERT INTO history (model, environment, type, body, sentence, actor, traceparent, decided_at,
                                    effective_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8::timestamptz, CASE WHEN $9 THEN $8::timestamptz END)""",
            place.model,
            place.environment,
            type_name,
            body,
            sentence,
            actor,
            traceparent,
            self._now,
            effective,
        )

    async def pending(self) -> list[Entry]:
        """What was decided and isn't in effect yet, oldest first."""
        rows = await self._connection.fetch("SELECT * FROM history WHERE effective_at IS NULL ORDER BY id")
        return [_entry(row) for row in rows]

    async def is_pending(self, place: Place) -> bool:
        """True while the proxy doesn't show what was decided about a place."""
        found = await self._connection.fetchval(
            "SELECT 1 FROM history WHERE effective_at IS NULL AND model = $1 AND environment = $2 LIMIT 1",
            place.model,
            place.environment,
        )
        return found is not None

    async def took_effect(self, entry: Entry, body: bytes) -> bool:
        """The proxy shows it; False where that was known."""
        found = await self._connection.fetchval(
            "UPDATE history SET effective_at = $2, body = $3 WHERE id = $1 AND effective_at IS NULL RETURNING 1",
            entry.id,
            self._now,
            body,
        )
        return found is not None

    async def page(self, place: Place, *, before: int | None, limit: int) -> list[Entry]:
        """What happened at a place, newest first."""
        rows = await self._connection.fetch(
            """SELECT * FROM history WHERE model = $1 AND environment = $2 AND ($3::bigint IS NULL OR id < $3)
                   AND effective_at IS NOT NULL
               ORDER BY id DESC LIMIT $4""",
            place.model,
            place.environment,
            before,
            limit,
        )
        return [_entry(row) for row in rows]


def _entry(row: Row) -> Entry:
    return Entry(
        row["id"],
        Place(row["model"], row["environment"]),
        row["type"],
        row["body"],
        row["sentence"],
        row["actor"],
        row["traceparent"],
        row["decided_at"],
        row["effective_at"],
    )
