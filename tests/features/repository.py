"""A feature repository that the tests define things with: two views of two entities, and a service of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from psycopg.conninfo import conninfo_to_dict

REPOSITORY: Final = """
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Float64


def history(name):
    return PostgreSQLSource(name=name, table=name, timestamp_field="event_time", created_timestamp_column="kept_at")


customer = Entity(name="customer", value_type=ValueType.STRING)
terminal = Entity(name="terminal", value_type=ValueType.STRING)
customer_windows = FeatureView(
    name="customer_windows",
    entities=[customer],
    ttl=timedelta(days=2),
    schema=[Field(name="count_7d", dtype=Float64), Field(name="mean_7d", dtype=Float64)],
    source=history("customer_windows_history"),
)
terminal_windows = FeatureView(
    name="terminal_windows",
    entities=[terminal],
    schema=[Field(name="risk", dtype=Float64), Field(name="count", dtype=Float64)],
    source=history("terminal_windows_history"),
)
fraud = FeatureService(name="fraud", features=[customer_windows, terminal_windows[["risk"]]])
"""


def settings_of(dsn: str, folder: Path, online: Mapping[str, Any] | None = None, project: str = "tests") -> Path:
    """A feature_store.yaml on a database; without another online store, the guarded one of PostgreSQL."""
    told = conninfo_to_dict(dsn)
    database = {
        "host": told["host"],
        "port": int(str(told["port"])),
        "database": told["dbname"],
        "user": told["user"],
        "password": told["password"],
        "db_schema": "public",
        "sslmode": "disable",
    }
    guarded = {"type": "services.features.online_store.GuardedPostgreSQLOnlineStore", **database}
    said = {
        "project": project,
        "provider": "local",
        "registry": {"path": str(folder / "feast.db"), "cache_ttl_seconds": 0},
        "online_store": online or guarded,
        "offline_store": {"type": "postgres", **database},
        "entity_key_serialization_version": 3,
    }
    file = folder / "feature_store.yaml"
    file.write_text(yaml.safe_dump(said))
    return file
