"""A feature repository that the tests define things with: two views of two entities, and a service of both."""

from __future__ import annotations

from typing import Final

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
