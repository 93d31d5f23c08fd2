"""The history of feature values: a table per view, in which a row is added and never changed.

What was known of an entity at a moment is the row with the newest event time up to it; of two of the same event time,
the one that was kept last, which is a correction. Feast reads the same tables for training sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from services.features.shapes import Row, Scalar, Shape

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]


async def prepare(connection: Connection, shape: Shape) -> None:
    """Make a view's table, or what it lacks; a whole one isn't locked, since somebody may be reading it for minutes."""
    table, index = _name(shape.table), _name(f"{shape.table}_by_moment")
    keys = [f"{_name(name)} {kind.value} NOT NULL" for name, kind in shape.keys.items()]
    moments = [f"{_name(name)} timestamptz NOT NULL" for name in (shape.event_time, shape.kept_at)]
    known = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND NOT attisdropped", table
    )
    if not known:
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join([*keys, *moments])})")
    for name in sorted(shape.values.keys() - {row["attname"] for row in known}):
        kind = shape.values[name]
        await connection.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {_name(name)} {kind.value}")
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", index):
        by = ", ".join(map(_name, [*shape.keys, shape.event_time]))
        await connection.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {table} ({by})")


async def add(connection: Connection, shape: Shape, rows: Sequence[Row], kept_at: datetime) -> None:
    """Add rows; of the same entity and event time each is kept after the one before, so that there is a last one."""
    columns = [*shape.keys, *shape.values, shape.event_time, shape.kept_at]
    *places, kept = (f"${place}" for place in range(1, len(columns) + 1))
    same = " AND ".join(f"{_name(name)} = {places[columns.index(name)]}" for name in (*shape.keys, shape.event_time))
    before = f"SELECT max({_name(shape.kept_at)}) FROM {_name(shape.table)} WHERE {same}"  # noqa: S608 - quoted names
    after = f"greatest({kept}, ({before}) + interval '1 microsecond')"
    await connection.executemany(
        f"INSERT INTO {_name(shape.table)} ({', '.join(map(_name, columns))}) VALUES ({', '.join([*places, after])})",  # noqa: S608 - quoted names
        [_values(shape, row, kept_at) for row in rows],
    )


class Asked(NamedTuple):
    """What is asked for a record.

    Args:
        keys: The entity, by join key.
        event_time: When the values that it was served with came true; None where there were none.
        moment: When it was served.
        settled: Until when a row must have been kept to be known for sure.
    """

    keys: Mapping[str, Scalar]
    event_time: datetime | None
    moment: datetime
    settled: datetime


async def known(
    connection: Connection, shape: Shape, asked: Sequence[Asked]
) -> list[tuple[list[tuple[datetime, Mapping[str, Scalar]]], datetime | None]]:
    """For each record: the rows of its event time with when they were kept, and the newest that was known before."""
    same: list[list[tuple[datetime, Mapping[str, Scalar]]]] = [[] for _ in asked]
    for row in await connection.fetch(_same_rows(shape), *_columns(shape, asked)):
        same[row["place"] - 1].append((row[shape.kept_at], {name: row[name] for name in shape.values}))
    newest = {row["place"]: row["newest"] for row in await connection.fetch(_newest(shape), *_columns(shape, asked))}
    return [(rows, newest[place]) for place, rows in enumerate(same, 1)]


def _columns(shape: Shape, asked: Sequence[Asked]) -> list[list[Any]]:
    keys = [[one.keys[name] for one in asked] for name in shape.keys]
    return [*keys, *([getattr(one, name) for one in asked] for name in ("event_time", "moment", "settled"))]


def _same_rows(shape: Shape) -> str:
    values = ", ".join(f"h.{_name(name)}" for name in (*shape.values, shape.kept_at))
    return f"SELECT place, {values} FROM {_asked(shape)} AND h.{_name(shape.event_time)} = asked.event_time"  # noqa: S608 - quoted names


def _newest(shape: Shape) -> str:
    moment = f"h.{_name(shape.event_time)}"
    return (
        f"SELECT place, max({moment}) AS newest FROM {_asked(shape, 'LEFT JOIN')} AND {moment} <= asked.moment"  # noqa: S608 - quoted names
        f" AND h.{_name(shape.kept_at)} <= asked.settled GROUP BY place"
    )


def _asked(shape: Shape, join: str = "JOIN") -> str:
    """The records with the history's rows of their entities."""
    kinds = [*(kind.value for kind in shape.keys.values()), *["timestamptz"] * 3]
    names = [*(f"key_{place}" for place in range(len(shape.keys))), "event_time", "moment", "settled"]
    given = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(kinds, 1))
    same = " AND ".join(f"h.{_name(name)} = asked.key_{place}" for place, name in enumerate(shape.keys))
    asked = f"unnest({given}) WITH ORDINALITY AS asked({', '.join(names)}, place)"
    return f"{asked} {join} {_name(shape.table)} AS h ON {same}"


def _values(shape: Shape, row: Row, kept_at: datetime) -> list[Any]:
    keys, values = [row.keys[name] for name in shape.keys], [row.values.get(name) for name in shape.values]
    return [*keys, *values, row.event_time, kept_at]


def _name(text: str) -> str:
    """An identifier, quoted."""
    return '"' + text.replace('"', '""') + '"'
