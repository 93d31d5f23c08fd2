"""Feast's PostgreSQL online store, but a newer value stays where an older one comes late.

Named in feature_store.yaml by its class path:

    online_store:
        type: services.features.online_store.GuardedPostgreSQLOnlineStore
        host: …

Feast's own store overwrites whatever is there, so an event that was late, or comes again after newer ones, takes every
reader back in time. Here a row gives way only to one whose event time isn't older; of two of the same event time the
one that comes later stays, which is how a value is corrected. PostgreSQL decides, under the row's lock: however many
write at once, and in whatever order, the newest stays.

Feast's own store also loses a pooled connection with each error, and keeps one that broke. Here the pool gives broken
ones up, and nobody waits longer than `patience_ms` for a connection or an answer.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
    _table_id,
)
from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from psycopg import Connection, sql
from psycopg_pool import ConnectionPool
from pydantic import Field

Written = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""What is written of one entity: its key, its features, when they came true, when they were made."""

_WRITE: Final = sql.SQL("""
    INSERT INTO {} AS known (entity_key, feature_name, value, value_text, event_ts, created_ts)
    SELECT * FROM unnest(%s::bytea[], %s::text[], %s::bytea[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    ON CONFLICT (entity_key, feature_name) DO UPDATE
        SET value = excluded.value, value_text = excluded.value_text, event_ts = excluded.event_ts,
            created_ts = excluded.created_ts
        WHERE known.event_ts <= excluded.event_ts
""")


class GuardedPostgreSQLOnlineStoreConfig(PostgreSQLOnlineStoreConfig):
    """Where the store is: what Feast's own takes, and how long anybody waits for it."""

    type: Any = "services.features.online_store.GuardedPostgreSQLOnlineStore"
    patience_ms: Annotated[int, Field(gt=0)] = 2_000
    """The longest wait for a connection, and for an answer, in milliseconds. Readers have a deadline of their own; this
    is how soon a thread that nobody waits for any more is free again."""


class GuardedPostgreSQLOnlineStore(PostgreSQLOnlineStore):
    """The online store; see the module."""

    def __init__(self) -> None:
        self._opening = threading.Lock()

    @contextmanager
    def _get_conn(self, config: RepoConfig, autocommit: bool = False) -> Iterator[Connection]:  # noqa: FBT001, FBT002 - Feast's
        with self._pool(config).connection() as connection:
            connection.autocommit = autocommit
            yield connection

    def _pool(self, config: RepoConfig) -> ConnectionPool:
        with self._opening:
            if self._conn_pool is None:
                self._conn_pool = _pool_of(config.online_store)
            return self._conn_pool

    async def close(self) -> None:
        """Close the connections."""
        with self._opening:
            if self._conn_pool is not None:
                self._conn_pool.close()
                self._conn_pool = None

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Written],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write values where nothing newer is there, all of them or none."""
        columns = _columns(data, config.entity_key_serialization_version)
        name = _table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
        with self._get_conn(config) as connection:
            connection.execute(_WRITE.format(sql.Identifier(name)), columns)
        if progress:
            progress(len(data))


def _columns(data: list[Written], version: int) -> list[list[Any]]:
    """What is written, as columns: of each entity's feature the newest value, of two of the same time the last.

    Sorted by entity and feature: two writers of the same rows wait for each other, and never in a circle.
    """
    newest: dict[tuple[bytes, str], tuple[Value, datetime, datetime | None]] = {}
    for key, values, event_time, made in data:
        entity = serialize_entity_key(key, entity_key_serialization_version=version)
        for name, value in values.items():
            known = newest.get((entity, name))
            if known is None or known[1] <= _aware(event_time):
                newest[entity, name] = (value, _aware(event_time), _aware(made) if made else None)
    rows = sorted(newest.items(), key=lambda row: row[0])
    return [
        [entity for (entity, _), _ in rows],
        [name for (_, name), _ in rows],
        [value.SerializeToString() for _, (value, _, _) in rows],
        [extract_text_and_num(value, compute_num=False)[0] for _, (value, _, _) in rows],
        [event_time for _, (_, event_time, _) in rows],
        [made for _, (_, _, made) in rows],
    ]


def _aware(moment: datetime) -> datetime:
    """The moment with its zone; Feast means UTC where none is said, and PostgreSQL would take the session's."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _pool_of(config: GuardedPostgreSQLOnlineStoreConfig) -> ConnectionPool:
    told = _get_conn_kwargs(config)
    patience_s = config.patience_ms / 1000
    limits = {
        "connect_timeout": max(2, math.ceil(patience_s)),  # libpq takes whole seconds, two at the least
        "tcp_user_timeout": config.patience_ms,
        # Whoever was stopped in the middle of a write keeps its rows from others for less than they wait.
        "options": f"{told['options']} -c statement_timeout={config.patience_ms}"
        f" -c idle_in_transaction_session_timeout={math.ceil(config.patience_ms / 2)}",
    }
    return ConnectionPool(
        _get_conninfo(config),
        min_size=config.min_conn,
        max_size=config.max_conn,
        timeout=patience_s,
        kwargs=told | limits,
        open=True,
    )
