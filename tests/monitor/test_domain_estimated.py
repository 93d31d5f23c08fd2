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
from services.monitor.domain.estimated import Estimated, estimated, from_bytes, metrics_of, to_bytes
from services.monitor.domain.performance import CostMatrix
from services.monitor.domain.promise import Promise
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
    said = estimated(expected, promised(metric), columns, "score", columns["score"].size)
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
    assert abs(said.mean_loss() - true) < 4 * said.deviation(scores.size)
    assert said.deviation(scores.size) < 0.1 * true


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
    assert true - said.mean_loss() > 100 * said.deviation(scores.size)


@given(st.lists(st.integers(0, 400), max_size=4), st.randoms())
def test_any_split_and_order_adds_up_to_the_same_bytes(cuts: list[int], random: np.random.Generator) -> None:
    scores, _ = classes(4, 400)
    columns = {"score": scores, "amount": scores * 100}
    pieces = np.split(np.arange(400), sorted(cuts))
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


def test_of_no_records_nothing_is_made_up() -> None:
    said = said_of(CALIBRATED, "log_loss", {"score": np.zeros(0)})
    assert np.isnan([said.mean_loss(), said.deviation(10)]).all()
    assert metrics_of(CALIBRATED, said) == {}


def test_records_without_a_usable_score_count_for_nothing() -> None:
    scores = np.array([0.2, np.nan, np.inf, -0.1, 1.1])
    said = said_of(CALIBRATED, "cost", {"score": scores, "amount": np.array([np.nan] * 5)})
    assert said.rows == 1
    tree = fitted(*values(1, 1_000))
    assert said_of(tree, "mae", {"x": scores, "score": scores}).rows == 4 - 1


def test_nothing_is_expected_where_the_promise_is_of_another_kind_or_no_score_came() -> None:
    scores, _ = classes(4, 10)
    assert estimated(CALIBRATED, promised("rmse"), {"score": scores}, "score", 10) is None
    assert (
        estimated(fitted(*values(1, 1_000)), promised("log_loss"), {"x": scores, "score": scores}, "score", 10) is None
    )
    assert estimated(None, promised("log_loss"), {"score": scores}, "score", 10) is None
    assert estimated(CALIBRATED, promised("log_loss"), {}, "score", 10) is None


def test_a_metric_that_is_no_mean_has_no_loss() -> None:
    said = said_of(CALIBRATED, "auc", {"score": classes(4, 100)[0]})
    assert (said.rows, said.loss, said.variance) == (100, 0, 0)


def test_estimates_of_two_kinds_do_not_add_up() -> None:
    columns, truth = values(1, 1_000)
    with pytest.raises(Invalid, match="another kind"):
        said_of(CALIBRATED, "cost", {"score": classes(4, 100)[0]}) + said_of(fitted(columns, truth), "mae", columns)
