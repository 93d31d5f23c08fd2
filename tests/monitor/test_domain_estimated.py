"""Performance without outcomes: near the truth where its assumptions hold, and blind where they don't."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

from services.chassis.errors import Invalid
from services.monitor.domain.estimated import calibrated, counted, estimate
from services.monitor.domain.performance import EDGES, bins_of, tally
from services.profile.columns import Numbers

THRESHOLD = 0.3


def made(seed: int, rows: int, shift: float = 0.0) -> tuple[Numbers, Numbers]:
    """Scores that say too much: the truth lies between them and a tenth. A shift moves the inputs, not the concept."""
    random = np.random.default_rng(seed)
    scores = random.beta(1 + shift, 6, rows)
    return scores, (random.random(rows) < 0.7 * scores + 0.03).astype(float)


def test_it_is_near_the_truth_though_inputs_move() -> None:
    reference = calibrated(tally(*made(1, 100_000)))
    scores, outcomes = made(2, 100_000, shift=1.5)
    said, decided = estimate(reference, counted(scores, THRESHOLD)), scores >= THRESHOLD
    assert said.precision == pytest.approx(metrics.precision_score(outcomes, decided), abs=0.01)
    assert said.recall == pytest.approx(metrics.recall_score(outcomes, decided), abs=0.01)
    assert said.accuracy == pytest.approx(metrics.accuracy_score(outcomes, decided), abs=0.01)
    assert said.auc == pytest.approx(metrics.roc_auc_score(outcomes, scores), abs=0.01)
    assert said.average_precision == pytest.approx(metrics.average_precision_score(outcomes, scores), abs=0.02)


def test_it_is_blind_where_the_concept_moves() -> None:
    reference = calibrated(tally(*made(1, 100_000)))
    scores, outcomes = made(2, 100_000)
    turned = np.where(scores < 0.05, 1.0, outcomes)  # a fraud that looks genuine
    said, decided = estimate(reference, counted(scores, THRESHOLD)), scores >= THRESHOLD
    assert said.recall > 0.2
    assert metrics.recall_score(turned, decided) < 0.5 * said.recall


def test_the_calibration_is_scikit_learns_isotonic_regression_on_the_bins() -> None:
    scores, outcomes = made(3, 5_000)
    likely = calibrated(tally(scores, outcomes)).likely
    on_bins = np.concatenate(([0.0], EDGES))[bins_of(scores)]
    isotonic = IsotonicRegression()  # type: ignore[no-untyped-call]  # it ships no types
    expected = isotonic.fit(on_bins, outcomes).predict(on_bins)
    np.testing.assert_allclose(likely[bins_of(scores)], expected, atol=1e-12)
    assert (np.diff(likely) >= 0).all()


def test_counts_of_parts_add_up_to_the_estimate_of_all() -> None:
    reference = calibrated(tally(*made(1, 5_000)))
    scores, _ = made(4, 1_000)
    parts = counted(scores[:300], THRESHOLD) + counted(scores[300:], THRESHOLD)
    assert estimate(reference, parts) == estimate(reference, counted(scores, THRESHOLD))


def test_of_no_records_nothing_is_made_up() -> None:
    said = estimate(calibrated(tally(*made(1, 500))), counted(np.zeros(0), THRESHOLD))
    assert np.isnan([said.precision, said.recall, said.accuracy, said.auc, said.average_precision]).all()


def test_one_outcome_alone_calibrates_nothing() -> None:
    with pytest.raises(Invalid):
        calibrated(tally(np.array([0.2, 0.4]), np.zeros(2)))
    with pytest.raises(Invalid):
        counted(np.array([np.nan]), THRESHOLD)
