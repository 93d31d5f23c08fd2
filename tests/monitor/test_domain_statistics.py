"""The numbers beneath the judging, against scipy and against their own definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from services.chassis.errors import Invalid
from services.monitor.domain.budget import Settings, log_threshold, weights
from services.monitor.domain.drift import Drift
from services.monitor.domain.evidence import SHIFTS, Alternatives
from services.monitor.domain.measures import MEASURES, Measure
from services.monitor.domain.parts import Parts
from services.monitor.domain.special import divergence, log_gamma, shares_within
from services.profile import Column, count, profile_of
from services.profile.effects import jensen_shannon, kolmogorov_smirnov, population_stability_index, wasserstein

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


ALTERNATIVES = [
    pytest.param(np.array(list("abaabcab") * 10, dtype=object), id="text"),
    pytest.param(np.arange(60.0) % 3, id="tied numbers"),
]


@pytest.mark.parametrize("column", ALTERNATIVES)
@pytest.mark.parametrize("before", [0, 3])
def test_a_batch_of_what_the_reference_predicts_multiplies_no_evidence_by_more_than_one(
    column: Column, before: int
) -> None:
    """Exactly: over all that a batch may hold, by the chance of each when the reference is all that is known."""
    parts = Parts(profile_of({"x": column}))
    alternatives = Alternatives(parts)
    known = alternatives._known[0]
    held, rows = np.zeros((1, known.size)), 6
    held[0, 1] = before
    batches = _all_splits(rows, known.size)
    chances = np.array([stats.dirichlet_multinomial(known + held[0], rows).pmf(batch) for batch in batches[:, 0]])
    ratios = np.exp([alternatives.log_ratios(held, batch[np.newaxis])[0, 0] for batch in batches])
    assert chances.sum() == pytest.approx(1.0)
    assert (chances @ ratios).max() <= 1.0 + 1e-12
    assert (chances @ ratios).min() > 0.5  # and hardly less: what Jensen's inequality takes is little


def test_the_prior_of_each_parts_alternatives_is_one() -> None:
    columns: dict[str, Column] = {"x": RANDOM.normal(size=500), "y": RANDOM.choice(list("ab"), 500), "z": np.zeros(500)}
    assert Alternatives(Parts(profile_of(columns))).prior.sum(axis=1) == pytest.approx(1.0)


def test_the_evidence_is_the_sum_over_all_starts_of_what_came_after_them() -> None:
    parts = Parts(profile_of({"x": RANDOM.normal(size=500)}))
    alternatives = Alternatives(parts)
    batches = [parts.effective(RANDOM.multinomial(50, parts.reference[0] / parts.reference[0].sum())) for _ in range(3)]
    kept = np.array([0.5, 0.2, 0.1])
    ratios = alternatives.log_ratios(np.zeros_like(parts.reference), np.stack(batches))
    evidence = alternatives.grown(alternatives.begin(), np.zeros_like(parts.reference), np.stack(batches), kept)[-1]
    expected = sum(kept[start] * np.exp(ratios[start:].sum(axis=0)) for start in range(3))
    assert evidence == pytest.approx(expected)


def test_a_small_shift_is_the_alternative_that_gains_most_where_one_happened() -> None:
    parts = Parts(profile_of({"x": RANDOM.normal(size=50_000)}))
    judged = Alternatives(parts)
    moved = parts.parts[0].feature.count(RANDOM.normal(0.25, size=5_000))
    batch = parts.effective(parts.collect(moved))
    ratios = judged.log_ratios(np.zeros_like(batch), batch[np.newaxis])[0, 0]
    assert int(np.argmax(ratios)) == 2 * list(SHIFTS).index(0.25)


@pytest.mark.parametrize("expected", [0, 1_000])
@pytest.mark.parametrize("rows", [1, 64, 999])
def test_what_is_kept_for_all_starts_together_is_at_most_one(rows: int, expected: int) -> None:
    kept = weights(np.arange(0, 5_000_000, rows), rows, expected).sum()
    assert 0.99 < kept <= 1.0


def test_the_chances_of_all_restarts_of_a_year_of_both_levels_are_the_promise() -> None:
    day = sum(np.exp(-log_threshold(3.0, restart)) for restart in range(10_000))
    assert 2 * 365.25 * day == pytest.approx(3.0, rel=1e-3)


def judged(*columns: Column, window: Sequence[Column]) -> tuple[Parts, np.ndarray[Any, np.dtype[np.float64]]]:
    """The parts of a reference, and a window's effective rows, as one start."""
    profile = profile_of({f"x{place}": column for place, column in enumerate(columns)})
    parts = Parts(profile)
    counts = count(profile, {f"x{place}": column for place, column in enumerate(window)}).counts
    return parts, parts.effective(parts.collect(counts))[np.newaxis]


