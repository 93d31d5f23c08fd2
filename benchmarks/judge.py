"""How many rows a change takes to be noticed and to be detected, beside ADWIN at the same rate of false alarms.

25 features, 20 normal and 5 texts of ten values; one of them changes. The monitor is set to the most false alarms that
it may have, a half per day and level, with days of 50,000 rows: at least 100,000 rows between false alarms are proved.
Changes come with the first row, and in the middle of a day after a million quiet rows, in which the alarms are counted.
Delays are medians over streams, each with its own reference; the second level fires only above its tolerance, so most
of these are never detected. The sizes of the shifts that the priors were chosen for are 0.1, 0.25 and 0.5; the others
weren't looked at before.

ADWIN (river, in an environment of its own) watches each number, and of each text the share of each value, as the
monitor does: it isn't told which will change. It sees the very rows that the monitor sees, the reference's rows are its
past, and where it was quiet a million rows more. Its delta is the one at which it would have as many false alarms as
the monitor was measured to have: alarms in two million quiet rows by delta, on a straight line in logarithms.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from scipy.special import bdtrik, ndtr

from benchmarks.figures import Figure
from benchmarks.monitor_nulls import drawn
from benchmarks.peers import environment
from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.monitor.domain.state import State
from services.profile import Column, Feature, ReferenceProfile, Window, count, profile_of
from services.profile.columns import Numbers
from services.profile.reference import Kind

STREAMS: Final = 30
REFERENCES: Final = (5_000, 50_000)
DAY: Final = 50_000
QUIET_DAYS: Final = 20
BATCH: Final = 16
SHIFTS: Final = (0.07, 0.1, 0.15, 0.25, 0.35, 0.5, 0.7)
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


def _related(_: np.random.Generator, columns: dict[str, Column]) -> dict[str, Column]:
    """Each alone is as it was."""
    values = np.asarray(columns["n00"])
    return columns | {"n01": 0.5 * values + 0.75**0.5 * np.asarray(columns["n01"])}


def _new_value(random: np.random.Generator, columns: dict[str, Column]) -> dict[str, Column]:
    values = np.asarray(columns["t0"])
    return columns | {"t0": np.where(random.random(values.size) < 0.02, "new", values).astype(object)}  # noqa: PLR2004


CHANGES: Final[dict[str, Change]] = {
    **{f"mean_{by:g}": _shift(by) for by in SHIFTS},
    "variance_1.2": _spread(1.2),
    "variance_1.5": _spread(1.5),
    "share_10_to_12_percent": lambda random, columns: columns | {"t0": _text(random, len(columns["t0"]), 0.12)},
    "new_value_2_percent": _new_value,
    "missing_5_percent": _missing,
    "correlation_0_to_0.5": _related,
}

ADWIN: Final = """
import copy, json, pathlib, sys
import numpy as np
from river.drift import ADWIN

def after(detector, values):
    detector = copy.deepcopy(detector)
    for value in values.tolist():
        detector.update(value)
    return detector

def delay(detector, changed):
    detector = copy.deepcopy(detector)
    for row, value in enumerate(changed.tolist(), 1):
        detector.update(value)
        if detector.drift_detected:
            return row
    return float("inf")

def alarms(delta):
    random, found = np.random.default_rng(0), 0
    for place in range(NUMBERS + SHARES):
        detector = ADWIN(delta=delta)
        drawn = random.normal(size=ROWS) if place < NUMBERS else (random.random(ROWS) < 0.1).astype(float)
        for value in drawn.tolist():
            detector.update(value)
            found += detector.drift_detected
    return found

