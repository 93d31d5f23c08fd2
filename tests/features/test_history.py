"""The history's tables: made, completed, and left alone while somebody reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeAlias

import asyncpg
import pytest

from services.features import history_store
from services.features.shapes import Kind, Shape
from tests.conftest import Database

SHAPE = Shape("windows", "windows_history", {"customer": Kind.TEXT}, {"count": Kind.NUMBER}, "event_time", "kept_at")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    made = await asyncpg.connect(database.dsn)
    yield made
    await made.close()


@pytest.fixture
async def reading(database: Database) -> AsyncIterator[Connection]:
    """Who reads what a training set is made of."""
    made = await asyncpg.connect(database.dsn)
    yield made
    await made.close()


async def test_a_table_that_is_being_read_is_prepared_without_waiting(
    connection: Connection, reading: Connection
) -> None:
    await history_store.prepare(connection, SHAPE)
    await connection.execute("SET lock_timeout = '500ms'")
    async with reading.transaction():
        await reading.execute("LOCK TABLE windows_history IN ROW EXCLUSIVE MODE")  # a replica writes, others read
        await history_store.prepare(connection, SHAPE)


async def test_a_new_feature_gets_its_column(connection: Connection) -> None:
    await history_store.prepare(connection, SHAPE)
    await history_store.prepare(connection, replace(SHAPE, values={**SHAPE.values, "name": Kind.TEXT}))
    columns = await connection.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'windows_history'"
    )
    assert {row["column_name"]: row["data_type"] for row in columns} == {
        "customer": "text",
        "count": "double precision",
        "name": "text",
        "event_time": "timestamp with time zone",
        "kept_at": "timestamp with time zone",
    }
    assert await connection.fetchval("SELECT to_regclass('windows_history_by_moment') IS NOT NULL")
