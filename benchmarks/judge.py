"""How many rows a change takes to be noticed and to be detected, beside ADWIN at the same rate of false alarms.

25 features, 20 normal and 5 texts of ten values; one of them changes. The monitor is set to the most false alarms that
it may have, a half per day and level, with days of 50,000 rows: at least 100,000 rows between false alarms are proved.
Changes come with the first row, and in the middle of a day after a million quiet rows. Delays are medians over streams,
each with its own reference; the second level fires only above its tolerance, so most of these are never detected.

ADWIN (river, in an environment of its own) watches each feature, a text as the share of its first value; its delta is
the largest at which a million quiet rows have at most ten alarms, and the reference's rows are its past.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final

import numpy as np
from scipy.special import ndtr

from benchmarks.figures import Figure
from benchmarks.peers import environment
from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.monitor.domain.state import State
from services.profile import Column, Feature, ReferenceProfile, Window, count, profile_of
from services.profile.reference import Kind

STREAMS: Final = 15
REFERENCES: Final = (5_000, 50_000)
DAY: Final = 50_000
QUIET_DAYS: Final = 20
BATCH: Final = 16
PATIENCE: Final = 20_000  # rows after which a change counts as unseen
SETTINGS: Final = Settings(false_alarms_per_year=365)
VALUES: Final = np.array([f"v{place}" for place in range(10)], dtype=object)
MORNING: Final = datetime(2026, 1, 1, 8, tzinfo=UTC)
Change = Callable[[np.random.Generator, dict[str, Column]], dict[str, Column]]


def _text(random: np.random.Generator, rows: int, first: float) -> Column:
    shares = np.array([first, *[(1 - first) / 9] * 9])
    return random.choice(VALUES, rows, p=shares / shares.sum())


def _shift(by: float) -> Change:
    return lambda _, columns: columns | {"n00": np.asarray(columns["n00"]) + by}


def _spread(variance: float) -> Change:
    return lambda _, columns: columns | {"n00": np.asarray(columns["n00"]) * variance**0.5}


def _missing(random: np.random.Generator, columns: dict[str, Column]) -> dict[str, Column]:
    values = np.asarray(columns["n00"])
    return columns | {"n00": np.where(random.random(values.size) < 0.05, np.nan, values)}  # noqa: PLR2004 - 5 percent


def _new_value(random: np.random.Generator, columns: dict[str, Column]) -> dict[str, Column]:
    values = np.asarray(columns["t0"])
    return columns | {"t0": np.where(random.random(values.size) < 0.02, "new", values).astype(object)}  # noqa: PLR2004


CHANGES: Final[dict[str, Change]] = {
    "mean_0.1": _shift(0.1),
    "mean_0.25": _shift(0.25),
    "mean_0.5": _shift(0.5),
    "variance_1.2": _spread(1.2),
    "variance_1.5": _spread(1.5),
    "share_10_to_12_percent": lambda random, columns: columns | {"t0": _text(random, len(columns["t0"]), 0.12)},
    "new_value_2_percent": _new_value,
    "missing_5_percent": _missing,
}

ADWIN: Final = """
import json, sys
import numpy as np
from river.drift import ADWIN

def delay(delta, reference, changed):
    detector = ADWIN(delta=delta)
    for value in reference:
        detector.update(value)
    for row, value in enumerate(changed, 1):
        detector.update(value)
        if detector.drift_detected:
            return row
    return float("inf")

def alarms(delta):
    random, found = np.random.default_rng(0), 0
    for _ in range(25):
        detector = ADWIN(delta=delta)
        for value in random.normal(size=ROWS).tolist():
            detector.update(value)
            found += detector.drift_detected
    return found

ROWS = 200_000
delta = next(d for d in (2e-3, 5e-4, 1e-4, 2e-5, 5e-6, 1e-6, 1e-7) if alarms(d) <= ROWS / 100_000)
answer = {"delta": delta}
for name, make in {
    "mean_0.1": lambda r, n: r.normal(0.1, 1, n),
    "mean_0.25": lambda r, n: r.normal(0.25, 1, n),
    "mean_0.5": lambda r, n: r.normal(0.5, 1, n),
    "variance_1.2": lambda r, n: r.normal(0, 1.2**0.5, n),
    "variance_1.5": lambda r, n: r.normal(0, 1.5**0.5, n),
}.items():
    delays = []
    for seed in range(15):
        r = np.random.default_rng(seed)
        delays.append(delay(delta, r.normal(size=50_000).tolist(), make(r, 20_000).tolist()))
    answer[name] = float(np.median(delays))
