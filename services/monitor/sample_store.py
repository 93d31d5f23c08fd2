"""The tables of records and outcomes: the stream's place, and a bounded sample of what went by."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.chassis import instruments
from services.chassis.database import Connection, Row
from services.monitor import record_ids
from services.monitor.join_store import is_kept

REPEATS: Final = timedelta(days=1)  # how long a server may take to send a batch again
KEPT_OUTCOMES: Final = 500_000  # of a model: those of the records that wait, of several versions, with room
_PRUNE_EVERY: Final = 5_000  # outcomes of one commit; pruning less often costs space, more often time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What turned out to be true for a record: a value or a label."""

    model: str
    record_id: uuid.UUID
    value: float | None
    label: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a batch: two parts of it as bytes, so that whoever needs no inputs reads none."""

    predictions: bytes
    inputs: bytes


class Sampled(NamedTuple):
    """A batch that begins to be kept: how many records its watch had seen with it, and when its oldest was made."""

    kept: Kept
    upto: int
    oldest_at: datetime


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
            "SELECT partition, next FROM stream_offsets WHERE topic = $1 AND partition = ANY($2)",
            topic,
            list(partitions),
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

    async def keep(self, watch: int, newer: Sequence[Sampled], *, at: datetime, older_than: int) -> None:
        """Keep batches; let go of what is that old."""
        await self._connection.executemany(
            """INSERT INTO sampled_batches (watch, arrived_at, upto, oldest_at, predictions, inputs)
               VALUES ($1, $2, $3, $4, $5, $6)""",
            [(watch, at, upto, oldest_at, kept.predictions, kept.inputs) for kept, upto, oldest_at in newer],
        )
        await self._connection.execute("DELETE FROM sampled_batches WHERE watch = $1 AND upto <= $2", watch, older_than)

    async def predictions(self, watch: int) -> list[bytes]:
        """The kept predictions of a watch, oldest first."""
        rows = await self._connection.fetch(
            "SELECT predictions FROM sampled_batches WHERE watch = $1 ORDER BY upto", watch
        )
        return [row["predictions"] for row in rows]

    async def between(self, watch: int, since: datetime, until: datetime | None) -> list[Kept]:
        """The kept batches that arrived in a stretch of time, oldest first."""
        rows = await self._connection.fetch(
            """SELECT predictions, inputs FROM sampled_batches WHERE watch = $1 AND arrived_at >= $2
               AND ($3::timestamptz IS NULL OR arrived_at < $3) ORDER BY upto""",
            watch,
            since,
            until,
        )
        return [Kept(row["predictions"], row["inputs"]) for row in rows]


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
        if not self._new:
            return
        halvings, expired_before_ms = await self._clocks(), await self._expired_before_ms()
        added = [each for each in self._new.values() if is_kept(each.record_id.bytes, halvings.get(each.model, 0))]
        instruments.MONITOR_OUTCOMES.labels("left_out").inc(len(self._new) - len(added))
        self._new.clear()
        new = sorted(added, key=lambda outcome: (outcome.model, outcome.record_id))
        if not new:
            return
        rows = await self._connection.fetch(
            """INSERT INTO outcomes (model, record_id, value, label, occurred_at, counted)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::float8[], $4::text[], $5::timestamptz[], $6::bool[])
               ON CONFLICT (model, record_id) DO UPDATE
               SET value = excluded.value, label = excluded.label, occurred_at = excluded.occurred_at
               WHERE (outcomes.value, outcomes.label) IS DISTINCT FROM (excluded.value, excluded.label)
               RETURNING model, ordinal, counted, xmax = 0 AS fresh""",
            [outcome.model for outcome in new],
            [outcome.record_id for outcome in new],
            [outcome.value for outcome in new],
            [outcome.label for outcome in new],
            [outcome.occurred_at for outcome in new],
            [_is_older(outcome.record_id, expired_before_ms.get(outcome.model, 0.0)) for outcome in new],
        )
        _count(rows, len(new))
        for model in {row["model"] for row in rows if row["ordinal"] % _PRUNE_EVERY == 0}:
            await self._prune(model, kept)

    async def of(self, model: str, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[float | None, str | None]]:
        """The value or label of those records that have one."""
        rows = await self._connection.fetch(
            "SELECT record_id, value, label FROM outcomes WHERE model = $1 AND record_id = ANY($2)", model, list(ids)
        )
        return {uuid.UUID(int=row["record_id"].int): (row["value"], row["label"]) for row in rows}

    async def _prune(self, model: str, kept: int) -> None:
        rows = await self._connection.fetch(
            """DELETE FROM outcomes WHERE model = $1 AND ordinal <=
               (SELECT ordinal FROM outcomes WHERE model = $1 ORDER BY ordinal DESC OFFSET $2 LIMIT 1)
               RETURNING counted""",
            model,
            kept,
        )
        instruments.MONITOR_OUTCOMES.labels("unmatched").inc(sum(not row["counted"] for row in rows))

    async def _clocks(self) -> dict[str, int]:
        """Note how far the outcomes of each model have come; how often its kept share was halved."""
        newest: dict[str, datetime] = {}
        for outcome in self._new.values():
            newest[outcome.model] = max(outcome.occurred_at, newest.get(outcome.model, outcome.occurred_at))
        rows = await self._connection.fetch(
            """INSERT INTO joins (model, newest_outcome_at)
               SELECT * FROM unnest($1::text[], $2::timestamptz[]) ORDER BY 1
               ON CONFLICT (model) DO UPDATE
               SET newest_outcome_at = greatest(joins.newest_outcome_at, excluded.newest_outcome_at)
               RETURNING model, halvings""",
            list(newest),
            list(newest.values()),
        )
        return {row["model"]: row["halvings"] for row in rows}

    async def _expired_before_ms(self) -> dict[str, float]:
        """By model a day before its oldest record that is kept, of those who serve and those who wait."""
        rows = await self._connection.fetch(
            """SELECT w.model, min(least(
                   (SELECT min(oldest_at) FROM open_batches WHERE watch = w.id),
                   (SELECT min(oldest_at) FROM sampled_batches WHERE watch = w.id))) AS oldest
               FROM watches w LEFT JOIN promises p ON p.watch = w.id
               WHERE w.model = ANY($1) AND (w.ended_at IS NULL OR p.open_rows > 0) GROUP BY w.model""",
            list({outcome.model for outcome in self._new.values()}),
        )
        return {row["model"]: (row["oldest"] - REPEATS).timestamp() * 1e3 for row in rows if row["oldest"]}


def _is_older(record: uuid.UUID, oldest_ms: float) -> bool:
    """Whether a record is older than all that are kept; where its id doesn't say, it isn't."""
    made_ms = record_ids.made_ms(record)
    return made_ms is not None and made_ms < oldest_ms


def _count(rows: Sequence[Row], told: int) -> None:
    """Count what became of outcomes; a row is one that was new, or said otherwise than before."""
    expired = sum(row["fresh"] and row["counted"] for row in rows)
    kept = sum(row["fresh"] for row in rows) - expired
    late = sum(row["counted"] for row in rows) - expired
    for result, found in {
        "kept": kept,
        "expired": expired,
        "corrected": len(rows) - kept - expired - late,
        "too_late": late,
        "repeated": told - len(rows),
    }.items():
        instruments.MONITOR_OUTCOMES.labels(result).inc(found)
