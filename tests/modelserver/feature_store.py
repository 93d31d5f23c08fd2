"""A model that reads features, and a real store of them in a database of the test's own."""

# mypy: disable-error-code="no-untyped-call"
# scikit-learn ships no types.

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.json_format import MessageToJson
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from goldenpath.registry.v1 import events_pb2 as registered
from services.features.definitions import load, service_views
from tests.features.repository import REPOSITORY, settings_of
from tests.modelserver.conftest import save

INPUTS = ["amount", "count_7d", "mean_7d", "risk"]


def trained() -> Any:
    """A classifier of payments that takes gaps."""
    rows = pd.DataFrame(np.random.default_rng(5).gamma(2, 10, (300, len(INPUTS))), columns=INPUTS)
    label = (rows["amount"] > 2 * rows["mean_7d"]).astype(int)
    return make_pipeline(SimpleImputer(strategy="constant", fill_value=-1.0), LogisticRegression()).fit(rows, label)


def saved(folder: Path, model: Any) -> Path:
    """The model as the registry keeps it."""
    return save(model, folder / "payments", pd.DataFrame([[20.0, 3.0, 15.0, 0.1]] * 3, columns=INPUTS))


@dataclass(frozen=True)
class Fed:
    """A feature store with customers and terminals.

    Args:
        store: Feast.
        settings: Its feature_store.yaml.
        folder: The repository.
    """

    store: FeatureStore
    settings: Path
    folder: Path

    def told(self, **more: Any) -> dict[str, Any]:
        """What a model server is told of it."""
        return {"features": MessageToJson(self.wanted(**more)), "features_store": self.settings}

    def wanted(self, *, deadline: timedelta = timedelta(seconds=5), fails: bool = False) -> registered.FeatureSettings:
        """What a version reads of it."""
        repo = load(self.folder)
        message = registered.FeatureSettings(
            service="fraud", fallback=registered.FEATURE_FALLBACK_FAIL if fails else registered.FEATURE_FALLBACK_MISSING
        )
        message.deadline.FromTimedelta(deadline)
        for view in service_views(repo.services["fraud"], repo.views, repo.entities):
            kept = message.views.add(name=view.name, digest=view.digest, inputs=view.inputs, keys=view.keys)
            kept.ttl.FromTimedelta(view.ttl or timedelta(days=36_500))
        return message

    def write(self, view: str, key: str, age: timedelta = timedelta(), **values: float) -> datetime:
        """Write an entity's values, so old; when they came true."""
        moment = (datetime.now(UTC) - age).replace(microsecond=123_456)
        entity = "customer" if view == "customer_windows" else "terminal"
        row = (
            EntityKey(join_keys=[entity], entity_values=[Value(string_val=key)]),
            {name: Value(double_val=value) for name, value in values.items()},
            moment,
            None,
        )
        self.store._get_provider().online_write_batch(self.store.config, self.store.get_feature_view(view), [row], None)
        return moment


@contextmanager
def fed(dsn: str, folder: Path) -> Iterator[Fed]:
    """A repository, applied to a database."""
    (folder / "definitions.py").write_text(REPOSITORY)
    settings = settings_of(dsn, folder)
    store = FeatureStore(fs_yaml_file=settings)
    store.apply(load(folder).everything())
    yield Fed(store, settings, folder)
    asyncio.run(store.close())
