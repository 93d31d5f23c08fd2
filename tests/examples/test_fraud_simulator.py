"""The simulated card transactions: what the design promises, and that they are the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from examples.fraud.scenarios import AMOUNTS, BIG_SPENDER, LEAKED_FACTOR, LIMIT, Outbreak, Scenario
from examples.fraud.simulator import DATA, DAY, DOCUMENTED, LATEST, simulate
from examples.fraud.world import Chance, World, customers_of

SMALL = World(customers=300, terminals=600, days=60, seed=3)
BEGINS = 40


@pytest.fixture(scope="module")
def paid() -> pd.DataFrame:
    return simulate(SMALL)


@pytest.fixture(scope="module")
def broken_out() -> pd.DataFrame:
    return simulate(SMALL, Outbreak(BEGINS))


def days_of(paid: pd.DataFrame) -> pd.Series[int]:
    return (paid["time"] - pd.Timestamp(SMALL.first_day)).dt.days


def of(paid: pd.DataFrame, scenario: Scenario) -> pd.DataFrame:
    return paid[paid["scenario"] == scenario]


def test_the_same_seed_gives_the_same_transactions_and_another_seed_others(paid: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(paid, simulate(SMALL))
    assert not paid["amount"].head(50).equals(simulate(replace(SMALL, seed=4))["amount"].head(50))


def test_the_documented_data_are_what_the_simulator_writes() -> None:
    written = pd.read_parquet(DATA).astype({"time": "datetime64[s]", "known_at": "datetime64[s]"})
    pd.testing.assert_frame_equal(written, simulate(DOCUMENTED))


def test_transactions_come_in_the_order_of_time_within_the_worlds_days(paid: pd.DataFrame) -> None:
    assert paid["time"].is_monotonic_increasing
    assert set(days_of(paid)) == set(range(SMALL.days))
    assert (paid["amount"] >= 0).all()


def test_customers_pay_as_often_and_as_much_as_their_habits_say(paid: pd.DataFrame) -> None:
    customers = customers_of(SMALL)
    genuine = of(paid, Scenario.GENUINE).groupby("customer")["amount"].agg(["size", "mean"])
    regulars = genuine[genuine["size"] > 100]
    habits = customers.mean_amount[regulars.index]
    assert len(regulars) > 50
    assert np.median(regulars["mean"] / habits) == pytest.approx(1.02, abs=0.05)  # what is below 0 is drawn anew
    assert len(paid) / SMALL.days == pytest.approx(customers.mean_a_day.sum() * 0.97, rel=0.05)


def test_nobody_pays_where_they_do_not_go(paid: pd.DataFrame) -> None:
    places = SMALL.chance(Chance.CUSTOMERS).uniform(0, 100, (SMALL.customers, 2))
    terminals = SMALL.chance(Chance.TERMINALS).uniform(0, 100, (SMALL.terminals, 2))
    way = np.linalg.norm(places[paid["customer"]] - terminals[paid["terminal"]], axis=1)
    assert way.max() < SMALL.radius


def test_each_customer_reaches_all_terminals_within_the_radius() -> None:
    customers = customers_of(SMALL)
    places = SMALL.chance(Chance.CUSTOMERS).uniform(0, 100, (SMALL.customers, 2))
    terminals = SMALL.chance(Chance.TERMINALS).uniform(0, 100, (SMALL.terminals, 2))
    for customer, place in enumerate(places):
        near = np.flatnonzero(np.linalg.norm(terminals - place, axis=1) < SMALL.radius)
        reached = customers.reach[customers.first[customer] : customers.first[customer + 1]]
        assert sorted(reached.tolist()) == near.tolist()


def test_what_is_above_the_limit_is_fraud(paid: pd.DataFrame) -> None:
    assert (of(paid, Scenario.ABOVE_THE_LIMIT)["amount"] > LIMIT).all()
    assert (of(paid, Scenario.GENUINE)["amount"] <= LIMIT).all()


def test_all_that_is_paid_at_a_compromised_terminal_for_four_weeks_is_fraud(paid: pd.DataFrame) -> None:
    struck = of(paid, Scenario.COMPROMISED_TERMINAL)
    spans = days_of(struck).groupby(struck["terminal"]).agg(["min", "max"])
    alone = spans[spans["max"] - spans["min"] < 28]
    assert len(alone) > 0
    for terminal, began, ended in alone.itertuples():
        there = paid[(paid["terminal"] == terminal) & days_of(paid).between(began, ended)]
        assert (there["scenario"] > 0).all()


def test_with_leaked_credentials_five_times_as_much_is_paid(paid: pd.DataFrame) -> None:
    leaked = of(paid, Scenario.LEAKED_CREDENTIALS)
    usual = customers_of(SMALL).mean_amount[leaked["customer"]]
    assert len(leaked) > 50
    assert np.median(leaked["amount"] / usual) == pytest.approx(LEAKED_FACTOR, rel=0.15)


def test_the_new_scenario_begins_on_its_day_and_all_else_is_as_without_it(
    paid: pd.DataFrame, broken_out: pd.DataFrame
) -> None:
    new = broken_out["scenario"] == Scenario.BELOW_THE_LIMIT
    assert days_of(broken_out)[new].min() >= BEGINS
    pd.testing.assert_frame_equal(broken_out[~new], paid[~new])
    same = ["time", "customer", "terminal"]
    pd.testing.assert_frame_equal(broken_out[same], paid[same])


def test_the_new_scenario_takes_big_spenders_for_amounts_just_below_the_limit(broken_out: pd.DataFrame) -> None:
    new = of(broken_out, Scenario.BELOW_THE_LIMIT)
    assert len(new) > 10
    assert new["amount"].between(*AMOUNTS[Scenario.BELOW_THE_LIMIT]).all()
    assert AMOUNTS[Scenario.BELOW_THE_LIMIT][1] < LIMIT
    assert (customers_of(SMALL).mean_amount[new["customer"]] >= BIG_SPENDER).all()


def test_a_fraud_is_known_after_a_day_at_least_and_everything_after_a_week(broken_out: pd.DataFrame) -> None:
    delay = (broken_out["known_at"] - broken_out["time"]).dt.total_seconds() / DAY
    fraud = broken_out["scenario"] > 0
    assert (delay[~fraud] == LATEST).all()
    assert delay[fraud].between(0.999, LATEST).all()
    assert delay[fraud].median() == pytest.approx(1 + 2 * np.log(2), abs=0.3)
