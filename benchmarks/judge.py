"""The monitor's judge: false alarms on null streams, rows until a change is seen, rows per CPU second.

Each null stream has its own reference of 5,000 rows and twenty times as many rows after it, in a day: 25 features,
five each of normal, heavy-tailed, tied, mostly zero, and text. The measured share of streams with an alarm stands
beside the promised one. Delays are medians over streams, with a change in one of the 25 features after 10,000 quiet
rows; the second level fires only above its tolerance, so a shift of half a deviation is noticed and not detected.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

import numpy as np

from benchmarks.figures import Figure
from services.monitor.domain.budget import DAYS_PER_YEAR, Settings
from services.monitor.domain.findings import Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.profile import Column, count, profile_of

STREAMS = 100
CHANGED_STREAMS = 15
REFERENCE_ROWS = 5_000
ROWS = 100_000
QUIET_ROWS = 10_000
BATCH = 1_000
FINE_BATCH = 100
AMOUNTS = 0.05  # of the rows have one: as many as have capital gains
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Change = Callable[[dict[str, Column]], dict[str, Column]]

CHANGES: dict[str, Change] = {
    "mean_half_sigma": lambda columns: columns | {"f00": np.asarray(columns["f00"]) + 0.5},
    "mean_one_sigma": lambda columns: columns | {"f00": np.asarray(columns["f00"]) + 1.0},
    "amount_in_cents": lambda columns: columns | {"f03": np.asarray(columns["f03"]) * 100},
    "text_stuck": lambda columns: columns | {"f04": np.full(len(columns["f04"]), "Rome", dtype=object)},
}


def measure() -> list[Figure]:
    """False alarms, delays, speed."""
    return [*_false_alarms(), *_delays(), _speed()]


def _stream(random: np.random.Generator, rows: int) -> dict[str, Column]:
    cities = np.array(["Rome", "Oslo", "Bern", "Riga"], dtype=object)
    columns: dict[str, Column] = {}
    for place in range(0, 25, 5):
        columns[f"f{place:02}"] = random.normal(size=rows)
        columns[f"f{place + 1:02}"] = random.standard_cauchy(rows)
        columns[f"f{place + 2:02}"] = random.poisson(2.0, rows)
        columns[f"f{place + 3:02}"] = np.where(random.random(rows) < AMOUNTS, random.lognormal(5, 1, rows), 0.0)
        columns[f"f{place + 4:02}"] = cities[np.minimum(random.geometric(0.4, rows) - 1, 3)]
    return columns


def _judged(judge: Judge, columns: dict[str, Column], batch: int) -> list[tuple[int, Finding]]:
    state = judge.begin(NOON)
    found: list[tuple[int, Finding]] = []
    for start in range(0, len(columns["f00"]), batch):
        piece = {name: np.asarray(column)[start : start + batch] for name, column in columns.items()}
        state, findings = judge.observe(state, [count(judge.profile, piece)], NOON)
        found += [(start + batch, finding) for finding in findings]
    return found


def _false_alarms() -> list[Figure]:
    noticed = detected = 0
    for seed in range(STREAMS):
        random = np.random.default_rng(seed)
        judge = Judge(profile_of(_stream(random, REFERENCE_ROWS)), Settings())
        found = _judged(judge, _stream(random, ROWS), BATCH)
        noticed += any(isinstance(finding, Noticed) for _, finding in found)
        detected += any(isinstance(finding, Detected) for _, finding in found)
    promised = f"promised: {1 / DAYS_PER_YEAR / 2:.4f} a day and level; {STREAMS} days of {ROWS:,} rows"
    return [
        Figure("monitor.noticed.false_alarms", noticed / STREAMS, "alarms/day", promised),
        Figure("monitor.detected.false_alarms", detected / STREAMS, "alarms/day", promised),
    ]


def _delays() -> list[Figure]:
    figures = []
    for name, change in CHANGES.items():
        seen: dict[type[Finding], list[float]] = {Noticed: [], Detected: []}
        for seed in range(CHANGED_STREAMS):
            random = np.random.default_rng(seed)
            judge = Judge(profile_of(_stream(random, 10 * REFERENCE_ROWS)), Settings())
            quiet, changed = _stream(random, QUIET_ROWS), change(_stream(random, QUIET_ROWS))
            columns: dict[str, Column] = {
                each: np.concatenate([np.asarray(quiet[each]), np.asarray(changed[each])]) for each in quiet
            }
            found = _judged(judge, columns, FINE_BATCH)
            for kind, delays in seen.items():
                after = [rows - QUIET_ROWS for rows, finding in found if isinstance(finding, kind)]
                delays.append(min((rows for rows in after if rows > 0), default=float("inf")))
        figures += [
            Figure(f"monitor.{kind.__name__.lower()}.{name}", median(delays), "rows", "median; infinite: never")
            for kind, delays in seen.items()
        ]
    return figures


def _speed() -> Figure:
    random = np.random.default_rng(0)
    judge = Judge(profile_of(_stream(random, REFERENCE_ROWS)), Settings())
    columns = _stream(random, ROWS)
    started = time.process_time()
    _judged(judge, columns, BATCH)
    spent = time.process_time() - started
    return Figure(
        "monitor.judge.rate", round(ROWS / spent), "rows/CPU s", f"25 features, text uncoded, batches of {BATCH:,}"
    )