MIXED = (RANDOM.normal(size=5_000), RANDOM.choice(list("abcde"), 5_000), RANDOM.poisson(1.0, 5_000))


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize("rows", [10, 1_000, 100_000])
def test_every_effect_lies_between_its_bounds(rows: int, measure: Measure) -> None:
    now = (RANDOM.normal(0.8, size=rows), RANDOM.choice(list("abcf"), rows), np.full(rows, np.nan))
    parts, counts = judged(*MIXED, window=now)
    drift = Drift(parts, measure)
    places = np.arange(len(parts))
    bounds = drift.bounds(counts, np.zeros_like(places), places, np.full(places.size, -7.0))
    assert np.all(bounds.lower >= 0)
    assert np.all(bounds.lower <= bounds.effect)
    assert np.all(bounds.effect <= bounds.upper)
    assert bounds.effect == pytest.approx(drift.effects(counts)[0])


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_the_bounds_close_in_on_the_effect_as_both_samples_grow(measure: Measure) -> None:
    parts, counts = judged(RANDOM.normal(size=500_000), window=[RANDOM.normal(0.8, size=500_000)])
    bounds = Drift(parts, measure).bounds(counts, np.array([0]), np.array([0]), np.array([-7.0]))
    assert bounds.lower[0] > 0.9 * bounds.effect[0]
    assert bounds.upper[0] < 1.15 * bounds.effect[0]


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_the_effect_on_the_parts_of_a_number_is_that_of_its_groups(measure: Measure) -> None:
    parts, counts = judged(MIXED[0], window=[RANDOM.normal(0.5, size=9_000)])
    before, now = (
        np.round(each * parts.parts[0].feature.overdispersion) for each in (parts.reference[0], counts[0, 0])
    )
    values, deviation = parts.parts[0].values(), parts.parts[0].feature.deviation
    by_name = {
        "psi": population_stability_index(before, now),
        "js": jensen_shannon(before, now),
        "ks": kolmogorov_smirnov(before, now),
        "wasserstein": wasserstein(before[:-1], now[:-1], values, deviation),
    }
    assert Drift(parts, measure).effects(counts)[0, 0] == pytest.approx(by_name[measure.name])


@pytest.mark.parametrize("measure", [MEASURES["ks"], MEASURES["wasserstein"]], ids=["ks", "wasserstein"])
def test_of_categories_it_is_the_share_that_would_have_to_change(measure: Measure) -> None:
    parts, counts = judged(np.array(["a", "b"] * 50), window=[np.array(["a"] * 30 + ["b"] * 50 + ["c"] * 20)])
    assert Drift(parts, measure).effects(counts)[0, 0] == pytest.approx(0.2)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_lower_bound_fails_no_more_often_than_its_chance(measure: Measure) -> None:
    """The effect of the true shares is below the lower bound, at any of many looks, in at most a tenth of the runs."""
    failed, runs, random = 0, 200, np.random.default_rng(3)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    for _ in range(runs):
        column = random.choice(list("abcd"), 400, p=shares)
        parts, _ = judged(column, window=[column])
        drift = Drift(parts, measure)
        rows = np.cumsum([random.multinomial(40, np.roll(shares, 1)) for _ in range(25)], axis=0)
        names = [parts.parts[0].feature.categories.index(name) for name in "abcd"]
        counts = np.zeros((25, 1, parts.width))
        counts[:, 0, names] = rows
        truth = np.zeros(parts.width)
        truth[names] = shares
        now = np.zeros(parts.width)
        now[names] = np.roll(shares, 1)
        exact = float(drift._yardstick.between(truth[np.newaxis], now[np.newaxis], slice(None))[0])
        bounds = drift.bounds(counts, np.arange(25), np.zeros(25, np.int64), np.full(25, np.log(0.1)))
        failed += bool(np.any(bounds.lower > exact) or np.any(bounds.upper < exact))
    assert failed <= 0.1 * runs


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_what_is_passed_over_as_too_fresh_has_no_lower_bound(measure: Measure) -> None:
    profile = profile_of({"x": RANDOM.normal(size=5_000), "y": RANDOM.integers(0, 3, 5_000)})
    parts, drift = Parts(profile), Drift(Parts(profile), measure)
    windows = [count(profile, {"x": RANDOM.normal(2, size=n), "y": RANDOM.integers(0, 2, n)}) for n in range(1, 60)]
    counts = parts.effective(np.stack([parts.collect(window.counts) for window in windows]))
    starts, places = (each.ravel() for each in np.indices(counts.shape[:2]))
    chances = np.full(starts.size, -7.0)
    fresh = ~drift.may_differ(counts, starts, places, chances)
    lower = drift.bounds(counts, starts, places, chances).lower
    assert 0 < np.count_nonzero(fresh) < fresh.size
    assert not lower[fresh].any()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"tolerance": 0.0}, id="no tolerance"),
        pytest.param({"tolerances": {"age": -1.0}}, id="a tolerance below zero"),
        pytest.param({"effect": "hellinger"}, id="an effect that isn't judged"),
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
