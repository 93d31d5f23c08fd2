"""How often the monitor raises a false alarm where rows depend on the rows before them: measured, and not promised.

The promise is for independent rows. Here each of 25 features follows an autoregression of its own, x = a x' + e, seen
as a number, as one with heavy tails, as one with ties, as an amount that is mostly zero, and as a text. The reference
is what came first, and a day, ten times as long, what came next. Each stream is judged at the shipped settings twice:
as it is, where evidence is discounted by what the reference's own counts vary more than independent rows would
(`services.profile.dispersion`), and without the discount.

`python -m benchmarks.monitor_autocorrelated 50` counts on 50 streams.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any, Final

import numpy as np
from scipy import signal as untyped
from scipy.special import ndtr

from benchmarks.figures import Figure
from benchmarks.monitor_nulls import BATCH, CITIES, FEATURES, SHIPPED, TIMES, Numbers, alarms, interval
from services.monitor.domain.budget import DAYS_PER_YEAR, LEVELS
from services.monitor.domain.findings import Detected, Noticed
from services.monitor.domain.judge import Judge
from services.profile import Column, ReferenceProfile, Window, count, profile_of
from services.profile.columns import slice_of

signal: Any = untyped  # its stubs lack its filters
STREAMS: Final = 200
ROWS: Final = 5_000
FROM_ROW_TO_ROW: Final = (0.0, 0.5, 0.9)  # the autoregression's a; the first is the check that nothing else alarms
TEXTS: Final = np.array(list(CITIES), dtype=object)
UPTO: Final = np.cumsum(list(CITIES.values()))[:-1]
SEEN_AS: Final[tuple[Callable[[Numbers], Column], ...]] = (
    lambda latent: latent,
    lambda latent: np.tan(np.pi * (ndtr(latent) - 0.5)),
    lambda latent: np.floor(2 * latent),
    lambda latent: np.where(latent > 1.6, np.exp(5 + latent), 0.0),  # noqa: PLR2004 - a twentieth of the rows
    lambda latent: TEXTS[UPTO.searchsorted(ndtr(latent))],
)


def measure(streams: int = STREAMS) -> list[Figure]:
    """Days with a false alarm, by how much a row depends on the one before, with the discount and without."""
    return [figure for depends in FROM_ROW_TO_ROW for figure in _rates(depends, streams)]


def _rates(depends: float, streams: int) -> Iterator[Figure]:
    found: dict[tuple[str, str], list[bool]] = {}
    discounts: list[float] = []
    for seed in range(streams):
        columns = _columns(np.random.default_rng([int(100 * depends), seed]), depends)
        profile = profile_of({name: slice_of(column, 0, ROWS) for name, column in columns.items()})
        discounts.append(float(np.mean([feature.overdispersion for feature in profile.features])))
        for name, judged in (("discounted", profile), ("undiscounted", _undiscounted(profile))):
            day = alarms(Judge(judged, SHIPPED), _day(judged, columns), expected=TIMES * ROWS)
            for level, kind in (("noticed", Noticed), ("detected", Detected)):
                found.setdefault((name, level), []).append(any(isinstance(each, kind) for each in day))
    promised = SHIPPED.false_alarms_per_year / LEVELS / DAYS_PER_YEAR
    for (name, level), days in found.items():
        low, high = interval(sum(days), streams)
        beside = (
            f"not promised ({promised:.4f} is, for independent rows): {low:.4f} to {high:.4f} (95 %), of {streams:,} "
            f"days of {TIMES * ROWS:,} rows, {FEATURES} features; the reference's discount is {median(discounts):.2f}"
        )
        yield Figure(
            f"monitor.{level}.autocorrelated.{depends:g}.{name}.days_with_a_false_alarm",
            float(np.mean(days)),
            "of days",
            beside,
        )


def _columns(random: np.random.Generator, depends: float) -> dict[str, Column]:
    shocks = random.normal(size=(FEATURES, ROWS * (1 + TIMES)))
    shocks[:, 1:] *= (1 - depends**2) ** 0.5  # so that every row has variance 1
    latent = signal.lfilter([1.0], [1.0, -depends], shocks, axis=1)
    return {f"f{place:02}": SEEN_AS[place % len(SEEN_AS)](each) for place, each in enumerate(latent)}


def _day(profile: ReferenceProfile, columns: dict[str, Column]) -> Iterator[Window]:
    for start in range(ROWS, ROWS * (1 + TIMES), BATCH):
        yield count(profile, {name: slice_of(column, start, start + BATCH) for name, column in columns.items()})


def _undiscounted(profile: ReferenceProfile) -> ReferenceProfile:
    return replace(profile, features=tuple(replace(feature, overdispersion=1.0) for feature in profile.features))


if __name__ == "__main__":
    for figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else STREAMS):
        print(figure.name, figure.value, figure.unit, figure.beside, flush=True)
