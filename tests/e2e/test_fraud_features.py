"""The card-fraud notebook on a feature store: trained on what was known then, and registered with its views."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from examples.fraud import models, store
from examples.fraud.simulator import DATA, simulate
from examples.fraud.world import World
from golden import load_project, registration, sdk, training
from golden.embedded.postgres import PostgresServer
from services.features.definitions import views_of
from services.registry.app import database_of
from services.registry.artifacts import ArtifactStore
from services.registry.clients.mlflow import MlflowRuns
from services.registry.commands import Commands
from tests.conftest import Database
from tests.examples.fed import REPO, Fed
from tests.features.repository import settings_of
from tests.registry.made_up import ADA, FakeDeployments

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, as it opens its database
    pytest.mark.timeout(300),  # the first test waits for a notebook
]

FOLDER = DATA.parents[1]
PROJECT = FOLDER / "golden-features.yaml"
WORLD = World(customers=40, terminals=300, days=80, seed=3)
PLANTED = 1e9


@dataclass(frozen=True)
class Trained:
    """A run of the notebook's third version, and what it was made from."""

    tracking: str
    run: str
    transactions: pd.DataFrame

    def reference(self) -> pd.DataFrame:
        """The held-out rows that the run logged."""
        run = MlflowClient(self.tracking).get_run(self.run)
        return pd.read_parquet(Path(urlparse(run.info.artifact_uri).path) / sdk.REFERENCE)


@pytest.fixture(scope="module")
def trained(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """The notebook, run on a store that also knows what came right after each customer's last payment."""
    folder, name, transactions = tmp_path_factory.mktemp("fraud"), "card_features", simulate(WORLD)
    postgres.create_database(name, name, name)
    postgres.join_without_loops(name)
    dsn = postgres.dsn(name, name, name)
    settings = settings_of(dsn, folder)
    asyncio.run(_fill(Fed(dsn, settings), transactions))
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    transactions.to_parquet(folder / "transactions.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEAST_FS_YAML_FILE_PATH", str(settings))
        run = training.start(
            FOLDER / "train.ipynb",
            folder / "version-3.ipynb",
            parameters={"version": 3, "data": folder / "transactions.parquet"},
            tracking=tracking,
            artifacts=folder / "artifacts",
        ).run_id()
    yield Trained(tracking, run, transactions)
    postgres.drop_database(name, name)


async def _fill(fed: Fed, transactions: pd.DataFrame) -> None:
    """Fill a store, and plant the future into it."""
    await fed.fill(transactions)
    last = transactions.drop_duplicates("customer", keep="last")
    planted = store.rows_of("customer_windows", last)
    planted[planted.columns[2:]] = PLANTED
    planted["event_time"] = (last["time"] + timedelta(microseconds=1)).dt.tz_localize(UTC)
    await fed.put("customer_windows", planted, datetime(2019, 1, 1, tzinfo=UTC))
    await fed.close()


def known_before(view: str, transactions: pd.DataFrame) -> pd.DataFrame:
    """What a view has of each payment's customer or terminal from the payment before, within a month."""
    rows = store.rows_of(view, transactions)
    entities = rows.groupby(store.VIEWS[view])
    gap = rows["event_time"] - entities["event_time"].shift()
    return entities[list(rows.columns[2:])].shift().where(gap <= timedelta(days=30))


def test_the_notebook_trains_on_what_the_store_knew_at_each_payment_and_on_nothing_later(trained: Trained) -> None:
    known = pd.concat([known_before(view, trained.transactions) for view in store.VIEWS], axis=1)
    held_out = models.split(trained.transactions, WORLD.days, models.HELD_OUT).held_out
    expected = known[held_out].reset_index(drop=True)
    pd.testing.assert_frame_equal(trained.reference()[list(known)].reset_index(drop=True), expected)
    assert expected.max().max() < PLANTED


async def test_the_run_is_registered_with_the_views_that_it_was_trained_on(
    trained: Trained, database: Database, tmp_path: Path
) -> None:
    project = load_project(PROJECT)
    runs = MlflowRuns(
        ArtifactStore(tmp_path), tracking_uri=trained.tracking, timeout=timedelta(minutes=2), idle=timedelta(minutes=1)
    )
    opened = database_of(database.dsn)
    await opened.start()
    try:
        asked = registration.request_of(project, registration.newest_run(project, trained.tracking))
        version = (await Commands(opened, runs, FakeDeployments()).register_version(asked, ADA)).version
    finally:
        await opened.stop()
        await runs.stop()
    views: list[Any] = list(version.registered.feature_views)
    assert [(view.name, view.digest, tuple(view.inputs), tuple(view.keys)) for view in views] == [
        (view.name, view.digest, view.inputs, view.keys) for view in views_of(REPO, store.SERVICE)
    ]