r = np.random.default_rng(1)
delays = [
    delay(delta, (r.random(50_000) < 0.1).astype(float).tolist(), (r.random(20_000) < 0.12).astype(float).tolist())
    for _ in range(15)
]
answer["share_10_to_12_percent"] = float(np.median(delays))
json.dump(answer, sys.stdout)
"""


def measure() -> list[Figure]:
    """Delays of both levels by change, size of the reference, and how long it was quiet; ADWIN's beside them."""
    figures: list[Figure] = []
    for rows in REFERENCES:
        for quiet in (0, QUIET_DAYS):
            for name, change in CHANGES.items():
                delays = [_delays(np.random.default_rng([rows, seed]), rows, quiet, change) for seed in range(STREAMS)]
                figures += [
                    _figure(level, name, rows, quiet, [delay[level] for delay in delays])
                    for level in (Noticed, Detected)
                ]
    return [*figures, *_adwin()]


def _figure(level: type[Finding], change: str, rows: int, quiet: int, delays: list[float]) -> Figure:
    when = "after_quiet" if quiet else "fresh"
    name = f"monitor.{level.__name__.lower()}.{change}.{when}.{rows}"
    return Figure(name, median(delays), "rows", f"median of {STREAMS} streams; infinite: not within {PATIENCE:,} rows")


def _delays(random: np.random.Generator, rows: int, quiet: int, change: Change) -> dict[type[Finding], float]:
    judge = Judge(profile_of(_rows(random, rows)), SETTINGS)
    state = _quiet(judge, random, quiet)
    now, delays = MORNING + timedelta(days=quiet), dict.fromkeys((Noticed, Detected), float("inf"))
    for seen, window in _changed(judge.profile, random, change):
        state, found = judge.observe(state, [window], now)
        for level in {type(finding) for finding in found} & set(delays):
            delays[level] = min(delays[level], seen)
        if seen > 4 * delays[Noticed] + 1_000:
            break  # what isn't detected by now lies below the tolerance
    return delays


def _quiet(judge: Judge, random: np.random.Generator, days: int) -> State:
    """The state after some days, and half of another, in which nothing changed."""
    state = judge.begin(MORNING)
    for day in range(days):
        for windows in _null(judge.profile, random, DAY):
            state, _ = judge.observe(state, windows, MORNING + timedelta(days=day))
    if days:
        for windows in _null(judge.profile, random, DAY // 2):
            state, _ = judge.observe(state, windows, MORNING + timedelta(days=days))
    return state


def _null(profile: ReferenceProfile, random: np.random.Generator, rows: int) -> Iterator[list[Window]]:
    """Quiet rows, ten batches of a thousand at a time, drawn as the rows per bin that the true distribution gives."""
    for start in range(0, rows, 10_000):
        size = min(10, (rows - start) // 1_000)
        drawn = [random.multinomial(1_000, _chances(feature), size=size) for feature in profile.features]
        yield [Window(profile, 1_000, counts) for counts in np.concatenate(drawn, axis=1)]


def _chances(feature: Feature) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if feature.kind is Kind.CATEGORICAL:
        return np.array([0.1] * 10 + [0.0, 0.0])
    upto = np.concatenate(([0.0], ndtr(feature.edges), [1.0, 1.0]))
    return np.maximum(np.diff(upto), 0.0)


def _changed(profile: ReferenceProfile, random: np.random.Generator, change: Change) -> Iterator[tuple[int, Window]]:
    for seen in range(BATCH, PATIENCE + BATCH, BATCH):
        yield seen, count(profile, change(random, _rows(random, BATCH)))


def _rows(random: np.random.Generator, rows: int) -> dict[str, Column]:
    numbers: dict[str, Column] = {f"n{place:02}": random.normal(size=rows) for place in range(20)}
    return numbers | {f"t{place}": _text(random, rows, 0.1) for place in range(5)}


def _adwin() -> list[Figure]:
    python = environment("river", ["river==0.22.*"])
    ended = subprocess.run([python, "-c", ADWIN], check=True, capture_output=True, text=True)
    answer = json.loads(ended.stdout)
    beside = f"river ADWIN, delta {answer.pop('delta'):g}: at most one alarm in 100,000 rows of 25 features"
    return [Figure(f"monitor.adwin.{name}", rows, "rows", beside) for name, rows in answer.items()]
