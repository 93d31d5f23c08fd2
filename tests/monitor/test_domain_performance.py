"""Metrics that add up: scikit-learn's on the same rows, whatever the order in which they come."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics
from sklearn.calibration import calibration_curve

from services.chassis.errors import Invalid
from services.monitor.domain.exact import exact_sum, rounded
from services.monitor.domain.performance import EDGES, GROUPS, CostMatrix, Tally, bins_of, by_segment, tally
from services.monitor.domain.residuals import Residuals, residuals
from services.profile.columns import Numbers

finite = st.floats(-1e12, 1e12)
FRAUD = CostMatrix(fixed=((0.0, 0.0), (1.5, 1.5)), of_amount=((0.0, 1.0), (0.0, 0.0)))


@st.composite
def records(draw: st.DrawFn) -> tuple[Numbers, Numbers, Numbers]:
    """Scores, outcomes of both kinds, and amounts; scores often tie, and are often next to 0 or 1."""
    rows = draw(st.integers(2, 60))
    some = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-9, 0.25, 0.3, 0.5, 1 - 1e-9, 1.0]))
    scores = draw(arrays.arrays(np.float64, rows, elements=some))
    outcomes = draw(arrays.arrays(np.float64, rows, elements=st.sampled_from([0.0, 1.0])))
    amounts = draw(arrays.arrays(np.float64, rows, elements=st.floats(0, 1e6)))
    outcomes[:2] = 0.0, 1.0
    return scores, outcomes, amounts


def tallied(rows: tuple[Numbers, Numbers, Numbers], places: Numbers | slice = slice(None)) -> Tally:
    scores, outcomes, amounts = (each[places] for each in rows)
    return tally(scores, outcomes, threshold=0.3, amounts=amounts)


@given(records(), st.randoms(use_true_random=False), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_the_same_records_give_the_same_tally_in_any_order_and_grouping(
    rows: tuple[Numbers, Numbers, Numbers], random: object, cut: int
) -> None:
    order = list(range(rows[0].size))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis's Random
    whole, one, two = (
        tallied(rows),
        tallied(rows, np.array(order[:cut], int)),
        tallied(rows, np.array(order[cut:], int)),
    )
    assert one + two == two + one == whole
    assert hash(one + two) == hash(whole)
    assert whole - two == one


@given(records())
@settings(max_examples=100, deadline=None)
def test_a_tally_says_what_scikit_learn_says(rows: tuple[Numbers, Numbers, Numbers]) -> None:
    (scores, outcomes, amounts), made = rows, tallied(rows)
    decided = scores >= 0.3
    assert made.rows == scores.size
    assert made.log_loss() == pytest.approx(metrics.log_loss(outcomes, scores), rel=1e-12)
    assert made.recall() == metrics.recall_score(outcomes, decided)
    assert made.accuracy() == metrics.accuracy_score(outcomes, decided)
    assert made.precision() == pytest.approx(
        metrics.precision_score(outcomes, decided, zero_division=np.nan), nan_ok=True
    )
    lost, calls = amounts[~decided & (outcomes == 1)].sum(), decided.sum()
    assert made.cost(FRAUD) == pytest.approx(lost + 1.5 * calls, rel=1e-12)


@given(records())
@settings(max_examples=100, deadline=None)
def test_what_ranks_is_between_its_bounds(rows: tuple[Numbers, Numbers, Numbers]) -> None:
    (scores, outcomes, _), made = rows, tallied(rows)
    area, precision = made.auc(), made.average_precision()
    assert area.low - 1e-12 <= metrics.roc_auc_score(outcomes, scores) <= area.high + 1e-12
    assert precision.low - 1e-12 <= metrics.average_precision_score(outcomes, scores) <= precision.high + 1e-12
    assert area.low <= area.value <= area.high + 1e-12
    assert precision.low <= precision.value <= precision.high + 1e-12


@given(records())
@settings(max_examples=100, deadline=None)
def test_what_ranks_is_exact_where_each_bin_holds_one_score(rows: tuple[Numbers, Numbers, Numbers]) -> None:
    scores, outcomes = np.concatenate(([0.0], EDGES))[bins_of(rows[0])], rows[1]
    made = tally(scores, outcomes)
    assert made.auc().value == pytest.approx(metrics.roc_auc_score(outcomes, scores), rel=1e-12)
    assert made.average_precision().value == pytest.approx(metrics.average_precision_score(outcomes, scores), rel=1e-12)


@given(records())
@settings(max_examples=50, deadline=None)
def test_the_calibration_error_is_that_of_scikit_learns_curve(rows: tuple[Numbers, Numbers, Numbers]) -> None:
    scores, outcomes, _ = rows
    true, said = calibration_curve(outcomes, scores, n_bins=GROUPS)
    held = np.bincount(np.searchsorted(np.linspace(0, 1, GROUPS + 1)[1:-1], scores), minlength=GROUPS)
    expected = np.abs(true - said) @ held[held > 0] / scores.size
    assert tally(scores, outcomes).calibration_error() == pytest.approx(expected, abs=1e-12)


def test_on_many_rare_events_the_bounds_are_tight() -> None:
    random = np.random.default_rng(1)
    scores = random.beta(0.5, 60, 200_000)
    outcomes = (random.random(scores.size) < scores).astype(float)
    made = tally(scores, outcomes)
    area, precision = made.auc(), made.average_precision()
    assert area.high - area.low < 0.01
    assert precision.high - precision.low < 0.02
    assert area.value == pytest.approx(metrics.roc_auc_score(outcomes, scores), abs=2e-4)
    assert precision.value == pytest.approx(metrics.average_precision_score(outcomes, scores), abs=2e-3)


def test_each_segment_has_a_tally_and_they_add_up_to_all() -> None:
    random = np.random.default_rng(2)
    scores, outcomes = random.random(500), random.integers(0, 2, 500).astype(float)
    segments = random.choice(np.array(["north", "south"]), 500)
    parts = by_segment(segments, scores, outcomes)
    assert parts["north"] == tally(scores[segments == "north"], outcomes[segments == "north"])
    assert parts["north"] + parts["south"] == tally(scores, outcomes)


def test_of_no_records_and_of_one_outcome_nothing_is_made_up() -> None:
    nothing, positives = tally(np.zeros(0), np.zeros(0)), tally(np.array([0.4, 0.6]), np.ones(2))
    metrics_of_nothing = [nothing.auc().value, nothing.average_precision().value, nothing.log_loss()]
    metrics_of_nothing += [nothing.precision(), nothing.recall(), nothing.calibration_error(), positives.auc().value]
    assert all(math.isnan(each) for each in metrics_of_nothing)
    assert positives.average_precision().value == 1.0
    assert nothing.cost(FRAUD) == 0.0


@pytest.mark.parametrize(
    ("scores", "outcomes", "amounts"),
    [
        pytest.param([1.2], [1.0], [1.0], id="a score above 1"),
        pytest.param([math.nan], [1.0], [1.0], id="no score"),
        pytest.param([0.2], [2.0], [1.0], id="another class"),
        pytest.param([0.2], [math.nan], [1.0], id="no outcome"),
        pytest.param([0.2], [1.0], [math.inf], id="an endless amount"),
        pytest.param([0.2, 0.3], [1.0], [1.0], id="fewer outcomes than scores"),
    ],
)
def test_what_is_no_record_is_refused(scores: list[float], outcomes: list[float], amounts: list[float]) -> None:
    with pytest.raises(Invalid):
        tally(np.array(scores), np.array(outcomes), amounts=np.array(amounts))


def test_tallies_at_different_thresholds_do_not_add_up() -> None:
    one, other = (tally(np.array([0.5]), np.array([1.0]), threshold=each) for each in (0.5, 0.6))
    with pytest.raises(Invalid):
        one + other


@given(arrays.arrays(np.float64, st.integers(0, 50), elements=st.floats(-1e300, 1e300)))
@settings(max_examples=200, deadline=None)
def test_a_sum_is_exact(values: Numbers) -> None:
    exact = sum((Fraction(value) for value in values.tolist()), Fraction(0))
    assert Fraction(exact_sum(values), 1 << 1074) == exact
    assert rounded(exact_sum(values)) == math.fsum(values)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=50), st.integers(0, 50), st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_a_regressions_metrics_are_scikit_learns_and_add_up(
    pairs: list[tuple[float, float]], cut: int, quantile: float
) -> None:
    predicted, outcomes = np.array(pairs).T
    made = residuals(predicted, outcomes, quantile=quantile)
    one, two = (residuals(*np.array(part).reshape(-1, 2).T, quantile=quantile) for part in (pairs[:cut], pairs[cut:]))
    assert two + one == made
    assert made - two == one
    assert made.rmse() == pytest.approx(metrics.root_mean_squared_error(outcomes, predicted), rel=1e-9)
    expected = metrics.mean_pinball_loss(outcomes, predicted, alpha=quantile)
    assert made.quantile_loss() == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert made.bias() == pytest.approx((predicted - outcomes).mean(), rel=1e-6, abs=1e-3)


def test_of_no_predictions_nothing_is_made_up_and_quantiles_do_not_mix() -> None:
    assert all(math.isnan(each) for each in (Residuals().rmse(), Residuals().bias(), Residuals().quantile_loss()))
    with pytest.raises(Invalid):
        Residuals(0.5) + Residuals(0.9)
    with pytest.raises(Invalid):
        residuals(np.array([1.0]), np.array([math.inf]))
