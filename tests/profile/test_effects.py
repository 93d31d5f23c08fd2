"""Each effect against the library that defines it, on the same data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import spatial, stats

from services.chassis.errors import Invalid
from services.profile import count, profile_of
from services.profile.columns import Counts
from services.profile.effects import jensen_shannon, kolmogorov_smirnov, population_stability_index, wasserstein

RANDOM = np.random.default_rng(7)
CROWDED = [(RANDOM.integers(20, 500, bins), RANDOM.integers(20, 500, bins)) for bins in (2, 5, 20)]


@pytest.mark.parametrize(("reference", "window"), CROWDED)
def test_the_stability_index_is_the_symmetric_divergence_of_scipy(reference: Counts, window: Counts) -> None:
    expected = stats.entropy(window, reference) + stats.entropy(reference, window)
    assert population_stability_index(reference, window) == pytest.approx(expected)


@pytest.mark.parametrize(("reference", "window"), [*CROWDED, (np.array([5, 0, 3]), np.array([0, 4, 3]))])
def test_the_jensen_shannon_distance_is_that_of_scipy(reference: Counts, window: Counts) -> None:
    expected = spatial.distance.jensenshannon(reference, window, base=2)
    assert jensen_shannon(reference, window) == pytest.approx(expected)


def test_an_empty_bin_leaves_the_stability_index_finite() -> None:
    assert population_stability_index(np.array([100, 0]), np.array([0, 100])) == pytest.approx(2 * 0.999 * np.log(1000))


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_the_binned_kolmogorov_smirnov_distance_is_a_little_below_the_exact_one(shift: float) -> None:
    reference, window = RANDOM.normal(size=10_000), RANDOM.normal(size=10_000) + shift
    profile = profile_of({"x": reference})
    now = count(profile, {"x": window}).counts[:-1]
    exact = stats.ks_2samp(reference, window).statistic
    binned = kolmogorov_smirnov(profile.features[0].counts[:-1], now)
    assert exact - 0.02 <= binned <= exact + 1e-12


def test_kolmogorov_smirnov_is_exact_on_integers_with_a_bin_each() -> None:
    reference, window = RANDOM.integers(0, 20, 5_000), RANDOM.integers(3, 20, 5_000)
    profile = profile_of({"x": reference})
    binned = kolmogorov_smirnov(profile.features[0].counts[:-1], count(profile, {"x": window}).counts[:-1])
    assert binned == pytest.approx(stats.ks_2samp(reference, window).statistic)


def test_the_wasserstein_distance_is_that_of_scipy_on_the_bins_values() -> None:
    reference, window, values = np.array([4, 5, 1]), np.array([1, 2, 7]), np.array([-1.0, 0.5, 9.0])
    expected = stats.wasserstein_distance(values, values, reference, window) / 2.5
    assert wasserstein(reference, window, values, 2.5) == pytest.approx(expected)


def test_the_wasserstein_distance_of_a_small_shift_is_the_shift() -> None:
    reference = RANDOM.normal(size=50_000) * 3
    profile = profile_of({"x": reference})
    feature = profile.features[0]
    now = feature.count(reference + 0.9)
    assert wasserstein(feature.counts[:-1], now[:-1], feature.values, feature.deviation) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("reference", "window"),
    [
        pytest.param(np.array([1, 2]), np.array([1, 2, 3]), id="different bins"),
        pytest.param(np.array([0, 0]), np.array([1, 2]), id="an empty reference"),
        pytest.param(np.array([1, 2]), np.array([0, 0]), id="an empty window"),
    ],
)
def test_what_cannot_be_compared_is_refused(reference: Counts, window: Counts) -> None:
    with pytest.raises(Invalid):
        population_stability_index(reference, window)
