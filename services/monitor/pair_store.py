"""The tables of mirrored candidates: the counts of each, and the answers whose other side hasn't come yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.monitor.domain.pairs import Answers, Compared

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row

MOST_WAITING: Final = 20_000
"""Requests of a deployment that wait for their other side: ten seconds of 2,000 a second, where servers send their
records twice a second."""

QUIET: Final = timedelta(minutes=2)
"""Without a copy for so long a deployment's answers aren't kept for pairing any more, until the next copy comes."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A candidate that gets a copy of the traffic: the last one of its deployment.

    Args:
        model: The model.
        environment: The environment.
        version: The candidate.
        epoch: The epoch in which it became the candidate.
        deviation: The standard deviation of its reference's scores; 0 where it has no reference.
        seen_at: When its last copy was answered.
        found: What was counted.
    """

    model: str
    environment: str
    version: int
    epoch: int
    deviation: float
    seen_at: datetime
    found: Compared


class Pairs:
    """Whoever changes a deployment's pairs holds its lock first, as for its watches."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def awake(self, deployments: Sequence[tuple[str, str]]) -> list[Shadow]:
        """Those of these deployments that had a copy lately, and what is known of it."""
        rows = await self._connection.fetch(
            """SELECT shadows.* FROM shadows JOIN unnest($1::text[], $2::text[]) AS t(model, environment)
               USING (model, environment) WHERE awake ORDER BY model, environment""",
            [model for model, _ in deployments],
            [environment for _, environment in deployments],
        )
        return [_shadow(row) for row in rows]

    async def of(self, model: str, environment: str) -> Shadow | None:
        """A deployment's last mirrored candidate."""
        row = await self._connection.fetchrow(
            "SELECT * FROM shadows WHERE model = $1 AND environment = $2", model, environment
        )
        return _shadow(row) if row else None

    async def begin(self, shadow: Shadow) -> None:
        """A copy was answered: it begins the candidate's count where it is the first of a newer epoch."""
        begun = await self._connection.fetchval(
            """INSERT INTO shadows (model, environment, version, epoch, deviation, seen_at)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (model, environment) DO UPDATE SET
                   version = excluded.version, epoch = excluded.epoch, deviation = excluded.deviation,
                   seen_at = excluded.seen_at, awake = true, pairs = 0, differing = 0, unpaired = 0, apart = 0
               WHERE shadows.epoch < excluded.epoch RETURNING true""",
            shadow.model,
            shadow.environment,
            shadow.version,
            shadow.epoch,
            shadow.deviation,
            shadow.seen_at,
        )
        if begun:
            await self._forget(shadow)
        else:
            await self._connection.execute(
                """UPDATE shadows SET seen_at = $5, awake = true
                   WHERE model = $1 AND environment = $2 AND version = $3 AND epoch = $4""",
                shadow.model,
                shadow.environment,
                shadow.version,
                shadow.epoch,
                shadow.seen_at,
            )

    async def sleep(self, shadow: Shadow) -> None:
        """No copy came for long: what waits won't be paired."""
        await self.count(shadow, Compared(unpaired=await self._forget(shadow)))
        await self._connection.execute(
            "UPDATE shadows SET awake = false WHERE model = $1 AND environment = $2", shadow.model, shadow.environment
        )

    async def take(self, shadow: Shadow, requests: Sequence[str], *, mirrored: bool) -> dict[str, Answers]:
        """The kept answers of one side to these requests; they wait no longer."""
        rows = await self._connection.fetch(
            """DELETE FROM unpaired_answers
               WHERE model = $1 AND environment = $2 AND mirrored = $3 AND request_id = ANY($4)
               RETURNING request_id, scores, labels""",
            shadow.model,
            shadow.environment,
            mirrored,
            list(requests),
        )
        return {row["request_id"]: Answers(row["scores"], row["labels"]) for row in rows}

    async def keep(self, shadow: Shadow, answers: Mapping[str, Answers], *, mirrored: bool) -> None:
        """Let answers wait for their other side; a request that one side answered twice counts once."""
        await self._connection.executemany(
            """INSERT INTO unpaired_answers (model, environment, mirrored, request_id, scores, labels)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
            [
                (shadow.model, shadow.environment, mirrored, request, list(one.scores), list(one.labels))
                for request, one in answers.items()
            ],
        )

    async def let_go(self, shadow: Shadow, most: int) -> int:
        """Let the oldest go beyond so many that wait; how many records they were."""
        rows = await self._connection.fetch(
            """DELETE FROM unpaired_answers WHERE model = $1 AND environment = $2 AND ordinal <=
                   (SELECT ordinal FROM unpaired_answers WHERE model = $1 AND environment = $2
                    ORDER BY ordinal DESC OFFSET $3 LIMIT 1)
               RETURNING cardinality(scores) AS records""",
            shadow.model,
            shadow.environment,
            most,
        )
        return sum(row["records"] for row in rows)

    async def count(self, shadow: Shadow, found: Compared) -> None:
        """Add to a candidate's counts."""
        await self._connection.execute(
            """UPDATE shadows SET pairs = pairs + $3, differing = differing + $4, unpaired = unpaired + $5,
                                  apart = apart + $6
               WHERE model = $1 AND environment = $2""",
            shadow.model,
            shadow.environment,
            found.pairs,
            found.differing,
            found.unpaired,
            found.apart,
        )

    async def _forget(self, shadow: Shadow) -> int:
        return await self.let_go(shadow, 0)


def _shadow(row: Row) -> Shadow:
    return Shadow(
        row["model"],
        row["environment"],
        row["version"],
        row["epoch"],
        row["deviation"],
        row["seen_at"],
        Compared(row["pairs"], row["differing"], row["unpaired"], row["apart"]),
    )
