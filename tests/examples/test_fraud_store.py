"""The card model's features from a real store: training leaks nothing, and offline is online at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from examples.fraud import store as fraud
from examples.fraud.features import features_of
from examples.fraud.simulator import simulate
from examples.fraud.world import World
from golden.embedded.postgres import PostgresServer
from tests.conftest import Database
from tests.examples.fed import Fed
from tests.features.repository import settings_of

WORLD = World(customers=60, terminals=400, days=60, seed=3)


@pytest.fixture(scope="module")
def transactions() -> pd.DataFrame:
    return simulate(WORLD)


@pytest.fixture
def fed(postgres: PostgresServer, database: Database, tmp_path: Path) -> Iterator[Fed]:
    postgres.join_without_loops(database.role)
    made = Fed(database.dsn, settings_of(database.dsn, tmp_path))
    yield made
    asyncio.run(made.close())


def test_a_row_says_what_is_known_the_second_after_its_payment(transactions: pd.DataFrame) -> None:
    asked = transactions.iloc[[500, 900]].assign(time=lambda rows: rows["time"] + timedelta(seconds=1), amount=0.0)
    known = features_of(pd.concat([transactions, asked]).reset_index(drop=True)).tail(2)
    for view in fraud.VIEWS:
        rows = fraud.rows_of(view, transactions).iloc[[500, 900]].drop(columns=[fraud.VIEWS[view], "event_time"])
        np.testing.assert_allclose(rows.to_numpy(), known[rows.columns].to_numpy())


def test_what_is_fresh_is_each_ones_last_row_as_of_now(transactions: pd.DataFrame) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    customers, terminals = fraud.events_of(transactions.sample(frac=1, random_state=1), as_of=now)
    last = fraud.rows_of("customer_windows", transactions).drop_duplicates("customer", keep="last")
    told = {row.keys["customer"]: row.numbers["customer_usual"] for row in customers.rows}
    assert told == pytest.approx(dict(zip(last["customer"], last["customer_usual"], strict=True)), nan_ok=True)
    assert {row.event_time.ToDatetime(UTC) for row in [*customers.rows, *terminals.rows]} == {now}
    assert len(terminals.rows) == transactions["terminal"].nunique()


async def test_a_planted_future_feature_is_never_seen(fed: Fed, transactions: pd.DataFrame) -> None:
    await fed.fill(transactions)
    asked = transactions.drop_duplicates("customer", keep="last")
    before = await asyncio.to_thread(fraud.training_set, fed.feast, asked)
    planted = fraud.rows_of("customer_windows", asked)
    planted[planted.columns[2:]] = 1e9
    planted["event_time"] = (asked["time"] + timedelta(microseconds=1)).dt.tz_localize(UTC)
    await fed.put("customer_windows", planted, datetime(2019, 1, 1, tzinfo=UTC))
    pd.testing.assert_frame_equal(await asyncio.to_thread(fraud.training_set, fed.feast, asked), before)
    later = asked.assign(time=asked["time"] + timedelta(microseconds=2))
    assert ((await asyncio.to_thread(fraud.training_set, fed.feast, later))["customer_usual"] == 1e9).all()


async def test_offline_is_online_at_the_same_moment(fed: Fed, transactions: pd.DataFrame) -> None:
    await fed.fill(transactions.sample(frac=1, random_state=1))
    now = transactions["time"].max() + timedelta(days=1)
    entities = transactions.drop_duplicates("customer").assign(time=now)
    offline = await asyncio.to_thread(fraud.training_set, fed.feast, entities)
    keys = {key: fraud.keys_of(key, entities).tolist() for key in fraud.VIEWS.values()}
    reads = await asyncio.to_thread(fed.reader.read, keys, now.tz_localize(UTC))
    online = [column for read in reads for column in read.columns]
    assert len(entities) > 20
    np.testing.assert_array_equal(offline[fed.inputs].to_numpy(), np.array(online, dtype=float).T)


async def test_a_store_that_isnt_filled_yet_is_trained_on_by_nobody(fed: Fed, transactions: pd.DataFrame) -> None:
    await fed.fill(transactions.head(len(transactions) // 2))
    with pytest.raises(LookupError, match="is the pusher still at it"):
        await asyncio.to_thread(fraud.training_set, fed.feast, transactions)
