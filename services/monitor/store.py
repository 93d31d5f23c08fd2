"""The monitor's tables: the only SQL.

Whoever changes a deployment's watches holds its lock first (`Watches.lock`), so that records of one deployment from
several partitions, on several replicas, are judged one batch after another.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from goldenpath.monitor.v1 import events_pb2 as pb
from services.chassis.database import Connection, Row, UnitOfWork
from services.chassis.errors import NotFound

SIGNALS: Final = "signals"  # the channel that wakes watchers
REPEATS: Final = timedelta(days=1)  # how long a server may take to send a batch again
_PRUNE_EVERY: Final = 500  # outcomes of one commit and more; pruning less often costs space, more often time


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What turned out to be true for a record: a value or a label."""

    model: str
    record_id: uuid.UUID
    value: float | None
    label: str | None
    occurred_at: datetime


class Watches:
    """Who serves in which role."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self, model: str, environment: str) -> None:
        """Hold a deployment's watches until the transaction ends."""
        await self._connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{model}/{environment}")

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


class Records:
    """The stream's place, and the newest records of each watch."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def next_offsets(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Where each partition goes on; 0 for one that was never read."""
        await self._connection.execute(
            "INSERT INTO stream_offsets SELECT $1, unnest($2::int[]), 0 ON CONFLICT DO NOTHING", topic, list(partitions)
        )
        rows = await self._connection.fetch(
            "SELECT partition, next FROM stream_offsets WHERE topic = $1 AND partition = ANY($2)", topic, list(partitions)
        )
        return {row["partition"]: row["next"] for row in rows}

    async def move(self, topic: str, partition: int, *, old: int, new: int) -> bool:
        """Move a partition on, if nobody else has: the fence."""
        moved = await self._connection.fetchval(
            "UPDATE stream_offsets SET next = $4 WHERE topic = $1 AND partition = $2 AND next = $3 RETURNING true",
            topic,
            partition,
            old,
            new,
        )
        return bool(moved)

    async def admit(self, batches: Sequence[tuple[str, int]], at: datetime) -> set[tuple[str, int]]:
        """Those of these batches, by server and number, that weren't had yet; from now on they were."""
        rows = await self._connection.fetch(
            """INSERT INTO batches_seen SELECT DISTINCT server, batch, $3::timestamptz
               FROM unnest($1::text[], $2::bigint[]) AS t(server, batch) ORDER BY 1, 2
               ON CONFLICT DO NOTHING RETURNING server, batch""",
            [server for server, _ in batches],
            [batch for _, batch in batches],
            at,
        )
        await self._connection.execute("DELETE FROM batches_seen WHERE seen_at < $1", at - REPEATS)
        return {(row["server"], row["batch"]) for row in rows}

    async def keep(self, watch: int, body: bytes, *, rows: int, upto: int, at: datetime, kept: int) -> None:
        """Keep a batch, and let go what is older than the newest `kept` records."""
        await self._connection.execute(
            "INSERT INTO sampled_batches (watch, arrived_at, rows, upto, body) VALUES ($1, $2, $3, $4, $5)",
            watch,
            at,
            rows,
            upto,
            body,
        )
        await self._connection.execute(
            "DELETE FROM sampled_batches WHERE watch = $1 AND upto <= $2", watch, upto - kept
        )

    async def between(self, watch: int, since: datetime, until: datetime | None) -> list[bytes]:
        """The kept batches that arrived in a stretch of time, oldest first."""
        rows = await self._connection.fetch(
            """SELECT body FROM sampled_batches WHERE watch = $1 AND arrived_at >= $2
               AND ($3::timestamptz IS NULL OR arrived_at < $3) ORDER BY upto""",
            watch,
            since,
            until,
        )
        return [row["body"] for row in rows]


class Outcomes:
    """What turned out to be true. Those of one transaction are written together, at its end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._new: dict[tuple[str, uuid.UUID], Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; a later one about the same record replaces it."""
        self._new[outcome.model, outcome.record_id] = outcome

    async def save(self, kept: int) -> None:
        """Write what was added, and let go what is older than each model's newest `kept`."""
        new = sorted(self._new.values(), key=lambda outcome: (outcome.model, outcome.record_id))
        if not new:
            return
        rows = await self._connection.fetch(
            """INSERT INTO outcomes (model, record_id, value, label, occurred_at)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::float8[], $4::text[], $5::timestamptz[])
               ON CONFLICT (model, record_id) DO UPDATE
               SET value = excluded.value, label = excluded.label, occurred_at = excluded.occurred_at
               RETURNING model, ordinal""",
            [outcome.model for outcome in new],
            [outcome.record_id for outcome in new],
            [outcome.value for outcome in new],
            [outcome.label for outcome in new],
            [outcome.occurred_at for outcome in new],
        )
        for model in {row["model"] for row in rows if row["ordinal"] % _PRUNE_EVERY == 0}:
            await self._prune(model, kept)

    async def of(self, model: str, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[float | None, str | None]]:
        """The value or label of those records that have one."""
        rows = await self._connection.fetch(
            "SELECT record_id, value, label FROM outcomes WHERE model = $1 AND record_id = ANY($2)", model, list(ids)
        )
        return {uuid.UUID(int=row["record_id"].int): (row["value"], row["label"]) for row in rows}

    async def _prune(self, model: str, kept: int) -> None:
        await self._connection.execute(
            """DELETE FROM outcomes WHERE model = $1 AND ordinal <=
               (SELECT ordinal FROM outcomes WHERE model = $1 ORDER BY ordinal DESC OFFSET $2 LIMIT 1)""",
            model,
            kept,
        )


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
    """The monitor's transaction."""

    kept_outcomes: int = 50_000

    @cached_property
    def watches(self) -> Watches:
        """Who serves in which role."""
        return Watches(self.connection)

    @cached_property
    def records(self) -> Records:
        """The stream's place, and the newest records."""
        return Records(self.connection)

    @cached_property
    def outcomes(self) -> Outcomes:
        """What turned out to be true."""
        return Outcomes(self.connection)

    @cached_property
    def signals(self) -> Signals:
        """Findings."""
        return Signals(self.connection)

    @cached_property
    def references(self) -> References:
        """What the registry said about versions."""
        return References(self.connection)

    async def write_events(self) -> None:
        """Write the outcomes of the whole transaction at once, then what was emitted."""
        await self.outcomes.save(self.kept_outcomes)
        await super().write_events()


def ids_of(packed: bytes) -> list[uuid.UUID]:
    """Record ids of a batch: 16 bytes each."""
    return [uuid.UUID(bytes=packed[at : at + 16]) for at in range(0, len(packed), 16)]


def all_ids(batches: Iterable[bytes]) -> list[uuid.UUID]:
    """Record ids of many batches."""
    return [one for packed in batches for one in ids_of(packed)]


def _watch(row: Row) -> Watch:
    return Watch(**{name: row[name] for name in Watch.__slots__})


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


def _there(row: Row | None) -> Row:
    if row is None:
        raise NotFound("the row that was just written isn't there")
    return row