NUMBERS, SHARES, ROWS, LEAST = 20, 50, 2_000_000, 3
rate, quiet_rows, folder = json.load(sys.stdin)
folder = pathlib.Path(folder)
found = {delta: alarms(delta) for delta in (2e-3, 2e-4, 2e-5)}
told = [(np.log(delta), np.log(count)) for delta, count in found.items() if count >= LEAST]
slope, level = np.polyfit(*zip(*told), 1)
delta = float(np.exp((np.log(rate * ROWS) - level) / slope))
delays = {}
for seed, stream in enumerate(sorted(folder.glob("*.npz"))):
    rows = np.load(stream)
    random = np.random.default_rng([7, seed])
    fresh = {name: after(ADWIN(delta=delta), rows[f"past.{name}"]) for name in ("n00", "t0")}
    drawn = {"n00": random.normal(size=quiet_rows), "t0": (random.random(quiet_rows) < 0.1).astype(float)}
    for when, past in (("fresh", fresh), ("after_quiet", {name: after(fresh[name], drawn[name]) for name in fresh})):
        for change in rows["changes"].tolist():
            column, values = rows[f"column.{change}"].item(), rows[f"changed.{change}"]
            delays.setdefault(f"{change}.{when}", []).append(delay(past[column], values))
answer = {"delta": delta, "alarms": found, "delays": delays}
json.dump(answer, sys.stdout)
"""


@dataclass(frozen=True)
class Stream:
    """What one reference and its stream gave.

    Args:
        delays: Rows until each level, by what changed and whether it was quiet before; infinite where it never came.
        false_alarms: Findings of either level in the quiet rows.
    """

    delays: dict[tuple[str, str], dict[type[Finding], float]]
    false_alarms: int


def measure() -> list[Figure]:
    """Delays of both levels by change, size of the reference, and how long it was quiet; ADWIN's beside them."""
    figures: list[Figure] = []
    false_alarms = 0
    for rows in REFERENCES:
        streams = [_stream(rows, seed) for seed in range(STREAMS)]
        false_alarms += sum(stream.false_alarms for stream in streams)
        figures += [
            _figure(level, name, when, rows, [stream.delays[name, when][level] for stream in streams])
            for name, when in streams[0].delays
            for level in (Noticed, Detected)
        ]
    quiet = len(REFERENCES) * STREAMS * QUIET_DAYS * DAY
    rate = Figure("monitor.false_alarms_per_million_rows", false_alarms / quiet * 1e6, "alarms", f"of {quiet:,} rows")
    return [*figures, *_limits(figures), rate, *_adwin(max(false_alarms, 1) / quiet)]


def _limits(figures: Sequence[Figure]) -> Iterator[Figure]:
    """What a small reference itself allows of a mean: its own mean errs by as much as that of so many new rows.

    If a reference without end takes m rows, then one of n rows takes as many more as make the variance of the
    difference, 1 / n and 1 / rows, what it was, 1 / m. What a reference without end takes is told from the larger one.
    """
    small, large = REFERENCES
    took = {figure.name: figure.value for figure in figures}
    for by in SHIFTS:
        name = f"monitor.noticed.mean_{by:g}.fresh"
        of_large, of_small = (took[f"{name}.{rows}"] for rows in (large, small))
        allowed = 1 / of_large + 1 / large - 1 / small
        beside = f"as {of_large:,.0f} rows with a reference of {large:,} tell; it took {of_small:,.0f}"
        yield Figure(f"{name}.{small}.allowed", 1 / allowed if allowed > 0 else float("inf"), "rows", beside)


def _figure(level: type[Finding], change: str, when: str, rows: int, delays: list[float]) -> Figure:
    name = f"monitor.{level.__name__.lower()}.{change}.{when}.{rows}"
    return Figure(name, median(delays), "rows", f"{_between(delays)}; infinite: not within {PATIENCE:,} rows")


def _between(delays: Sequence[float]) -> str:
    """The 95 % interval of a median: the binomial's ranks."""
    low = int(np.ceil(bdtrik(0.025, len(delays), 0.5)))
    ordered = sorted(delays)
    return f"median of {len(delays)} streams, {ordered[low - 1]:,.0f} to {ordered[-low]:,.0f} (95 %)"


