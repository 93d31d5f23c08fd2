"""The card model's inputs: a naive loop gives the same, and nothing that comes later is ever seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.fraud import models
from examples.fraud.features import NIGHT_ENDS, USUAL, WINDOWS, features_of
from examples.fraud.simulator import DAY, LATEST, simulate
from examples.fraud.world import World

BEGAN = pd.Timestamp("2018-04-01")
Row = tuple[int, int, int, int, int]  # seconds, customer, terminal, cents, scenario

rows = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 80 * DAY), st.integers(0, 80).map(lambda day: day * DAY)),  # on the edges, too
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 50_000),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=40,
)


def frame(given_rows: list[Row]) -> pd.DataFrame:
    seconds, customer, terminal, cents, scenario = (np.array(each) for each in zip(*given_rows, strict=True))
    return pd.DataFrame(
        {
            "time": BEGAN + pd.to_timedelta(seconds, unit="s"),
            "customer": customer,
            "terminal": terminal,
            "amount": cents / 100,
            "scenario": scenario,
        }
    )


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def naive(given_rows: list[Row], asked: Row) -> dict[str, float]:
    """One row's features, as their description says them, from the rows alone."""
    now, customer, terminal, cents, _ = asked
    known = now - LATEST * DAY
    hers = [row for row in given_rows if row[1] == customer]
    there = [row for row in given_rows if row[2] == terminal]
    moment = BEGAN + timedelta(seconds=now)
    made = {
        "amount": cents / 100,
        "at_night": float(moment.hour < NIGHT_ENDS),
        "on_weekend": float(moment.day_name() in {"Saturday", "Sunday"}),
    }
    for days in WINDOWS:
        lately = [row[3] for row in hers if now - days * DAY <= row[0] < now]
        risk = [float(row[4] > 0) for row in there if known - days * DAY <= row[0] < known]
        made |= {f"customer_count_{days}d": len(lately), f"customer_mean_{days}d": mean(lately) / 100}
        made |= {f"terminal_count_{days}d": len(risk), f"terminal_risk_{days}d": mean(risk)}
    usual = mean([row[3] for row in hers if known - USUAL * DAY <= row[0] < known and row[4] == 0])
    return made | {"customer_usual": usual / 100, "amount_over_usual": cents / usual if usual else 0.0}


@given(rows)
@settings(max_examples=25, deadline=None)
def test_all_at_once_is_what_a_loop_gives_row_by_row(given_rows: list[Row]) -> None:
    expected = pd.DataFrame([naive(given_rows, row) for row in given_rows], dtype=float)
    made = features_of(frame(given_rows))
    pd.testing.assert_frame_equal(made, expected[list(made)], rtol=1e-12)
    assert set(made) == set(expected)


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_in_which_transactions_are_given_changes_nothing(given_rows: list[Row], random: object) -> None:
    paid = frame(given_rows)
    order = list(range(len(paid)))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis's Random
    pd.testing.assert_frame_equal(features_of(paid.iloc[order]).sort_index(), features_of(paid))


@given(rows, rows, st.integers(0, 80 * DAY))
@settings(max_examples=25, deadline=None)
def test_what_comes_later_is_never_seen(past: list[Row], later: list[Row], now: int) -> None:
    """The same rows with any future, and with labels that weren't known yet turned round, give the same."""
    past = [(min(row[0], now), *row[1:]) for row in past]
    future = [(max(row[0], now), *row[1:]) for row in later]
    unknown = [(*row[:4], 4 - row[4]) if row[0] >= now - LATEST * DAY else row for row in past]
    expected = features_of(frame(past))
    assert features_of(frame([*past, *future])).head(len(past)).equals(expected)
    pd.testing.assert_frame_equal(features_of(frame(unknown)), expected)


def test_a_planted_sign_of_the_future_is_never_seen() -> None:
    """Everybody's last amount is made to tell whether they were ever robbed; no earlier row may know of it."""
    paid = simulate(World(customers=200, terminals=400, days=50, seed=1))
    robbed = paid["customer"].isin(paid["customer"][paid["scenario"] > 0])
    last = ~paid.duplicated("customer", keep="last")
    planted = paid.assign(amount=paid["amount"].mask(last & robbed, 9_999.0))
    touched = (features_of(planted) != features_of(paid)).any(axis=1)
    assert touched.equals(last & robbed)
    assert touched.sum() > 5


def test_every_label_that_a_feature_uses_was_known_by_then() -> None:
    paid = simulate(World(customers=100, terminals=200, days=50, seed=2))
    assert (paid["known_at"] <= paid["time"] + timedelta(days=LATEST)).all()


def test_training_uses_only_what_was_known_and_holds_out_only_what_came_after() -> None:
    paid = simulate(World(customers=100, terminals=200, days=90, seed=2))
    chosen = models.split(paid, 80)
    now = paid["time"][chosen.held_out].min()
    assert paid["known_at"][chosen.train].max() <= now.normalize()
    assert chosen.train.sum() > 0
    assert (paid["time"][chosen.held_out] - BEGAN).dt.days.max() == 79


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_sees_no_label_and_nobodys_name(version: int) -> None:
    paid = simulate(World(customers=30, terminals=60, days=40, seed=2))
    inputs = models.inputs_of(version, features_of(paid))
    assert not {"customer", "terminal", "scenario", "known_at", "time"} & set(inputs)
    assert inputs.notna().all().all()
