"""The monitor's tables: with `*_store` the only SQL.

Whoever changes a deployment's watches holds its lock first (`Watches.lock`), so that records of one deployment from
several partitions, on several replicas, are judged one batch after another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from services.chassis.database import Connection, Row, UnitOfWork
from services.chassis.errors import NotFound
from services.monitor.estimate_store import Estimates
from services.monitor.join_store import Join
from services.monitor.logged_store import Logged
from services.monitor.pair_store import Pairs
from services.monitor.pane_store import Panes
from services.monitor.performance_store import Days
from services.monitor.proof_store import Proofs
from services.monitor.sample_store import KEPT_OUTCOMES, Outcomes, Records
from services.monitor.signal_store import Signals
from services.monitor.uncounted_store import Uncounted


@dataclass(frozen=True, slots=True)
class Watch:
    """A version's time in a role, as it stands."""

    id: int
    model: str
    environment: str
    role: str
    version: int
    epoch: int
    state: bytes | None
    rows_seen: int
    rows_dropped: int
    newest_record_at: datetime | None
    ended_at: datetime | None


class Watches:
    """Who serves in which role."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self, model: str, environment: str) -> None:
        """Hold a deployment's watches until the transaction ends."""
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{model}/{environment}"
        )

    async def present(self, model: str, environment: str, role: str) -> Watch | None:
        """Who has a role now."""
        row = await self._connection.fetchrow(
            "SELECT * FROM watches WHERE model = $1 AND environment = $2 AND role = $3 AND ended_at IS NULL",
            model,
            environment,
            role,
        )
        return _watch(row) if row else None

    async def get(self, watch: int) -> Watch:
        """A watch, present or past."""
        row = await self._connection.fetchrow("SELECT * FROM watches WHERE id = $1", watch)
        if row is None:
            raise NotFound(f"there is no watch {watch}")
        return _watch(row)

    async def newest_of(self, model: str, environment: str, version: int) -> Watch | None:
        """A version's newest watch in any role."""
        row = await self._connection.fetchrow(
            """SELECT * FROM watches WHERE model = $1 AND environment = $2 AND version = $3
               ORDER BY (ended_at IS NULL) DESC, id DESC LIMIT 1""",
            model,
            environment,
            version,
        )
        return _watch(row) if row else None

    async def last_past_epoch(self, model: str, environment: str, role: str) -> int:
        """The newest epoch in which somebody took a role that they have left since; 0 where nobody did."""
        newest: int | None = await self._connection.fetchval(
            """SELECT max(epoch) FROM watches
               WHERE model = $1 AND environment = $2 AND role = $3 AND ended_at IS NOT NULL""",
            model,
            environment,
            role,
        )
        return newest or 0

    async def begin(self, model: str, environment: str, role: str, version: int, epoch: int, at: datetime) -> Watch:
        """A version takes a role."""
        row = await self._connection.fetchrow(
            """INSERT INTO watches (model, environment, role, version, epoch, began_at)
               VALUES ($1, $2, $3, $4, $5, $6) RETURNING *""",
            model,
            environment,
            role,
            version,
            epoch,
            at,
        )
        return _watch(_there(row))

    async def end(self, watch: int, at: datetime) -> None:
        """A version leaves its role."""
        await self._connection.execute("UPDATE watches SET ended_at = $2 WHERE id = $1", watch, at)

    async def forget_roles(self, at: datetime) -> None:
        """Nobody has a role, and no epoch was seen; what was found out about versions stays."""
        await self._connection.execute("UPDATE watches SET epoch = 0, ended_at = coalesce(ended_at, $1)", at)

    async def date_back(self, watch: int, epoch: int) -> None:
        """A version took its role earlier than its records told."""
        await self._connection.execute("UPDATE watches SET epoch = $2 WHERE id = $1", watch, epoch)

    async def restarts_on(self, model: str, environment: str, day: date) -> int:
        """How many stretches of evidence a deployment has begun on a day."""
        begun: int | None = await self._connection.fetchval(
            "SELECT max(restarts) + 1 FROM watches WHERE model = $1 AND environment = $2 AND day = $3",
            model,
            environment,
            day,
        )
        return begun or 0

    async def count(self, watch: int, *, rows: int, dropped: int, newest: datetime | None) -> int:
        """Count records in; how many the watch has seen in all."""
        seen: int = await self._connection.fetchval(
            """UPDATE watches SET rows_seen = rows_seen + $2, rows_dropped = rows_dropped + $3,
                                  newest_record_at = greatest(newest_record_at, $4)
               WHERE id = $1 RETURNING rows_seen""",
            watch,
            rows,
            dropped,
            newest,
        )
        return seen

    async def save_state(self, watch: int, state: bytes, day: date, restarts: int) -> None:
        """Keep what the judge remembers."""
        await self._connection.execute(
            "UPDATE watches SET state = $2, day = $3, restarts = $4 WHERE id = $1", watch, state, day, restarts
        )


