"""What people watch drift with instead of us, on the same kind of records: rows per CPU second, one process each.

The data is `benchmarks.monitor`'s: 20 numbers and 5 texts of eight values, already columns in memory, so that they need
no decoding. Each is used as its documentation says for finding drift per feature, on as many rows as it takes for a
second or more; a reference of 50,000 rows where it takes one.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from benchmarks.figures import Figure
from benchmarks.peers import asked, environment
from services.chassis.errors import Unavailable
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.profile import Column, count, profile_of

UNIT: Final = "rows/CPU s"
_BATCHES: Final = 500
_NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
DATA: Final = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd
random = np.random.default_rng(0)

def table(rows):
    made = {f"n{place:02}": random.normal(size=rows) for place in range(20)}
    return pd.DataFrame(made | {f"t{place}": random.choice(list("abcdefgh"), rows) for place in range(5)})

def measure(work, rows):
    spent = []
    for _ in range(3):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    print("RESULT", json.dumps(rows / min(spent)))
"""


@dataclass(frozen=True)
class Watcher:
    """A library that watches drift.

    Args:
        name: Its name in figures.
        requirements: What its environment holds.
        script: What measures it, after `DATA`.
        beside: What it does.
    """

    name: str
    requirements: tuple[str, ...]
    script: str
    beside: str


WATCHERS: Final = (
    Watcher(
        "nannyml",
        ("nannyml==0.13.*", "statsmodels<0.15", "pandas<3"),
        """
import nannyml
now = table(100_000)
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(now), chunk_size=1_000, continuous_methods=["kolmogorov_smirnov"], categorical_methods=["chi2"])
calculator.fit(table(50_000))
measure(lambda: calculator.calculate(now), len(now))
""",
        "UnivariateDriftCalculator, KS and chi², chunks of 1,000",
    ),
    Watcher(
        "river",
        ("river==0.22.*", "pandas>=2.2"),
        """
from river.drift import ADWIN
now = table(10_000)
rows = [tuple(row[:20]) + tuple(float(text == "a") for text in row[20:]) for row in now.itertuples(index=False)]
def work():
    watching = [ADWIN() for _ in rows[0]]
    for row in rows:
        for one, value in zip(watching, row):
            one.update(value)
measure(work, len(rows))
""",
        "ADWIN, one a feature, a text as the share of its first value",
    ),
    Watcher(
        "whylogs",
        ("whylogs==1.6.*", "pandas>=2.2", "numpy<2", "setuptools<80"),
        """
import whylogs
now = table(50_000)
measure(lambda: [whylogs.log(pandas=now[at:at + 1_000]) for at in range(0, len(now), 1_000)], len(now))
""",
        "a profile per 1,000 rows; no judging",
    ),
    Watcher(
        "evidently",
        ("evidently==0.7.*", "pandas<3"),
        """
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
numbers, texts = [f"n{place:02}" for place in range(20)], [f"t{place}" for place in range(5)]
shape = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
reference = Dataset.from_pandas(table(50_000), data_definition=shape)
now = Dataset.from_pandas(table(1_000), data_definition=shape)
measure(lambda: Report([DataDriftPreset()]).run(now, reference), 1_000)
""",
        "DataDriftPreset, a report per 1,000 rows against 50,000",
    ),
    Watcher(
        "alibi-detect",
        ("alibi-detect==0.13.*", "pandas>=2.2", "numba", "setuptools<80"),
        """
from alibi_detect.cd import TabularDrift
def coded(frame):
    return frame.assign(**{f"t{p}": frame[f"t{p}"].map(ord) - 97 for p in range(5)}).to_numpy(dtype=float)
detector = TabularDrift(coded(table(50_000)), p_val=0.05, categories_per_feature={20 + p: 8 for p in range(5)})
now = coded(table(10_000))
measure(lambda: [detector.predict(now[at:at + 1_000]) for at in range(0, len(now), 1_000)], len(now))
""",
        "TabularDrift, KS and chi², per 1,000 rows against 50,000",
    ),
)


def measure() -> list[Figure]:
    """Rows per CPU second of the monitor, and of each that can be installed here; who can't is said."""
    figures = [_ours()]
    for watcher in WATCHERS:
        try:
            figures.append(_measured(watcher))
        except Unavailable as error:
            print(f"{watcher.name} came to nothing: {error}", file=sys.stderr, flush=True)
    return figures


def _measured(watcher: Watcher) -> Figure:
    rate = asked(environment(f"watching-{watcher.name}", watcher.requirements), DATA + watcher.script)
    return Figure(f"monitor.{watcher.name}.rows_per_cpu_second", round(rate), UNIT, watcher.beside)


def _ours() -> Figure:
    """Counting and judging what they are given, in batches of 1,000; `benchmarks.monitor` decodes them, too."""
    random = np.random.default_rng(0)
    judge = Judge(profile_of(_table(random, 50_000)), Settings())
    now, spent = [_table(random, 1_000) for _ in range(_BATCHES)], []
    for _ in range(3):
        started = time.process_time()
        state = judge.begin(_NOON)
        for at in range(0, len(now), 10):
            state, _ = judge.observe(state, [count(judge.profile, batch) for batch in now[at : at + 10]], _NOON)
        spent.append(time.process_time() - started)
    rate = round(_BATCHES * 1_000 / min(spent))
    return Figure(
        "monitor.ours.rows_per_cpu_second", rate, UNIT, "counted and judged, batches of 1,000, a look per ten"
    )


def _table(random: np.random.Generator, rows: int) -> dict[str, Column]:
    numbers: dict[str, Column] = {f"n{place:02}": random.normal(size=rows) for place in range(20)}
    letters = np.array(list("abcdefgh"), dtype=object)
    return numbers | {f"t{place}": random.choice(letters, rows) for place in range(5)}
