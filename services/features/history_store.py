"""The history of feature values: a table per view, in which a row is added and never changed.

What was known of an entity at a moment is the row with the newest event time up to it; of two of the same event time,
the one that was kept last, which is a correction. Feast reads the same tables for training sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.features.shapes import Row, Shape

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]


async def prepare(connection: Connection, shape: Shape) -> None:
    """Make a view's table, or the columns that it lacks."""
    table = _name(shape.table)
    keys = [f"{_name(name)} {kind.value} NOT NULL" for name, kind in shape.keys.items()]
    moments = [f"{_name(name)} timestamptz NOT NULL" for name in (shape.event_time, shape.kept_at)]
    await connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join([*keys, *moments])})")
    for name, kind in shape.values.items():
        await connection.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {_name(name)} {kind.value}")
    by = ", ".join(map(_name, [*shape.keys, shape.event_time]))
    await connection.execute(f"CREATE INDEX IF NOT EXISTS {_name(shape.table + '_by_moment')} ON {table} ({by})")


async def add(connection: Connection, shape: Shape, rows: Sequence[Row], kept_at: datetime) -> None:
    """Add rows."""
    columns = [*shape.keys, *shape.values, shape.event_time, shape.kept_at]
    places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    await connection.executemany(
        f"INSERT INTO {_name(shape.table)} ({', '.join(map(_name, columns))}) VALUES ({places})",  # noqa: S608 - quoted names
        [_values(shape, row, kept_at) for row in rows],
    )


def _values(shape: Shape, row: Row, kept_at: datetime) -> list[Any]:
    keys, values = [row.keys[name] for name in shape.keys], [row.values.get(name) for name in shape.values]
    return [*keys, *values, row.event_time, kept_at]


def _name(text: str) -> str:
    """An identifier, quoted."""
    return '"' + text.replace('"', '""') + '"'
