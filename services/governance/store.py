"""Governance's tables, but the log's (`log_store`): the only SQL beside it.

Cases and verdicts are kept whole as JSON, as the domain has them; what is searched by stands in columns of its own.
Whoever changes a case holds its lock first (`Cases.lock`), so that facts are always asked later than those that
stand, and never written over newer ones.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from services.chassis.database import Connection, Row, UnitOfWork
from services.chassis.telemetry import current_traceparent
from services.governance.domain import policies
from services.governance.domain.facts import Facts
from services.governance.domain.policies import Policy
from services.governance.domain.served import Moment
from services.governance.domain.verdicts import Case, Verdict
from services.governance.log_store import Log

T = TypeVar("T")

LOOK_AGAIN: Final = "look_again"  # the channel that wakes the job
VERDICTS: Final = "verdicts"  # the channel that wakes watchers
_CASE: Final = TypeAdapter(Case)
_VERDICT: Final = TypeAdapter(Verdict)
_FACTS: Final = TypeAdapter(Facts)
_MOMENTS_BACK: Final = 1_000  # a share older than so many changes of its deployment is told from the oldest of them


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


class GovernanceUnitOfWork(UnitOfWork):
    """One transaction on governance's database."""

    @cached_property
    def cases(self) -> Cases:
        """What is known of versions, and the verdicts."""
        return Cases(self.connection)

    @cached_property
    def policies(self) -> Policies:
        """The policies."""
        return Policies(self.connection)

    @cached_property
    def moments(self) -> Moments:
        """What served when."""
        return Moments(self.connection)

    @cached_property
    def log(self) -> Log:
        """The append-only log."""
        return Log(self.connection)


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
            """INSERT INTO verdicts (id, model, version, state, decided_at, facts, body)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING""",
            uuid.UUID(verdict.id),
            verdict.model,
            verdict.version,
            verdict.state,
            verdict.decided_at,
            _write(_FACTS, case.facts),
            _write(_VERDICT, verdict),
        )
        await self._connection.execute(
            """INSERT INTO cases (model, version, state, requested_at, datasets, policies_revision, verdict, body)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
               ON CONFLICT (model, version) DO UPDATE SET
                   state = excluded.state, datasets = excluded.datasets, verdict = excluded.verdict,
                   policies_revision = excluded.policies_revision, body = excluded.body, look_again = NULL""",
            verdict.model,
            verdict.version,
            verdict.state,
            verdict.requested_at,
            [f"{dataset.name}@{dataset.version}" for dataset in case.facts.datasets],
            policies_revision,
            uuid.UUID(verdict.id),
            _write(_CASE, case),
        )
        await self._connection.execute("SELECT pg_notify($1, '')", VERDICTS)

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


class Policies:
    """The policies that stand."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def standing(self) -> tuple[int, list[Policy]]:
        """The revision of all policies, and each that stands."""
        rows = await self._connection.fetch(
            "SELECT DISTINCT ON (name) revision, name, source FROM policies ORDER BY name, revision DESC"
        )
        revision = max((row["revision"] for row in rows), default=0)
        return revision, [_compiled(row["source"], row["name"]) for row in rows]

    async def get(self, name: str) -> tuple[Policy, str] | None:
        """The policy of that name that stands, and who put it there."""
        row = await self._connection.fetchrow(
            "SELECT source, changed_by FROM policies WHERE name = $1 ORDER BY revision DESC LIMIT 1", name
        )
        return None if row is None else (_compiled(row["source"], name), row["changed_by"])

    async def lock(self) -> None:
        """Change policies one after the other, so that their revision is commit order."""
        await self._connection.execute("LOCK TABLE policies IN SHARE ROW EXCLUSIVE MODE")

    async def put(self, policy: Policy, *, by: str, at: datetime) -> None:
        """Let a policy stand from now on; every version is looked at again."""
        await self._connection.execute(
            "INSERT INTO policies (name, digest, source, changed_by, changed_at) VALUES ($1, $2, $3, $4, $5)",
            policy.name,
            policy.digest,
            policy.source,
            by,
            at,
        )
        await self._connection.execute("SELECT pg_notify($1, '')", LOOK_AGAIN)


class Moments:
    """What served when."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, moment: Moment) -> None:
        """Keep a moment; the same one again changes nothing."""
        await self._connection.execute(
            """INSERT INTO moments (model, environment, epoch, stable_version, candidate_version, candidate_weight,
                                    effective_at, verdict_version, verdict, topic, partition, "offset")
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING""",
            *_values(moment),
        )

    async def until(self, model: str, environment: str, at: datetime) -> list[Moment]:
        """A deployment's moments up to one, newest first."""
        rows = await self._connection.fetch(
            """SELECT * FROM moments WHERE model = $1 AND environment = $2 AND effective_at <= $3
               ORDER BY effective_at DESC, epoch DESC, "offset" DESC LIMIT $4""",
            model,
            environment,
            at,
            _MOMENTS_BACK,
        )
        return [_moment(row) for row in rows]

    async def verdict_named(self, model: str, environment: str, version: int, by: datetime) -> str:
        """The verdict that the deployer last named for a version by a moment; empty where it named none."""
        found = await self._connection.fetchval(
            """SELECT verdict FROM moments
               WHERE model = $1 AND environment = $2 AND verdict_version = $3 AND verdict <> '' AND effective_at <= $4
               ORDER BY effective_at DESC LIMIT 1""",
            model,
            environment,
            version,
            by,
        )
        return str(found or "")


@lru_cache(maxsize=256)
def _compiled(source: str, name: str) -> Policy:
    return policies.parse(source, place=f"policy {name}")


def _write(adapter: TypeAdapter[T], value: T) -> str:
    return json.dumps(adapter.dump_python(value, mode="json"), ensure_ascii=False)  # keeps NaN, as jsonb wouldn't


def _read(adapter: TypeAdapter[T], text: str) -> T:
    return adapter.validate_python(json.loads(text))


def _values(moment: Moment) -> Sequence[Any]:
    return [getattr(moment, name) for name in moment.__slots__]


def _moment(row: Row) -> Moment:
    named: Mapping[str, Any] = dict(row)
    return Moment(**named)
