"""The table of logged requests and answers that wait for their other side, and of those that were joined."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from services.chassis.database import Connection

MOST_KEPT: Final = 100_000
"""Requests of all deployments that are remembered: those that wait, and those that were joined and might come again. At
500 a second an answer may come three minutes late."""


class Asked(NamedTuple):
    """A request that was logged: of which version, and the id that the logger gave it."""

    model: str
    environment: str
    version: int
    request_id: str


class Sides(NamedTuple):
    """What is there of a request: each side's bytes, and whether they were joined before."""

    asked: bytes | None = None
    answered: bytes | None = None
    joined: bool = False


class Logged:
    """Whoever changes it moves the partition that the requests come by in the same transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of(self, requests: Collection[Asked]) -> dict[Asked, Sides]:
        """What is there of these requests."""
        rows = await self._connection.fetch(
            """SELECT l.* FROM logged_sides l
               JOIN unnest($1::text[], $2::text[], $3::int[], $4::text[]) AS t(model, environment, version, request_id)
               USING (model, environment, version, request_id)""",
            *_columns(requests),
        )
        return {
            Asked(row["model"], row["environment"], row["version"], row["request_id"]): Sides(
                row["asked"], row["answered"], row["joined"]
            )
            for row in rows
        }

    async def keep(self, sides: Mapping[Asked, Sides]) -> None:
        """Keep what is there of requests now."""
        await self._connection.execute(
            """INSERT INTO logged_sides (model, environment, version, request_id, asked, answered, joined)
               SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bytea[], $6::bytea[], $7::bool[])
               ON CONFLICT (model, environment, version, request_id) DO UPDATE
               SET asked = excluded.asked, answered = excluded.answered, joined = excluded.joined""",
            *_columns(sides),
            [each.asked for each in sides.values()],
            [each.answered for each in sides.values()],
            [each.joined for each in sides.values()],
        )

    async def let_go(self, kept: int = MOST_KEPT) -> int:
        """Let go of all but the newest; how many of those hadn't met their other side."""
        rows = await self._connection.fetch(
            """DELETE FROM logged_sides WHERE ordinal <=
               (SELECT ordinal FROM logged_sides ORDER BY ordinal DESC OFFSET $1 LIMIT 1) RETURNING joined""",
            kept,
        )
        return sum(not row["joined"] for row in rows)


def _columns(requests: Collection[Asked]) -> Sequence[Sequence[object]]:
    return (
        [each.model for each in requests],
        [each.environment for each in requests],
        [each.version for each in requests],
        [each.request_id for each in requests],
    )
