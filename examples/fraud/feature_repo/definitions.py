"""What a bank keeps of its customers and terminals, as of their last payment; `store.py` says what each number is.

A row is true from the second after its payment, so that no payment is among what is known of it. A customer who didn't
pay for a month, and a terminal that nobody used for a month, have nothing that could still be said of them.
"""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Float64

customer = Entity(name="customer", value_type=ValueType.STRING, description="Such as customer-0042.")
terminal = Entity(name="terminal", value_type=ValueType.STRING, description="Such as terminal-0007.")


def history(view: str) -> PostgreSQLSource:
    """Where the pusher keeps a view's rows."""
    return PostgreSQLSource(
        name=f"{view}_history",
        table=f"{view}_history",
        timestamp_field="event_time",
        created_timestamp_column="kept_at",
    )


customer_windows = FeatureView(
    name="customer_windows",
    entities=[customer],
    ttl=timedelta(days=30),
    schema=[
        *(Field(name=f"customer_count_{days}d", dtype=Float64) for days in (1, 7, 30)),
        *(Field(name=f"customer_mean_{days}d", dtype=Float64) for days in (1, 7, 30)),
        Field(name="customer_usual", dtype=Float64),
    ],
    source=history("customer_windows"),
)
terminal_windows = FeatureView(
    name="terminal_windows",
    entities=[terminal],
    ttl=timedelta(days=30),
    schema=[
        *(Field(name=f"terminal_count_{days}d", dtype=Float64) for days in (1, 7, 30)),
        *(Field(name=f"terminal_risk_{days}d", dtype=Float64) for days in (1, 7, 30)),
    ],
    source=history("terminal_windows"),
)
fraud = FeatureService(name="fraud", features=[customer_windows, terminal_windows])
