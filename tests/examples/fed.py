"""A feature store of the card model, filled as the pusher fills it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import pandas as pd
from feast import FeatureStore

from examples.fraud import store as fraud
from services.features import history_store
from services.features.definitions import views_of
from services.features.reader import Reader, Wanted
from services.features.shapes import Row
from services.features.writer import Writer

REPO: Final = Path(fraud.__file__).parent / "feature_repo"


class Fed:
    """A feature store, and rows put into it as the pusher puts them."""

    def __init__(self, dsn: str, settings: Path) -> None:
        self._dsn = dsn
        self.writer = Writer(settings, REPO)
        self.feast = FeatureStore(fs_yaml_file=settings)
        views = views_of(REPO, fraud.SERVICE)
        wanted = [Wanted(view.name, view.digest, view.inputs, view.keys, view.ttl) for view in views]
        self.reader = Reader(settings, wanted)
        self.inputs = [name for view in views for name in view.inputs]

    async def put(self, view: str, rows: pd.DataFrame, kept_at: datetime) -> None:
        shape, key = self.writer.shapes[view], fraud.VIEWS[view]
        made = [
            Row({key: row.pop(key)}, row, moment) for row, moment in zip(_plain(rows), rows["event_time"], strict=True)
        ]
        connection = await asyncpg.connect(self._dsn)
        await history_store.prepare(connection, shape)
        await history_store.add(connection, shape, made, kept_at)
        await connection.close()
        await asyncio.to_thread(self.writer.write, view, made)

    async def close(self) -> None:
        await self.writer.close()
        await self.reader.close()

    async def fill(self, transactions: pd.DataFrame) -> None:
        for view in fraud.VIEWS:
            await self.put(view, fraud.rows_of(view, transactions), datetime(2020, 1, 1, tzinfo=UTC))


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): value for name, value in row.items()} for row in rows.drop(columns="event_time").to_dict("records")
    ]
