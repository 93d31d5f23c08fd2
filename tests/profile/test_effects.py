"""Each effect against the library that defines it, on the same data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import spatial, special, stats

from services.chassis.errors import Invalid
from services.profile import count, profile_of
from services.profile.columns import Counts, Numbers
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


def rounded(values: Numbers) -> Numbers:
    return np.round(values * 3)


MAKERS: dict[str, Callable[[Numbers], Numbers]] = {
    "normal": lambda normal: normal,
    "heavy-tailed": lambda normal: np.tan(np.pi * (special.ndtr(normal) - 0.5)),
    "tied": rounded,
    "mostly zero": lambda normal: np.where(normal > 1.5, np.exp(normal), 0.0),
    "constant": np.zeros_like,
    "with infinities": lambda normal: np.where(normal > 2, np.inf, np.where(normal < -2, -np.inf, normal)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_the_binned_kolmogorov_smirnov_distance_is_below_the_exact_one_by_no_more_than_a_bin(
    make: Callable[[Numbers], Numbers], shift: float
) -> None:
    """Between two edges the difference of the two cumulative shares is at most the larger of their shares there."""
    reference, window = make(RANDOM.normal(size=10_000)), make(RANDOM.normal(size=10_000) + shift)
    feature = profile_of({"x": reference}).features[0]
    now = feature.count(window)[:-1]
    shares = np.maximum(feature.counts[:-1], now) / 10_000
    inside = shares * ~_single(feature.edges)
    exact = stats.ks_2samp(reference, window).statistic
    binned = kolmogorov_smirnov(feature.counts[:-1], now)
    assert exact - inside.max() - 1e-12 <= binned <= exact + 1e-12


@pytest.mark.parametrize("kind", ["normal", "heavy-tailed", "mostly zero"])
@pytest.mark.parametrize("rows", [500, 5_000, 10_000, 50_000])
def test_at_no_change_the_bins_lose_what_a_sixtieth_of_the_rows_can_hide(rows: int, kind: str) -> None:
    """The stated bound: 4 sqrt(1 / 116 n) + 2 / n, 0.0039 at n = 10,000, whatever the tails."""
    random, lost = np.random.default_rng(rows), []
    for _ in range(20):
        reference, window = (MAKERS[kind](random.normal(size=rows)) for _ in range(2))
        feature = profile_of({"x": reference}).features[0]
        binned = kolmogorov_smirnov(feature.counts[:-1], feature.count(window)[:-1])
        lost.append(stats.ks_2samp(reference, window, method="asymp").statistic - binned)
    # Within a bin that holds a share b, the difference of two samples of n is a bridge of deviation sqrt(b / 2n).
    assert min(lost) >= -1e-12
    assert max(lost) <= 4 * np.sqrt(1 / 58 / 2 / rows) + 2 / rows


def test_kolmogorov_smirnov_is_exact_on_integers_with_a_bin_each() -> None:
    reference, window = RANDOM.integers(0, 20, 5_000), RANDOM.integers(3, 20, 5_000)
    profile = profile_of({"x": reference})
    binned = kolmogorov_smirnov(profile.features[0].counts[:-1], count(profile, {"x": window}).counts[:-1])
    assert binned == pytest.approx(stats.ks_2samp(reference, window).statistic)


@pytest.mark.parametrize(
    "make", [MAKERS["normal"], MAKERS["tied"], MAKERS["mostly zero"]], ids=["normal", "tied", "zero"]
)
def test_the_binned_wasserstein_distance_is_the_exact_one_but_for_the_width_of_bins(
    make: Callable[[Numbers], Numbers],
) -> None:
    """Moving every row to its bin's value moves none further than that bin is wide, in either sample."""
    reference, window = make(RANDOM.normal(size=20_000)), make(RANDOM.normal(size=20_000) + 0.5)
    feature = profile_of({"x": reference}).features[0]
    now = feature.count(window)
    places = [np.searchsorted(feature.edges, values, side="left") for values in (reference, window)]
    away = [np.abs(v - feature.values[p]).mean() for v, p in zip((reference, window), places, strict=True)]
    exact = stats.wasserstein_distance(reference, window)
    binned = wasserstein(feature.counts[:-1], now[:-1], feature.values, 1.0)
    assert abs(binned - exact) <= sum(away) + 1e-12
    assert sum(away) < 0.07 * feature.deviation  # seen: 0.06 of a normal feature


def test_the_wasserstein_distance_is_that_of_scipy_on_the_bins_values() -> None:
    reference, window, values = np.array([4, 5, 1]), np.array([1, 2, 7]), np.array([-1.0, 0.5, 9.0])
    expected = stats.wasserstein_distance(values, values, reference, window) / 2.5
    assert wasserstein(reference, window, values, 2.5) == pytest.approx(expected)


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(np.array([3.0]), id="one row"),
        pytest.param(np.full(100, 3.0), id="one value"),
        pytest.param(np.full(100, np.nan), id="wholly missing"),
        pytest.param(np.array([np.inf, -np.inf, np.nan, 3.0]), id="hardly a finite one"),
    ],
)
def test_every_effect_is_finite_against_a_reference_that_says_little(reference: Numbers) -> None:
    feature = profile_of({"x": reference}).features[0]
    now = feature.count(np.array([np.nan, np.inf, -np.inf, 0.0, 3.0, 3.0, 1e308]))
    found = [population_stability_index(feature.counts, now), jensen_shannon(feature.counts, now)]
    found.append(kolmogorov_smirnov(feature.counts, now))
    found.append(wasserstein(feature.counts, now, np.append(feature.values, feature.values[-1]), feature.deviation))
    assert np.all(np.isfinite(found))
    assert min(found) >= 0


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


def _single(edges: Numbers) -> NDArray[np.bool_]:
    """Which bins hold but one value, or lie beyond all: there the binned distance loses nothing."""
    inner = np.diff(edges) <= np.spacing(np.abs(edges[1:])) * 1.5
    return np.concatenate(([False], inner, [False]))
