"""A newer value stays where an older one comes late: on real PostgreSQL and real Redis, one by one and all at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.errors import IdleInTransactionSessionTimeout

from tests.features.conftest import in_postgres

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Push = tuple[int, str, float]  # seconds after noon, the customer, the value


def row(push: Push) -> Any:
    second, customer, value = push
    key = EntityKey(join_keys=["customer"], entity_values=[Value(string_val=customer)])
    values = {"count_7d": Value(double_val=value), "mean_7d": Value(double_val=-value)}
    return key, values, NOON + timedelta(seconds=second), None


def write(store: FeatureStore, pushes: Sequence[Push]) -> None:
    view = store.get_feature_view("customer_windows")
    store._get_provider().online_write_batch(store.config, view, [row(push) for push in pushes], None)


def read(store: FeatureStore, *customers: str) -> list[tuple[float | None, float | None]]:
    found = store.get_online_features(
        ["customer_windows:count_7d", "customer_windows:mean_7d"], [{"customer": name} for name in customers]
    ).to_dict()
    return list(zip(found["count_7d"], found["mean_7d"], strict=True))


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([[(5, "a", 1.0)], [(4, "a", 2.0)]], id="late, on its own"),
        pytest.param([[(4, "a", 2.0), (5, "a", 1.0)]], id="in order in one batch"),
        pytest.param([[(5, "a", 1.0), (4, "a", 2.0)]], id="late in one batch"),
        pytest.param([[(5, "a", 2.0)], [(5, "a", 1.0)]], id="a correction of the same moment"),
        pytest.param([[(5, "a", 2.0), (5, "a", 1.0)]], id="a correction in one batch"),
        pytest.param([[(5, "a", 1.0), (9, "b", 7.0)], [(6, "b", 8.0), (4, "a", 2.0)]], id="beside another entity"),
        pytest.param([[(5, "a", 1.0)], [(5, "a", 1.0)], [(4, "a", 3.0)]], id="again, and then late"),
    ],
)
def test_the_newest_value_stays(store: FeatureStore, batches: list[list[Push]]) -> None:
    for batch in batches:
        write(store, batch)
    assert read(store, "a") == [(1.0, -1.0)]


def test_an_entity_that_was_never_written_has_no_value(store: FeatureStore) -> None:
    write(store, [(5, "a", 1.0)])
    assert read(store, "a", "nobody") == [(1.0, -1.0), (None, None)]


def test_however_many_write_at_once_every_entity_keeps_its_newest(store: FeatureStore) -> None:
    for wave in range(
        40
    ):  # writers that all begin with the same known value: whoever looks first and writes last loses
        write_at_once(store, [(wave * 10 + second, "abc"[second % 3], wave + second / 10) for second in range(9)])
        assert read(store, *"abc") == [(wave + second / 10, -wave - second / 10) for second in (6, 7, 8)]


def write_at_once(store: FeatureStore, pushes: Sequence[Push]) -> None:
    together = Barrier(len(pushes))

    def written(push: Push) -> None:
        together.wait()
        write(store, [push, (0, "z", 0.0)])

    with ThreadPoolExecutor(len(pushes)) as writers:
        list(writers.map(written, pushes))


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.floats(-9, 9)), max_size=4), max_size=5)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_gives_what_the_times_say(store: FeatureStore, batches: list[list[Push]]) -> None:
    world = uuid4().hex
    ours = [[(second, customer + world, value) for second, customer, value in batch] for batch in batches]
    for batch in ours:
        write(store, batch)
    flat = [push for batch in ours for push in batch]
    assert read(store, f"a{world}", f"b{world}") == [newest(flat, f"a{world}"), newest(flat, f"b{world}")]


def newest(pushes: Sequence[Push], customer: str) -> tuple[float | None, float | None]:
    hers = sorted((push for push in pushes if push[1] == customer), key=lambda push: push[0])
    return (hers[-1][2], -hers[-1][2]) if hers else (None, None)


@pytest.mark.parametrize("store", [in_postgres], indirect=True)
def test_a_writer_that_was_stopped_keeps_its_rows_from_others_for_a_while_only(store: FeatureStore) -> None:
    write(store, [(5, "a", 1.0)])
    every_row = sql.SQL("UPDATE {} SET value_text = ''").format(sql.Identifier(f"{store.project}_customer_windows"))
    online: Any = store._get_provider().online_store

    def stopped() -> None:
        with online._get_conn(store.config) as connection:
            connection.execute(every_row)
            write(store, [(6, "a", 2.0)])

    with pytest.raises(IdleInTransactionSessionTimeout):
        stopped()
    assert read(store, "a") == [(2.0, -2.0)]


def test_what_feast_pushes_itself_is_guarded_too(store: FeatureStore) -> None:
    for second, value in ((5, 1.0), (4, 2.0)):
        frame = pd.DataFrame(
            {
                "customer": ["a"],
                "event_time": [NOON + timedelta(seconds=second)],
                "count_7d": [value],
                "mean_7d": -value,
            }
        )
        store.write_to_online_store("customer_windows", frame.assign(kept_at=NOON))
    assert read(store, "a") == [(1.0, -1.0)]
