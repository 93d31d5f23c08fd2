"""How long Evidently's and NannyML's rules take to see a change: the alternatives to judging every batch as it comes.

Both hold one window after another against the reference, and say which columns differ: Evidently by the Wasserstein
distance in reference deviations and, of texts, the Jensen-Shannon distance, both from 0.1 on (what it picks for a
reference above 1,000 rows); NannyML by the Jensen-Shannon distance, beyond what the reference's own chunks vary by.
Each is asked twice: as it is shipped, beside the share of quiet windows in which any of the 25 columns differs; and
with its thresholds multiplied by the least factor that a million quiet rows don't reach. That is one false alarm in a
million rows or so; the monitor's own rate is a figure of `benchmarks.judge`.

The reference has 50,000 rows, the data and the changes are `benchmarks.judge`'s. A change comes anywhere in a window;
rows are counted from the change to the end of the window that shows it. Medians over streams. Neither looks at
missing values here, nor at two columns at once: they have other checks for that, which aren't on by default.
"""

from __future__ import annotations

import json
from typing import Any, Final

from benchmarks.figures import Figure
from benchmarks.peers import asked, environment

WINDOWS: Final = (1_000, 10_000)
STREAMS: Final = 30
PATIENCE: Final = 20_000  # rows after which a change counts as unseen, as in `benchmarks.judge`
SHIFTS: Final = (0.07, 0.1, 0.15, 0.25, 0.35, 0.5, 0.7)

_DATA: Final = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd
VALUES = np.array([f"v{place}" for place in range(10)], dtype=object)

def text(random, rows, first=0.1):
    return random.choice(VALUES, rows, p=[first, *[(1 - first) / 9] * 9])

def normal(random, rows):
    return random.normal(size=rows)

def new(random, rows):
    return np.where(random.random(rows) < 0.02, "new", text(random, rows))

def missing(random, rows):
    return np.where(random.random(rows) < 0.05, np.nan, normal(random, rows))

def table(random, rows):
    numbers = {f"n{place:02}": normal(random, rows) for place in range(20)}
    return pd.DataFrame(numbers | {f"t{place}": text(random, rows) for place in range(5)})

asked = json.load(sys.stdin)
CHANGES = {f"mean_{by:g}": (normal, lambda r, n, by=by: r.normal(by, 1, n)) for by in asked["shifts"]}
CHANGES |= {f"variance_{by:g}": (normal, lambda r, n, by=by: r.normal(0, by**0.5, n)) for by in (1.2, 1.5)}
CHANGES |= {"share_10_to_12_percent": (text, lambda r, n: text(r, n, 0.12)), "new_value_2_percent": (text, new)}
CHANGES |= {"missing_5_percent": (normal, missing)}

def first(hits, window, before):
    return float((np.argmax(hits) + 1) * window - before) if hits.any() else float("inf")

def delays(window, factor, past, changed):
    found = []
    for seed in range(asked["streams"]):
        random = np.random.default_rng([7, seed])
        reference, before = past(random, 50_000), int(random.integers(window))
        rows = np.concatenate((past(random, before), changed(random, asked["patience"] + window - before)))
        over, alerts = watch(pd.DataFrame({"x": reference}), pd.DataFrame({"x": rows}), window)
        found.append((first(alerts, window, before), first(over > factor, window, before)))
    return [float(np.median(each)) for each in zip(*found)]

answer = {}
for window in asked["windows"]:
    quiet = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        quiet.append(watch(table(random, 50_000), table(random, 250_000), window))
    over, alerts = (np.concatenate(each) for each in zip(*quiet))
    answer[window] = {
        "factor": float(over.max()),
        "alarming": float(alerts.mean()),
        "delays": {name: delays(window, over.max(), *change) for name, change in CHANGES.items()},
    }
print("RESULT", json.dumps(answer))
"""

# Each gives, per window, the greatest of its columns' distances in thresholds, and whether it is shipped to alarm.
_EVIDENTLY: Final = """
from evidently.legacy.calculations.stattests import jensenshannon_stat_test, wasserstein_stat_test
from evidently.legacy.core import ColumnType

def distance(reference, now):
    if reference.dtype == object:
        return jensenshannon_stat_test(reference, now, ColumnType.Categorical, None).drift_score
    return wasserstein_stat_test(reference, now.dropna(), ColumnType.Numerical, None).drift_score

def watch(reference, now, window):
    starts = range(0, len(now) - window + 1, window)
    found = [max(distance(reference[x], now[x][at:at + window]) for x in reference) for at in starts]
    return np.array(found) / 0.1, np.array(found) >= 0.1
"""
_NANNYML: Final = """
import nannyml

def watch(reference, now, window):
    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference), chunk_size=window)
    calculator.fit(reference)
    found = calculator.calculate(now[: len(now) // window * window]).filter(period="analysis").to_df()
    over = found.xs("value", axis=1, level=2) / found.xs("upper_threshold", axis=1, level=2)
    return over.max(axis=1).to_numpy(), found.xs("alert", axis=1, level=2).any(axis=1).to_numpy()
"""
RULES: Final = {
    "evidently": (("evidently==0.7.*", "pandas<3"), _EVIDENTLY),
    "nannyml": (("nannyml==0.13.*", "statsmodels<0.15", "pandas<3"), _NANNYML),
}


def measure() -> list[Figure]:
    """Rows until each rule sees each change, as shipped and at one false alarm in a million rows."""
    return [figure for name in RULES for figure in _measured(name)]


def _measured(name: str) -> list[Figure]:
    requirements, script = RULES[name]
    question = {"shifts": SHIFTS, "streams": STREAMS, "patience": PATIENCE, "windows": WINDOWS}
    answer = asked(environment(f"watching-{name}", requirements), script + _DATA, json.dumps(question))
    return [figure for window, found in answer.items() for figure in _figures(f"monitor.{name}.{window}", found)]


def _figures(name: str, found: dict[str, Any]) -> list[Figure]:
    shipped = f"as shipped: {found['alarming']:.1%} of quiet windows alarm"
    quiet = f"thresholds times {found['factor']:.2f}"
    return [
        figure
        for change, (early, late) in found["delays"].items()
        for figure in (
            Figure(f"{name}.shipped.{change}", early, "rows", shipped),
            Figure(f"{name}.quiet.{change}", late, "rows", f"{quiet}: no false alarm in 1,000,000 rows"),
        )
    ]
