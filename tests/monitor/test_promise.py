"""A promise as confidence sequences: rarely told of where it is kept, soon where it is broken, whatever came before."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, mean_pinball_loss, mean_squared_error, zero_one_loss

from services.chassis.errors import Invalid
from services.monitor.domain.performance import CostMatrix
from services.monitor.domain.promise import FOLLOWED, Kept, Promise, Segment, carrying
from services.monitor.domain.tallies import metrics_of, sums_of
from services.profile.columns import Numbers

WEEK = timedelta(days=7)
FIRST = date(2026, 1, 1)
BRIER = Promise("brier", 0.1, WEEK, false_alarms_per_year=1.0)


def broken(promise: Promise, kept: Kept) -> bool:
    surest = kept.surest()
    return surest is not None and surest[1].interval()[0] > promise.loss_limit


def days_until_broken(promise: Promise, days: list[Numbers]) -> int:
    """After how many days the promise is broken; 0 where it never is."""
    kept, when = Kept(), 0
    for number, losses in enumerate(days, 1):
        kept = kept.after(promise, FIRST + timedelta(days=number), losses, known=losses.size)
        when = when or number * broken(promise, kept)
    return when


def test_a_version_at_its_limit_is_told_of_less_often_than_is_promised() -> None:
    random = np.random.default_rng(3)
    promise = Promise("brier", 0.1, WEEK, false_alarms_per_year=36.525)  # a tenth a day
    told = [days_until_broken(promise, list(random.binomial(1, 0.1, (20, 300)).astype(float))) for _ in range(100)]
    assert 0 < sum(when > 0 for when in told) / 100 < 20 * 0.1


def test_what_breaks_after_a_good_year_is_seen_as_soon_as_what_breaks_on_the_first_day() -> None:
    random = np.random.default_rng(4)
    good = list(random.binomial(1, 0.05, (300, 500)).astype(float))
    bad = list(random.binomial(1, 0.2, (20, 500)).astype(float))
    assert 0 < days_until_broken(BRIER, bad) <= days_until_broken(BRIER, good + bad) - 300 <= 3


def test_no_sequence_is_followed_for_longer_than_is_said() -> None:
    kept = Kept()
    for day in range(100):
        kept = kept.after(BRIER, FIRST + timedelta(days=day), np.zeros(5), known=4)
    assert len(kept.days) == FOLLOWED.days
    assert (kept.known, kept.missing) == (400, 100)


def test_a_day_that_comes_late_counts_as_the_newest() -> None:
    kept = Kept().after(BRIER, FIRST, np.zeros(5), known=5)
    assert [began for began, _ in kept.after(BRIER, FIRST - WEEK, np.zeros(5), known=5).days] == [FIRST]


def test_what_is_known_comes_back_from_its_bytes() -> None:
    kept = Kept().after(BRIER, FIRST, np.linspace(0, 1, 9), known=8)
    assert Kept.from_bytes(kept.to_bytes()) == kept
    with pytest.raises(Invalid):
        Kept.from_bytes(b'{"days": [["2026-01-01", {"rows": 1, "nonsense": 2}]], "known": 0, "missing": 0}')


def test_losses_are_what_the_metrics_are_the_mean_of() -> None:
    random = np.random.default_rng(5)
    scores, amounts = random.uniform(0.01, 0.99, 500), random.uniform(0, 100, 500)
    outcomes = (random.random(500) < scores).astype(float)

    def mean(metric: str, limit: float = 10.0) -> float:
        return float(Promise(metric, limit, WEEK).losses(scores, outcomes, amounts).mean())

    assert mean("log_loss") == pytest.approx(log_loss(outcomes, scores))
    assert mean("accuracy") == pytest.approx(zero_one_loss(outcomes, scores >= 0.5))
    assert mean("brier") == pytest.approx(mean_squared_error(outcomes, scores))
    assert mean("rmse") == pytest.approx(mean_squared_error(outcomes, scores))
    assert mean("mae") == pytest.approx(mean_absolute_error(outcomes, scores))


def test_a_quantile_loss_is_scikit_learns_as_a_promise_and_as_a_metric() -> None:
    random = np.random.default_rng(6)
    scores, outcomes = random.normal(size=500), random.normal(size=500)
    promise = Promise("quantile_loss", 1.0, WEEK, quantile=0.9)
    expected = mean_pinball_loss(outcomes, scores, alpha=0.9)
    assert promise.losses(scores, outcomes, np.zeros(500)).mean() == pytest.approx(expected)
    found = metrics_of(sums_of(promise, scores, outcomes, np.zeros(500)), None)
    assert found["quantile_loss"] == pytest.approx(expected)
    assert found["mae"] == pytest.approx(mean_absolute_error(outcomes, scores))


def test_cost_goes_by_what_was_decided_and_what_it_was() -> None:
    cost = CostMatrix(fixed=((0, 5), (1, 2)), of_amount=((0, 1), (0, 0)))
    promise = Promise("cost", 1.0, WEEK, threshold=0.4, cost=cost)
    scores, outcomes = np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 1.0, 0.0, 1.0])
    assert promise.losses(scores, outcomes, np.full(4, 10.0)).tolist() == [0.0, 15.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("metric", "limit", "as_loss"), [("accuracy", 0.9, 0.1), ("rmse", 3.0, 9.0), ("mae", 3.0, 3.0)]
)
def test_a_limit_is_one_of_losses(metric: str, limit: float, as_loss: float) -> None:
    assert Promise(metric, limit, WEEK).loss_limit == pytest.approx(as_loss)


def test_a_metric_that_is_no_mean_is_counted_and_not_judged() -> None:
    promise = Promise("auc", 0.9, WEEK)
    kept = Kept().after(promise, FIRST, np.zeros(5), known=3)
    assert not promise.judged
    assert (kept.days, kept.known, kept.missing) == ((), 3, 2)


def test_shares_are_of_what_is_beyond_the_limit_of_each_input() -> None:
    segments = [Segment("shop", "a", 10, 4.0), Segment("shop", "b", 10, 2.0), Segment("shop", "c", 10, 0.0)]
    assert [(each.value, share) for each, share in carrying(segments, 0.1)] == [("a", 0.75), ("b", 0.25)]
