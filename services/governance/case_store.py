"""Versions' cases, and every verdict that was ever given.

Cases and verdicts are kept whole as JSON, as the domain has them; what is searched by stands in columns of its own.
Whoever changes a case holds its lock first (`Cases.lock`), so that facts are always asked later than those that
stand, and never written over newer ones.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from pydantic import TypeAdapter

from services.chassis.database import Connection
from services.chassis.telemetry import current_traceparent
from services.governance.domain.facts import Facts
from services.governance.domain.verdicts import Case, Verdict

T = TypeVar("T")

LOOK_AGAIN: Final = "look_again"  # the channel that wakes the job
VERDICTS: Final = "verdicts"  # the channel that wakes watchers
_CASE: Final = TypeAdapter(Case)
_VERDICT: Final = TypeAdapter(Verdict)
_FACTS: Final = TypeAdapter(Facts)
# One statement, as a round trip costs more than the three do.
_SAVE: Final = """
    WITH given AS (
        INSERT INTO verdicts (id, model, version, state, decided_at, facts, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING
    ), kept AS (
        INSERT INTO cases (model, version, state, requested_at, datasets, policies_revision, verdict, body)
        VALUES ($2, $3, $4, $8, $9, $10, $1, $11)
        ON CONFLICT (model, version) DO UPDATE SET
            state = excluded.state, datasets = excluded.datasets, verdict = excluded.verdict,
            policies_revision = excluded.policies_revision, body = excluded.body, look_again = NULL
    )
    SELECT pg_notify($12, '')
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case and the verdict that stands."""

    case: Case
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Stale:
    """A version that has to be looked at again, and the trace context of what changed; empty where none."""

    model: str
    version: int
    traceparent: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a reader of verdicts has come, in commit order."""

    given_in: int = 0
    sequence: int = 0


class Cases:
    """Versions' cases, and every verdict that was ever given."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self, model: str, version: int) -> Judged | None:
        """The case, locked until the transaction's end, whether it is there yet or not."""
        await self._connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{model}@{version}")
        return await self.get(model, version)

    async def get(self, model: str, version: int) -> Judged | None:
        """The case with its verdict; version 0 is the newest that was judged."""
        row = await self._connection.fetchrow(
            """SELECT cases.body AS "case", verdicts.body AS verdict FROM cases JOIN verdicts ON verdicts.id = verdict
               WHERE cases.model = $1 AND ($2 = 0 OR cases.version = $2) ORDER BY cases.version DESC LIMIT 1""",
            model,
            version,
        )
        return None if row is None else Judged(_read(_CASE, row["case"]), _read(_VERDICT, row["verdict"]))

    async def save(self, case: Case, verdict: Verdict, *, policies_revision: int) -> None:
        """Keep a case and the verdict about it; a verdict that was given before stays as it was."""
        await self._connection.execute(
            _SAVE,
            uuid.UUID(verdict.id),
            verdict.model,
            verdict.version,
            verdict.state,
            verdict.decided_at,
            _write(_FACTS, case.facts),
            _write(_VERDICT, verdict),
            verdict.requested_at,
            [f"{dataset.name}@{dataset.version}" for dataset in case.facts.datasets],
            policies_revision,
            _write(_CASE, case),
            VERDICTS,
        )

    async def look_again_at_users_of(self, dataset: str) -> None:
        """Have every version that was made from a dataset (name@version) looked at again."""
        await self._connection.execute(
            "UPDATE cases SET look_again = $2 WHERE datasets @> ARRAY[$1]", dataset, current_traceparent()
        )
        await self._connection.execute("SELECT pg_notify($1, '')", LOOK_AGAIN)

    async def stale(self, *, after: tuple[str, int], limit: int) -> list[Stale]:
        """Versions after a place whose facts have changed, or that the policies of now haven't judged."""
        rows = await self._connection.fetch(
            """SELECT model, version, coalesce(look_again, '') AS traceparent FROM cases
               WHERE (model, version) > ($1, $2)
                 AND (look_again IS NOT NULL
                      OR policies_revision < (SELECT coalesce(max(revision), 0) FROM policies))
               ORDER BY model, version LIMIT $3""",
            *after,
            limit,
        )
        return [Stale(row["model"], row["version"], row["traceparent"]) for row in rows]

    async def waiting(self, *, after: tuple[datetime, str, int] | None, limit: int) -> list[Verdict]:
        """Verdicts that wait for a person, oldest request first, after a place in that order."""
        since, model, version = after or (None, "", 0)
        rows = await self._connection.fetch(
            """SELECT verdicts.body FROM cases JOIN verdicts ON verdicts.id = verdict
               WHERE cases.state = 'waiting'
                 AND ($1::timestamptz IS NULL OR (cases.requested_at, cases.model, cases.version) > ($1, $2, $3))
               ORDER BY cases.requested_at, cases.model, cases.version LIMIT $4""",
            since,
            model,
            version,
            limit,
        )
        return [_read(_VERDICT, row["body"]) for row in rows]

    async def verdict(self, id_: str) -> Verdict | None:
        """A verdict by its id, whether it still stands or not."""
        body = await self._connection.fetchval("SELECT body FROM verdicts WHERE id::text = $1", id_)
        return None if body is None else _read(_VERDICT, body)

    async def approval_before(self, model: str, version: int, moment: datetime) -> Verdict | None:
        """The newest approving verdict about a version that was given by a moment."""
        body = await self._connection.fetchval(
            """SELECT body FROM verdicts WHERE model = $1 AND version = $2 AND state = 'approved' AND decided_at <= $3
               ORDER BY sequence DESC LIMIT 1""",
            model,
            version,
            moment,
        )
        return None if body is None else _read(_VERDICT, body)

    async def mark(self) -> Mark:
        """Where the verdicts end now."""
        given_in = await self._connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        return Mark(int(given_in) - 1, 2**62)

    async def given_since(self, mark: Mark, *, limit: int) -> tuple[Mark, list[Verdict]]:
        """Verdicts after a mark in commit order, and the mark after them.

        Those of a transaction wait for every older one to end, so that none is ever overtaken and missed.
        """
        rows = await self._connection.fetch(
            """SELECT given_in::text::bigint AS given_in, sequence, body FROM verdicts
               WHERE (given_in, sequence) > ($1::text::xid8, $2) AND given_in < pg_snapshot_xmin(pg_current_snapshot())
               ORDER BY given_in, sequence LIMIT $3""",
            str(mark.given_in),
            mark.sequence,
            limit,
        )
        after = Mark(rows[-1]["given_in"], rows[-1]["sequence"]) if rows else mark
        return after, [_read(_VERDICT, row["body"]) for row in rows]


def _write(adapter: TypeAdapter[T], value: T) -> str:
    return json.dumps(adapter.dump_python(value, mode="json"), ensure_ascii=False)  # keeps NaN, as jsonb wouldn't


def _read(adapter: TypeAdapter[T], text: str) -> T:
    return adapter.validate_python(json.loads(text))
