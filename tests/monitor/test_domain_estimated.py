"""Performance without outcomes: near the truth where its assumptions hold, and blind where they don't."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from services.chassis.errors import Invalid
from services.monitor.domain.estimated import Estimated, estimate, from_bytes, metrics_of, to_bytes, true_loss
from services.monitor.domain.performance import CostMatrix
from services.monitor.domain.promise import Promise
from services.monitor.domain.tallies import sums_of
from services.profile import profile_of
from services.profile.columns import Numbers
from services.profile.expected import Expected
from services.registry.clients.expecting import expected_of

THRESHOLD = 0.3
CALLS = CostMatrix(fixed=((0, 0), (1.5, 1.5)), of_amount=((0, 1), (0, 0)))


def promised(metric: str) -> Promise:
    return Promise(metric, 1.0, timedelta(days=7), threshold=THRESHOLD, amount="amount", cost=CALLS)


def classes(seed: int, rows: int, shift: float = 0.0) -> tuple[Numbers, Numbers]:
    """Scores that say too much: the truth lies between them and a tenth. A shift moves the inputs, not the concept."""
    random = np.random.default_rng(seed)
    scores = random.beta(1 + shift, 6, rows)
    return scores, (random.random(rows) < 0.7 * scores + 0.03).astype(float)


def values(seed: int, rows: int, spread: float = 1.0) -> tuple[dict[str, Numbers], Numbers]:
    """A regression that is further off the further its input is from 0."""
    random = np.random.default_rng(seed)
    x = random.normal(0, spread, rows)
    return {"x": x, "score": 2 * x}, 2 * x + random.normal(size=rows) * (0.5 + np.abs(x))


def fitted(columns: dict[str, Numbers], labels: Numbers) -> Expected:
    inputs = {name: column for name, column in columns.items() if name != "score"}
    made = expected_of(profile_of(inputs, scores={"score": columns["score"]}), inputs, columns["score"], labels)
    assert made is not None
    return made


def calibration() -> Expected:
    scores, outcomes = classes(1, 100_000)
    return fitted({"amount": np.ones(scores.size), "score": scores}, outcomes)


def said_of(expected: Expected, metric: str, columns: dict[str, Numbers]) -> Estimated:
    said = estimate(expected, promised(metric), columns, "score", columns["score"].size)
    assert said is not None
    return said


def test_classes_are_near_the_truth_though_inputs_move() -> None:
    scores, outcomes = classes(2, 100_000, shift=1.5)
    found = metrics_of(calibration(), said_of(calibration(), "log_loss", {"score": scores}))
    decided = scores >= THRESHOLD
    assert found["precision"] == pytest.approx(metrics.precision_score(outcomes, decided), abs=0.01)
    assert found["recall"] == pytest.approx(metrics.recall_score(outcomes, decided), abs=0.01)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(outcomes, decided), abs=0.01)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(outcomes, scores), abs=0.01)
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(outcomes, scores), abs=0.02)


@pytest.mark.parametrize("metric", ["log_loss", "brier", "accuracy", "cost"])
def test_the_promised_loss_is_as_near_the_truth_as_chance_allows(metric: str) -> None:
    scores, outcomes = classes(3, 50_000, shift=1.5)
    amounts = np.random.default_rng(4).gamma(2, 30, scores.size)
    said = said_of(calibration(), metric, {"score": scores, "amount": amounts})
    true = promised(metric).losses(scores, outcomes, amounts).mean()
    deviation = said.deviation(scores.size, calibration().rows)
    assert abs(said.mean_loss() - true) < 4 * deviation
    assert deviation < 0.1 * true


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_values_are_near_the_truth_though_inputs_move(metric: str) -> None:
    tree = fitted(*values(1, 100_000))
    columns, truth = values(2, 50_000, spread=1.5)
    said = said_of(tree, metric, columns)
    off = np.abs(columns["score"] - truth)
    then = np.abs(np.subtract(*(each for each in (values(1, 100_000)[0]["score"], values(1, 100_000)[1]))))
    found = metrics_of(tree, said)
    assert found["mae"] == pytest.approx(off.mean(), rel=0.05)
    assert found["rmse"] == pytest.approx(np.sqrt((off**2).mean()), rel=0.1)
    assert off.mean() > 1.2 * then.mean()  # whoever says that all is as it was is further off
    assert said.mean_loss() == pytest.approx(found[metric] ** (2 if metric == "rmse" else 1))


def test_it_is_blind_where_the_concept_moves() -> None:
    scores, outcomes = classes(2, 100_000)
    turned = np.where(scores < 0.05, 1.0, outcomes)  # a fraud that looks genuine
    said = said_of(calibration(), "log_loss", {"score": scores})
    true = promised("log_loss").losses(scores, turned, np.zeros(scores.size)).mean()
    assert metrics_of(calibration(), said)["recall"] > 0.2
    assert metrics.recall_score(turned, scores >= THRESHOLD) < 0.1
    assert true - said.mean_loss() > 100 * said.deviation(scores.size, calibration().rows)


@given(st.lists(st.integers(0, 400), max_size=4), st.randoms())
def test_any_split_and_order_adds_up_to_the_same_bytes(cuts: list[int], random: np.random.Generator) -> None:
    scores, _ = classes(4, 400)
    columns = {"score": scores, "amount": scores * 100}
    pieces = [rows for rows in np.split(np.arange(400), sorted(cuts)) if rows.size]
    random.shuffle(pieces)
    parts = [said_of(CALIBRATED, "cost", {name: each[rows] for name, each in columns.items()}) for rows in pieces]
    assert to_bytes(reduce(add, parts)) == to_bytes(said_of(CALIBRATED, "cost", columns))


CALIBRATED = calibration()


def test_what_is_kept_is_read_again() -> None:
    scores, _ = classes(4, 400)
    kept = to_bytes(said_of(CALIBRATED, "cost", {"score": scores, "amount": scores}))
    assert to_bytes(from_bytes(kept)) == kept
    with pytest.raises(Invalid, match="can't be read"):
        from_bytes(kept[:-9])


@pytest.mark.parametrize("known", [400, 4_000])
def test_where_nothing_changes_chance_takes_the_truth_no_further_than_is_said(known: int) -> None:
    """Of all, or a tenth of the records; the reference's own outcomes err too."""
    apart = []
    for seed in range(100):
        random, (scores, outcomes) = np.random.default_rng(seed), classes(1_000 + seed, 4_000)
        amounts = random.gamma(0.5, 100, scores.size)
        expected = fitted({"amount": np.ones(2_000), "score": classes(seed, 2_000)[0]}, classes(seed, 2_000)[1])
        said = said_of(expected, "cost", {"score": scores, "amount": amounts})
        lost = promised("cost").losses(scores, outcomes, amounts)[:known].mean()
        apart.append((lost - said.mean_loss()) / said.deviation(known, expected.rows))
    assert 0.5 < np.std(apart) < 1.5
    assert np.abs(apart).max() < 4