class References:
    """What the registry said about versions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, model: str, version: int) -> tuple[bytes | None, dict[str, Any]] | None:
        """A version's profile and drift settings; None where the registry wasn't asked yet."""
        row = await self._connection.fetchrow(
            "SELECT profile, settings FROM version_references WHERE model = $1 AND version = $2", model, version
        )
        return (row["profile"], json.loads(row["settings"])) if row else None

    async def keep(self, model: str, version: int, profile: bytes | None, settings: dict[str, Any]) -> None:
        """Keep what it said; it never changes."""
        await self._connection.execute(
            "INSERT INTO version_references VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            model,
            version,
            profile,
            json.dumps(settings),
        )


class MonitorUnitOfWork(UnitOfWork):
    """The monitor's transaction.

    Args:
        connection: The connection that the transaction is open on.
        kept_outcomes: How many of a model's newest outcomes are kept.
        more: What every unit of work takes.
    """

    def __init__(self, connection: Connection, *, kept_outcomes: int = KEPT_OUTCOMES, **more: Any) -> None:
        super().__init__(connection, **more)
        self._kept_outcomes = kept_outcomes

    @cached_property
    def watches(self) -> Watches:
        """Who serves in which role."""
        return Watches(self.connection)

    @cached_property
    def records(self) -> Records:
        """The stream's place, and the newest records."""
        return Records(self.connection)

    @cached_property
    def panes(self) -> Panes:
        """What each watch saw, by event time."""
        return Panes(self.connection)

    @cached_property
    def outcomes(self) -> Outcomes:
        """What turned out to be true."""
        return Outcomes(self.connection)

    @cached_property
    def join(self) -> Join:
        """Records that wait for their outcomes, and what was counted of them."""
        return Join(self.connection)

    @cached_property
    def uncounted(self) -> Uncounted:
        """Watches whose records are due and couldn't be counted."""
        return Uncounted(self.connection)

    @cached_property
    def days(self) -> Days:
        """What the records of each day add up to."""
        return Days(self.connection)

    @cached_property
    def estimates(self) -> Estimates:
        """What was expected of each day's records."""
        return Estimates(self.connection)

    @cached_property
    def signals(self) -> Signals:
        """Findings."""
        return Signals(self.connection)

    @cached_property
    def pairs(self) -> Pairs:
        """Mirrored candidates, and the answers that wait for their other side."""
        return Pairs(self.connection)

    @cached_property
    def proofs(self) -> Proofs:
        """What served features are, held against the feature store's history."""
        return Proofs(self.connection)

    @cached_property
    def logged(self) -> Logged:
        """Logged requests and answers that wait for their other side."""
        return Logged(self.connection)

    @cached_property
    def references(self) -> References:
        """What the registry said about versions."""
        return References(self.connection)

    async def write_events(self) -> None:
        """Write the outcomes of the whole transaction at once, then what was emitted."""
        await self.outcomes.save(self._kept_outcomes)
        await super().write_events()


def _watch(row: Row) -> Watch:
    return Watch(**{name: row[name] for name in Watch.__slots__})


def _there(row: Row | None) -> Row:
    if row is None:
        raise NotFound("the row that was just written isn't there")
    return row
