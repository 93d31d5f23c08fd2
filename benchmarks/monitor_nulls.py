"""The monitor's false alarms, counted: streams in which nothing changes, each with a reference of its own.

1,000 streams of 25 features, five each of normal, heavy-tailed, tied, mostly zero, and text; references of 5,000 and of
50,000 rows, and ten times as many rows after each, which make a day. The reference is drawn row by row and profiled as
a registry would. After that only counts matter, so a batch of 1,000 rows is drawn as the rows per bin of the profile,
by the chances that the true distribution gives each bin: the same numbers as from rows, for a hundredth of the time.

At the most false alarms that a model may have (365 a year) the promise is a chance of a half per day and level, and
counting tells something; there the tolerance is next to nothing too, so that `drift.detected` stands on its bounds
alone. At the shipped settings one stream in 730 may alarm at each level.

`python -m benchmarks.monitor_nulls 50` counts on 50 streams.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.figures import Figure
from services.monitor.domain.budget import DAYS_PER_YEAR, LEVELS, Settings
from services.monitor.domain.findings import Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.profile import Column, Feature, Kind, ReferenceProfile, Window, profile_of
from services.profile.columns import Counts
from services.profile.relations import NO_CUT, packed

STREAMS = 1_000
FEATURES = 25
REFERENCES = (5_000, 50_000)
TIMES = 10  # as many rows after a reference as in it
BATCH = 1_000
POLL = 10  # batches
AMOUNTS = 0.05  # of the rows have one: as many as have capital gains
CITIES = {"Rome": 0.4, "Oslo": 0.24, "Bern": 0.144, "Riga": 0.216}
LOUD = Settings(tolerance=0.001, false_alarms_per_year=365)
SHIPPED = Settings()
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """A distribution, by its rows and by its cumulative distribution function (None: text)."""

    name: str
    rows: Callable[[np.random.Generator, int], Column]
    cdf: Callable[[Numbers], Numbers] | None = None


def _amount_cdf(values: Numbers) -> Numbers:
    above = special.ndtr(np.log(np.maximum(values, 1e-300)) - 5)
    return np.asarray(np.where(values >= 0, 1 - AMOUNTS + AMOUNTS * above, 0.0))


def _cauchy_cdf(values: Numbers) -> Numbers:
    return np.asarray(0.5 + np.arctan(values) / np.pi)


def _poisson_cdf(values: Numbers) -> Numbers:
    return np.asarray(np.where(values >= 0, special.pdtr(np.floor(values), 2.0), 0.0))


SOURCES = (
    Source("normal", lambda random, rows: random.normal(size=rows), special.ndtr),
    Source("heavy_tailed", lambda random, rows: random.standard_cauchy(rows), _cauchy_cdf),
    Source("tied", lambda random, rows: random.poisson(2.0, rows), _poisson_cdf),
    Source(
        "mostly_zero",
        lambda random, rows: np.where(random.random(rows) < AMOUNTS, random.lognormal(5, 1, rows), 0.0),
        _amount_cdf,
    ),
    Source(
        "text",
        lambda random, rows: random.choice(np.array(list(CITIES), dtype=object), rows, p=list(CITIES.values())),
    ),
)


def measure(streams: int = STREAMS) -> list[Figure]:
    """The measured rate of each level against the promised one."""
    return [figure for rows in REFERENCES for figure in _rates(rows, streams)]


def null_profile(random: np.random.Generator, rows: int, features: int = FEATURES) -> ReferenceProfile:
    """The profile of a reference of its own."""
    return profile_of({f"f{place:02}": _source(place).rows(random, rows) for place in range(features)})


def batches(random: np.random.Generator, profile: ReferenceProfile, count: int, rows: int = BATCH) -> Iterator[Window]:
    """Batches of what the reference came from."""
    chances = [_chances(_source(place), feature) for place, feature in enumerate(profile.features)]
    yield from drawn(random, profile, chances, count, rows)


def drawn(
    random: np.random.Generator, profile: ReferenceProfile, chances: Sequence[Numbers], count: int, rows: int
) -> Iterator[Window]:
    """Batches of features that have nothing to do with each other, by the chance of each bin.

    How many rows go together follows from the bins, too: which of a batch's rows lie on a feature's upper side is any
    choice of as many as its bins hold there.
    """
    counts = [random.multinomial(rows, each, size=count) for each in chances]
    for batch in range(count):
        sides = np.array([_sides(profile, place, each[batch], rows) for place, each in enumerate(counts)])
        together = profile.relations.count(packed(random.permuted(sides, axis=1)), rows)
        yield Window(profile, rows, np.concatenate([*(each[batch] for each in counts), together]))


def _sides(profile: ReferenceProfile, place: int, bins: Counts, rows: int) -> NDArray[np.bool_]:
    """As many rows on the upper side of a feature as its bins hold there, the first ones."""
    cut, feature = int(profile.relations.cuts[place]), profile.features[place]
    if cut == NO_CUT:
        return np.zeros(rows, dtype=bool)
    above = bins[0] if feature.kind is Kind.CATEGORICAL else bins[cut + 1 : -1].sum()
    return np.asarray(np.arange(rows) < above)


def alarms(judge: Judge, windows: Iterable[Window], expected: int = 0) -> list[Finding]:
    """All that a judge finds in a day: evidence grows by each batch, and every ten are looked at.

    Args:
        judge: The judge.
        windows: The day's batches.
        expected: How many records the day before had; 0: it is the first.
    """
    state, rest = replace(judge.begin(NOON), expected=expected), iter(windows)
    found: list[Finding] = []
    while polled := list(islice(rest, POLL)):
        state, findings = judge.observe(state, polled, NOON)
        found += findings
    return found


def _source(place: int) -> Source:
    return SOURCES[place % len(SOURCES)]


def _chances(source: Source, feature: Feature) -> Numbers:
    """What each bin holds of the true distribution."""
    if source.cdf is None or feature.kind is Kind.CATEGORICAL:
        return np.array([*(CITIES[text] for text in feature.categories), 0.0, 0.0])
    upto = np.concatenate(([0.0], source.cdf(feature.edges), [1.0, 1.0]))
    return np.maximum(np.diff(upto), 0.0)


DAYS = {"loud": (LOUD, False), "loud_established": (LOUD, True), "shipped": (SHIPPED, True)}


def _rates(rows: int, streams: int) -> Iterator[Figure]:
    found: dict[tuple[str, str], list[int]] = {}
    for seed in range(streams):
        random = np.random.default_rng([rows, seed])
        profile = null_profile(random, rows)
        windows = list(batches(random, profile, TIMES * rows // BATCH))
        for name, (settings, established) in DAYS.items():
            day = alarms(Judge(profile, settings), windows, expected=TIMES * rows if established else 0)
            found.setdefault((name, "noticed"), []).append(sum(isinstance(each, Noticed) for each in day))
            found.setdefault((name, "detected"), []).append(sum(isinstance(each, Detected) for each in day))
    for (name, level), counts in found.items():
        promised = DAYS[name][0].false_alarms_per_year / LEVELS / DAYS_PER_YEAR
        low, high = interval(int(np.count_nonzero(counts)), streams)
        beside = (
            f"promised at most {promised:.4f}; days with one: {low:.4f} to {high:.4f} (95 %), of {streams:,} days of "
            f"{TIMES * rows:,} rows, {FEATURES} features, each with its own reference of {rows:,} rows"
        )
        yield Figure(
            f"monitor.{level}.{name}.{rows}.false_alarms_per_day", float(np.mean(counts)), "alarms/day", beside
        )


def interval(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share: Clopper and Pearson (1934)."""
    low = special.betaincinv(hits, of - hits + 1, 0.025) if hits else 0.0
    high = special.betaincinv(hits + 1, of - hits, 0.975) if hits < of else 1.0
    return float(low), float(high)


if __name__ == "__main__":
    for figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else STREAMS):
        print(figure.name, figure.value, figure.unit, figure.beside, flush=True)
