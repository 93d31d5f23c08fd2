"""Rollouts, and how far the present step has come."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from services.chassis.errors import NotFound
from services.deployer.domain import policy as policies
from services.deployer.domain import traffic as readings
from services.deployer.domain.deployment import Place
from services.deployer.domain.rollout import Rollout, State
from services.deployer.domain.shadow import Passed
from services.deployer.domain.traffic import Traffic

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row

_NOTHING: Final = Passed()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the present step has come.

    Args:
        since: When its share became effective; None before that.
        candidate: The proxy's reading of the candidate at that moment.
        stable: The reading of the stable.
        judged_at: The candidate's sample at the judge's last look.
        passed: What of a shadow step has passed.
    """

    since: datetime | None = None
    candidate: Traffic = field(default_factory=Traffic)
    stable: Traffic = field(default_factory=Traffic)
    judged_at: int = 0
    passed: Passed = _NOTHING


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollout with what its row knows besides."""

    rollout: Rollout
    progress: Progress
    traceparent: str
    started_at: datetime
    changed_at: datetime
    ended_at: datetime | None


class Rollouts:
    """The table of rollouts."""

    def __init__(self, connection: Connection, *, now: datetime) -> None:
        self._connection = connection
        self._now = now

    async def add(self, rollout: Rollout, *, traceparent: str) -> None:
        """A new rollout."""
        await self._connection.execute(
            """INSERT INTO rollouts (id, model, environment, version, state, body, traceparent, started_at, changed_at)
               VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8, $8)""",
            rollout.id,
            rollout.place.model,
            rollout.place.environment,
            rollout.version,
            rollout.state.value,
            json.dumps(_body(rollout)),
            traceparent,
            self._now,
        )

    async def save(self, rollout: Rollout) -> None:
        """Write a rollout that moved on; its step begins anew."""
        await self._connection.execute(
            """UPDATE rollouts SET state = $2, body = $3::text::jsonb, progress = '{}', changed_at = $4::timestamptz,
                                   ended_at = CASE WHEN $5 THEN $4::timestamptz END
               WHERE id = $1""",
            rollout.id,
            rollout.state.value,
            json.dumps(_body(rollout)),
            self._now,
            rollout.over,
        )

    async def note(self, rollout: Rollout, progress: Progress) -> None:
        """Write the present step's progress, and the judge's last word."""
        await self._connection.execute(
            "UPDATE rollouts SET progress = $2::text::jsonb, body = $3::text::jsonb WHERE id = $1",
            rollout.id,
            json.dumps(_progress_body(progress)),
            json.dumps(_body(rollout)),
        )

    async def get(self, rollout: UUID) -> Kept:
        """One rollout.

        Raises:
            NotFound: there is none.
        """
        row = await self._connection.fetchrow("SELECT * FROM rollouts WHERE id = $1", rollout)
        if row is None:
            raise NotFound(f"there is no rollout {rollout}")
        return _kept(row)

    async def open(self, place: Place) -> list[Kept]:
        """A place's rollouts that aren't over, oldest first."""
        rows = await self._connection.fetch(
            "SELECT * FROM rollouts WHERE model = $1 AND environment = $2 AND ended_at IS NULL ORDER BY number",
            place.model,
            place.environment,
        )
        return [_kept(row) for row in rows]

    async def active(self, place: Place) -> Kept | None:
        """The rollout that has the deployment's candidate; None where none goes on."""
        return next((one for one in await self.open(place) if one.rollout.state is not State.ADMITTED), None)

    async def latest(self, place: Place) -> Kept | None:
        """The rollout that goes on, or else the one that ended last."""
        active = await self.active(place)
        if active is not None:
            return active
        row = await self._connection.fetchrow(
            """SELECT * FROM rollouts WHERE model = $1 AND environment = $2
               ORDER BY ended_at DESC NULLS LAST, number DESC LIMIT 1""",
            place.model,
            place.environment,
        )
        return _kept(row) if row else None

    async def places(self) -> list[Place]:
        """Where rollouts go on or wait."""
        rows = await self._connection.fetch(
            "SELECT DISTINCT model, environment FROM rollouts WHERE ended_at IS NULL ORDER BY model, environment"
        )
        return [Place(row["model"], row["environment"]) for row in rows]

    async def newest_version(self, place: Place) -> int:
        """The highest version that was ever brought, 0 where none was; one that was never admitted doesn't count."""
        found: int | None = await self._connection.fetchval(
            """SELECT max(version) FROM rollouts
               WHERE model = $1 AND environment = $2 AND NOT (state = 'failed' AND body ->> 'digest' = '')""",
            place.model,
            place.environment,
        )
        return found or 0


def _body(rollout: Rollout) -> dict[str, Any]:
    return {
        "step": rollout.step,
        "digest": rollout.digest,
        "verdict_id": rollout.verdict_id,
        "policy": policies.to_json(rollout.policy),
        "judgement": rollout.judgement,
        "commanded": rollout.commanded,
    }


def _kept(row: Row) -> Kept:
    body = json.loads(row["body"])
    rollout = Rollout(
        row["id"],
        Place(row["model"], row["environment"]),
        row["version"],
        state=State(row["state"]),
        **body | {"policy": policies.from_json(body["policy"])},
    )
    progress = _progress(json.loads(row["progress"]))
    return Kept(rollout, progress, row["traceparent"], row["started_at"], row["changed_at"], row["ended_at"])


def _progress_body(progress: Progress) -> dict[str, Any]:
    return {
        "since": progress.since.isoformat() if progress.since else None,
        "candidate": readings.to_json(progress.candidate),
        "stable": readings.to_json(progress.stable),
        "judged_at": progress.judged_at,
        "passed": asdict(progress.passed),
    }


def _progress(body: dict[str, Any]) -> Progress:
    since = body.get("since")
    return Progress(
        datetime.fromisoformat(since) if since else None,
        readings.from_json(body.get("candidate", {})),
        readings.from_json(body.get("stable", {})),
        body.get("judged_at", 0),
        Passed(**body.get("passed", {})),
    )
