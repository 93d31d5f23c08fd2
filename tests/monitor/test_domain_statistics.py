"""The numbers beneath the judging, against scipy and against their own definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from services.chassis.errors import Invalid
from services.monitor.domain import drift
from services.monitor.domain.budget import Settings, log_threshold, log_weights
from services.monitor.domain.evidence import JEFFREYS, Predictions, averaged, combined
from services.monitor.domain.parts import Parts
from services.monitor.domain.special import divergence, log_gamma, shares_within
from services.profile import count, profile_of

RANDOM = np.random.default_rng(13)


def test_log_gamma_is_that_of_scipy() -> None:
    x = np.concatenate((np.logspace(-12, 12, 500), np.arange(0.5, 50, 0.5)))
    assert log_gamma(x) == pytest.approx(special.gammaln(x), rel=1e-12, abs=1e-12)


def test_the_divergence_is_that_of_scipy() -> None:
    p, q = RANDOM.random(50), RANDOM.random(50)
    expected = stats.entropy(np.stack([p, 1 - p]), np.stack([q, 1 - q]))
    assert divergence(p, q) == pytest.approx(expected)


def test_the_ends_of_an_interval_lie_at_its_radius() -> None:
    p, radius = RANDOM.uniform(0.1, 0.9, 50), RANDOM.uniform(0.001, 0.05, 50)
    low, high = shares_within(p, radius)
    assert divergence(p, low) == pytest.approx(radius, rel=1e-6)
    assert divergence(p, high) == pytest.approx(radius, rel=1e-6)


def test_a_share_of_nothing_has_an_interval_from_zero() -> None:
    low, high = shares_within(np.array([0.0, 1.0]), np.array([0.1, 0.1]))
    assert low[0] == 0
    assert high[1] == 1
    assert high[0] == pytest.approx(1 - np.exp(-0.1))


def test_the_evidence_is_the_ratio_of_two_dirichlet_multinomials() -> None:
    profile = profile_of({"x": np.array(list("abaab") * 20, dtype=object)})
    parts = Parts(profile)
    window = parts.collect(count(profile, {"x": np.array(["a"] * 5 + ["b"] * 15, dtype=object)}).counts)[np.newaxis]
    posterior = parts.reference[0] + JEFFREYS
    shares = posterior / posterior.sum()
    same = stats.dirichlet_multinomial(posterior, 20).pmf(window[0, 0])
    other = np.mean([stats.dirichlet_multinomial(c * shares, 20).pmf(window[0, 0]) for c in (8, 64, 512, 4096)])
    assert Predictions(parts).log_evidence(window)[0, 0] == pytest.approx(np.log(other / same))


def test_the_evidence_of_what_the_reference_predicts_is_one_on_average() -> None:
    profile = profile_of({"x": np.array(list("abaab") * 10, dtype=object)})
    parts = Parts(profile)
    posterior = np.where(parts.used()[0], parts.reference[0] + JEFFREYS, 0)
    everything = _all_splits(20, int(parts.groups[0]))
    chances = np.array([stats.dirichlet_multinomial(posterior, 20).pmf(split) for split in everything[:, 0]])
    assert np.sum(chances * np.exp(Predictions(parts).log_evidence(everything)[:, 0])) == pytest.approx(1.0)


def test_the_weights_of_all_starts_together_are_one() -> None:
    assert np.exp(log_weights(np.arange(1, 10_001))).sum() == pytest.approx(1.0, abs=1e-3)


def test_the_chances_of_all_restarts_of_a_year_of_both_levels_are_the_promise() -> None:
    day = sum(np.exp(-log_threshold(3.0, restart)) for restart in range(10_000))
    assert 2 * 365.25 * day == pytest.approx(3.0, rel=1e-3)


def test_evidence_of_starts_adds_and_of_parts_averages() -> None:
    by_start = np.log(np.array([[2.0, 8.0], [6.0, 12.0]]))
    assert np.exp(combined(by_start, np.array([1, 2]))) == pytest.approx([2 / 2 + 6 / 6, 8 / 2 + 12 / 6])
    assert np.exp(averaged(np.log(np.array([2.0, 6.0])))) == pytest.approx(4.0)


@pytest.mark.parametrize("rows", [10, 1_000, 100_000])
def test_the_index_lies_between_its_bounds(rows: int) -> None:
    profile = profile_of({"x": RANDOM.normal(size=5_000)})
    parts = Parts(profile)
    counts = parts.collect(count(profile, {"x": RANDOM.normal(0.8, size=rows)}).counts)
    bounds = drift.bounds(parts, counts, np.array([0]), np.array([-7.0]))
    assert 0 <= bounds.lower[0] <= bounds.effect[0] <= bounds.upper[0]
    assert bounds.effect[0] == pytest.approx(drift.effects(parts, counts)[0])


def test_the_bounds_close_in_on_the_index_as_both_samples_grow() -> None:
    profile = profile_of({"x": RANDOM.normal(size=500_000)})
    parts = Parts(profile)
    counts = parts.collect(count(profile, {"x": RANDOM.normal(0.8, size=500_000)}).counts)
    bounds = drift.bounds(parts, counts, np.array([0]), np.array([-7.0]))
    assert bounds.lower[0] > 0.9 * bounds.effect[0]
    assert bounds.upper[0] < 1.15 * bounds.effect[0]


def test_what_is_passed_over_as_too_fresh_has_no_lower_bound() -> None:
    profile = profile_of({"x": RANDOM.normal(size=5_000), "y": RANDOM.integers(0, 3, 5_000)})
    parts = Parts(profile)
    windows = [count(profile, {"x": RANDOM.normal(2, size=n), "y": RANDOM.integers(0, 2, n)}) for n in range(1, 60)]
    counts = parts.collect(np.stack([window.counts for window in windows]))
    starts, places = np.nonzero(~drift.worth_bounding(parts, counts, 7.0))
    lower = drift.bounds(parts, counts[starts, places], places, np.full(places.size, -7.0)).lower
    assert starts.size
    assert not lower.any()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"tolerance": 0.0}, id="no tolerance"),
        pytest.param({"tolerances": {"age": -1.0}}, id="a tolerance below zero"),
        pytest.param({"tolerance": float("nan")}, id="a tolerance that is no number"),
        pytest.param({"false_alarms_per_year": 0.0}, id="never"),
        pytest.param({"false_alarms_per_year": 1_000.0}, id="all day"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        Settings(**settings)  # type: ignore[arg-type]  # that is what is tried


def _all_splits(rows: int, groups: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    splits = [split for split in np.ndindex(*(rows + 1,) * groups) if sum(split) == rows]
    return np.array(splits, dtype=float)[:, np.newaxis]
