"""A feature store's history, asked what was known at moments: what a proof of consistency stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from feast import FeatureStore

from services.chassis.errors import Unavailable
from services.features import history_store
from services.features.history_store import Asked
from services.features.shapes import Kind, Scalar, Shape
from services.features.writer import shape_of

_PATIENCE_S = 30.0


class History:
    """The histories of a feature store's views.

    Args:
        settings: The store's feature_store.yaml, whose offline store is a PostgreSQL.

    Raises:
        Unavailable: the store can't be opened.
        Invalid: a view keeps its history elsewhere.
    """

    def __init__(self, settings: Path) -> None:
        try:
            store = FeatureStore(fs_yaml_file=settings)
            entities = {entity.name: entity for entity in store.list_entities()}
            views = store.list_feature_views()
        except Exception as error:  # whatever a store's own client raises
            raise Unavailable(f"the feature store can't be opened: {type(error).__name__}: {error!s:.300}") from error
        self._shapes = {view.name: shape_of(view, entities) for view in views}
        self._told: Any = store.config.offline_store

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """By view, how its rows look."""
        return self._shapes

    async def known(
        self, view: str, asked: Sequence[Asked]
    ) -> list[tuple[list[tuple[datetime, Mapping[str, Scalar]]], datetime | None]]:
        """For each record: the rows of the event time that it was served with, and the newest that was known before.

        Raises:
            Unavailable: the database doesn't answer.
        """
        told = self._told
        try:
            connection = await asyncpg.connect(
                host=told.host,
                port=told.port,
                database=told.database,
                user=told.user,
                password=told.password,
                ssl=told.sslmode or "prefer",
                timeout=_PATIENCE_S,
                command_timeout=_PATIENCE_S,
                server_settings={"search_path": told.db_schema or "public"},
            )
            try:
                return await history_store.known(connection, self.shapes[view], asked)
            finally:
                await connection.close()
        except (asyncpg.PostgresError, OSError) as error:
            raise Unavailable(f"the features' history doesn't answer: {type(error).__name__}: {error!s:.200}") from None

    def key(self, view: str, name: str, text: str | float) -> Scalar:
        """A key as the history has it; records keep whole numbers as doubles."""
        return str(text) if self.shapes[view].keys[name] is Kind.TEXT else int(text)
