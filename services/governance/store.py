"""Governance's unit of work, its policies, and what served when.

The rest of the SQL: versions' cases and verdicts in `case_store`, the log in `log_store`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final

from services.chassis.database import Connection, Row, UnitOfWork
from services.governance.case_store import LOOK_AGAIN, Cases
from services.governance.domain import policies
from services.governance.domain.policies import Policy
from services.governance.domain.served import Moment
from services.governance.log_store import Log

_MOMENTS_BACK: Final = 1_000  # a share older than so many changes of its deployment is told from the oldest of them


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


class Policies:
    """The policies that stand."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._standing: tuple[int, list[Policy]] | None = None

    async def standing(self) -> tuple[int, list[Policy]]:
        """The revision of all policies, and each that stands; read once in a transaction."""
        if self._standing is None:
            self._standing = await self._read()
        return self._standing

    async def _read(self) -> tuple[int, list[Policy]]:
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
        self._standing = None
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
                                    effective_at, verdict_version, verdict, topic, partition, "offset",
                                    holdback_version, holdback_weight)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING""",
            *_values(moment),
        )

    async def forget(self) -> None:
        """Forget them all."""
        await self._connection.execute("DELETE FROM moments")

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


def _values(moment: Moment) -> Sequence[Any]:
    return [getattr(moment, name) for name in moment.__slots__]


def _moment(row: Row) -> Moment:
    named: Mapping[str, Any] = dict(row)
    return Moment(**named)