@pytest.mark.parametrize(("metric", "power"), [("rmse", 2), ("mae", 1)])
def test_the_truth_of_values_counts_errors_of_any_size_as_the_expectation_does(metric: str, power: int) -> None:
    promise, scores, outcomes = promised(metric), np.array([1.0, 2.0]), np.array([1.0, 200.0])
    sums = sums_of(promise, scores, outcomes, np.zeros(2))
    lost = float(promise.losses(scores, outcomes, np.zeros(2)).sum())
    assert lost < 198.0  # at most the bound
    assert true_loss(promise, lost, sums) == pytest.approx(198.0**power / 2)


def test_of_no_usable_record_nothing_is_made_up() -> None:
    for scores in (np.zeros(0), np.full(3, np.nan), np.full(3, 1.5)):
        assert estimate(CALIBRATED, promised("log_loss"), {"score": scores}, "score", scores.size) is None


def test_an_amount_beyond_all_reason_costs_what_is_counted_at_most() -> None:
    columns = {"score": np.array([0.2, 0.9]), "amount": np.array([-1e300, 1e300])}
    assert said_of(CALIBRATED, "cost", columns).mean_loss() <= promised("cost").bound


def test_records_without_a_usable_score_count_for_nothing() -> None:
    scores = np.array([0.2, np.nan, np.inf, -0.1, 1.1])
    said = said_of(CALIBRATED, "cost", {"score": scores, "amount": np.array([np.nan] * 5)})
    assert said.rows == 1
    tree = fitted(*values(1, 1_000))
    assert said_of(tree, "mae", {"x": scores, "score": scores}).rows == 4 - 1


def test_nothing_is_expected_where_the_promise_is_of_another_kind_or_no_score_came() -> None:
    scores, _ = classes(4, 10)
    assert estimate(CALIBRATED, promised("rmse"), {"score": scores}, "score", 10) is None
    tree, columns = fitted(*values(1, 1_000)), {"x": scores, "score": scores}
    assert estimate(tree, promised("log_loss"), columns, "score", 10) is None
    assert estimate(None, promised("log_loss"), {"score": scores}, "score", 10) is None
    assert estimate(CALIBRATED, promised("log_loss"), {}, "score", 10) is None


def test_a_metric_that_is_no_mean_has_no_loss() -> None:
    said = said_of(CALIBRATED, "auc", {"score": classes(4, 100)[0]})
    assert (said.rows, said.loss, said.squares, said.variance) == (100, 0, 0, 0)


def test_estimates_of_two_kinds_do_not_add_up() -> None:
    columns, truth = values(1, 1_000)
    with pytest.raises(Invalid, match="another kind"):
        said_of(CALIBRATED, "cost", {"score": classes(4, 100)[0]}) + said_of(fitted(columns, truth), "mae", columns)