def _stream(rows: int, seed: int) -> Stream:
    random = np.random.default_rng([rows, seed])
    judge = Judge(profile_of(_rows(random, rows)), SETTINGS)
    quiet, false_alarms = _quiet(judge, random, QUIET_DAYS)
    before = {"fresh": (judge.begin(MORNING), MORNING), "after_quiet": (quiet, MORNING + timedelta(days=QUIET_DAYS))}
    delays = {
        (name, when): _delays(np.random.default_rng([rows, seed, place]), judge, *before[when], change)
        for place, (name, change) in enumerate(CHANGES.items())
        for when in before
    }
    return Stream(delays, false_alarms)


def _delays(
    random: np.random.Generator, judge: Judge, state: State, now: datetime, change: Change
) -> dict[type[Finding], float]:
    delays = dict.fromkeys((Noticed, Detected), float("inf"))
    for seen, window in _changed(judge.profile, random, change):
        state, found = judge.observe(state, [window], now)
        for level in {type(finding) for finding in found} & set(delays):
            delays[level] = min(delays[level], seen)
        if seen > 4 * delays[Noticed] + 1_000:
            break  # what isn't detected by now lies below the tolerance
    return delays


def _quiet(judge: Judge, random: np.random.Generator, days: int) -> tuple[State, int]:
    """The state after some days, and half of another, in which nothing changed; how often it alarmed on the days."""
    state, alarms = judge.begin(MORNING), 0
    for day in range(days):
        for windows in _null(judge.profile, random, DAY):
            state, found = judge.observe(state, windows, MORNING + timedelta(days=day))
            alarms += len(found)
    for windows in _null(judge.profile, random, DAY // 2):
        state, _ = judge.observe(state, windows, MORNING + timedelta(days=days))
    return state, alarms


def _null(profile: ReferenceProfile, random: np.random.Generator, rows: int) -> Iterator[list[Window]]:
    """Quiet rows, ten batches of a thousand at a time, drawn as the rows per bin that the true distribution gives."""
    chances = [_chances(feature) for feature in profile.features]
    for start in range(0, rows, 10_000):
        yield list(drawn(random, profile, chances, min(10, (rows - start) // 1_000), 1_000))


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


def _adwin(false_alarms_per_row: float) -> list[Figure]:
    python = environment("river", ["river==0.22.*"])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for seed in range(STREAMS):
            np.savez(Path(folder) / f"{seed:03}.npz", allow_pickle=False, **_seen_by_adwin(REFERENCES[-1], seed))
        asked = json.dumps([false_alarms_per_row, QUIET_DAYS * DAY, folder])
        ended = subprocess.run([python, "-c", ADWIN], check=True, capture_output=True, text=True, input=asked)
    answer = json.loads(ended.stdout)
    beside = (
        f"river ADWIN, delta {answer['delta']:.2g}, for as many false alarms as the monitor's; alarms in 2,000,000 "
        f"quiet rows by delta: {answer['alarms']}"
    )
    return [
        Figure(f"monitor.adwin.{name}", median(delays), "rows", f"{_between(delays)}; {beside}")
        for name, delays in answer["delays"].items()
    ]


def _seen_by_adwin(rows: int, seed: int) -> dict[str, Any]:
    """What it sees of a stream: the column that changes, or the share of a text's value, before and after."""
    past = _rows(np.random.default_rng([rows, seed]), rows)
    seen: dict[str, Any] = {f"past.{name}": _as_numbers(past[name]) for name in ("n00", "t0")}
    changes = [name for name in CHANGES if name.startswith(("mean", "variance", "share"))]
    for place, (name, change) in enumerate(CHANGES.items()):
        if name in changes:
            random, column = np.random.default_rng([rows, seed, place]), "t0" if name.startswith("share") else "n00"
            pieces = [change(random, _rows(random, BATCH))[column] for _ in range(PATIENCE // BATCH)]
            seen[f"column.{name}"] = np.array(column)
            seen[f"changed.{name}"] = np.concatenate([_as_numbers(piece) for piece in pieces])
    return seen | {"changes": np.array(changes)}


def _as_numbers(column: Column) -> Numbers:
    values = np.asarray(column)
    return (values == VALUES[0]).astype(np.float64) if values.dtype.kind == "O" else values.astype(np.float64)
