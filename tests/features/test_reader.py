"""Reading a feature store: event times to the microsecond, whichever store it is, and views that were changed since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from services.features.definitions import load, views_of
from services.features.reader import Reader, Wanted
from tests.features.repository import REPOSITORY

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)


Opened = Callable[[Reader], Reader]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Closes what a test opens."""
    readers: list[Reader] = []

    def keep(reader: Reader) -> Reader:
        readers.append(reader)
        return reader

    yield keep
    for reader in readers:
        asyncio.run(reader.close())


def wanted(repository: Path) -> list[Wanted]:
    found = (view for view in views_of(repository, "fraud") if view.name == "customer_windows")
    return [Wanted(view.name, view.digest, view.inputs, view.keys, view.ttl) for view in found]


def write(store: FeatureStore, customer: str, moment: datetime, **values: Value) -> None:
    key = EntityKey(join_keys=["customer"], entity_values=[Value(string_val=customer)])
    view = store.get_feature_view("customer_windows")
    store._get_provider().online_write_batch(store.config, view, [(key, values, moment, None)], None)


def test_values_come_with_when_they_came_true_and_what_came_of_each_row(
    store: FeatureStore, repository: Path, opened: Opened
) -> None:
    write(store, "ann", NOW, count_7d=Value(double_val=3.0), mean_7d=Value(double_val=2.5))
    write(store, "bob", NOW - timedelta(days=2), count_7d=Value(double_val=1.0), mean_7d=Value())
    reader = opened(Reader(repository / "feature_store.yaml", wanted(repository)))
    (read,) = reader.read({"customer": ["bob", None, "ann", "bob", "eve"]}, NOW)
    ann, bob = (round(moment.timestamp() * 1e6) for moment in (NOW, NOW - timedelta(days=2)))
    assert read.columns == [[1.0, None, 3.0, 1.0, None], [None, None, 2.5, None, None]]
    assert read.event_times_us == [bob, 0, ann, bob, 0]
    assert read.outcomes == ["found", "unknown", "found", "found", "unknown"]
    (later,) = reader.read({"customer": ["bob"]}, NOW + timedelta(microseconds=1))
    assert (later.columns, later.outcomes, later.event_times_us) == ([[None], [None]], ["stale"], [bob])


def test_a_view_that_was_changed_since_is_named(store: FeatureStore, repository: Path, opened: Opened) -> None:
    registered = wanted(repository)
    settings = repository / "feature_store.yaml"
    assert opened(Reader(settings, registered)).changed() == []
    (repository / "definitions.py").write_text(REPOSITORY.replace("days=2", "days=3"))
    store.apply(load(repository).everything())
    assert opened(Reader(settings, registered)).changed() == ["customer_windows"]
    assert opened(Reader(settings, wanted(repository))).changed() == []
