"""What is said with outcomes and without them: how often it is wrong, how near it is, how fast it adds up.

Confidence sequences are watched continuously on 1,000 streams of each law, at a chance of a tenth, where counting tells
something: a stream counts as missed if the mean was outside at any of its records. Performance without outcomes is
estimated on the same numbers by NannyML, in an environment of its own, and by us: of a classifier by its calibrated
scores, of a regression by what errors were like for such inputs. The difference is given in standard deviations of what
the truth itself would vary by on a window of that size; beside it stands how far each is from the truth on average.

    python -m benchmarks.performance
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import TIMES, Figure, report
from benchmarks.peers import environment
from services.chassis.errors import Unavailable
from services.monitor.domain.confidence import Watched, path
from services.monitor.domain.estimated import estimate, metrics_of
from services.monitor.domain.performance import tally
from services.monitor.domain.promise import Promise
from services.profile import profile_of
from services.registry.clients.expecting import expected_of

STREAMS = 1_000
ROWS = 10_000
CHANCE = 0.1
THRESHOLD = 0.3
WINDOW = 20_000  # records without outcomes
HOME = ("size", "age", "country")  # inputs of a regression
DRAWS = 200  # of a window's outcomes, to see by how much the truth varies

NANNYML = ("nannyml==0.13.1", "statsmodels>=0.14")  # which it imports and doesn't name
NANNYML_CLASSES = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, nannyml
given = np.load(sys.argv[1])
def frame(part):
    scores = given[part + "_scores"]
    return pd.DataFrame({"score": scores, "said": (scores >= float(sys.argv[2])).astype(int)})
reference = frame("reference").assign(was=given["reference_outcomes"].astype(int))
window = frame("window")
metrics = ["roc_auc", "precision", "recall", "accuracy", "average_precision"]
cbpe = nannyml.CBPE(
    y_pred_proba="score", y_pred="said", y_true="was", problem_type="classification_binary",
    metrics=metrics, chunk_number=1,
)
cbpe.fit(reference)
found = cbpe.estimate(window).filter(period="analysis").to_df()
print(json.dumps({name: float(found[name]["value"].iloc[0]) for name in metrics}))
"""
NANNYML_VALUES = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, nannyml
given = np.load(sys.argv[1])
inputs = sys.argv[2].split(",")
def frame(part):
    return pd.DataFrame({name: given[part + "_" + name] for name in (*inputs, "score")})
reference = frame("reference").assign(was=given["reference_outcomes"])
metrics = ["mae", "rmse"]
dle = nannyml.DLE(feature_column_names=inputs, y_pred="score", y_true="was", metrics=metrics, chunk_number=1)
dle.fit(reference)
found = dle.estimate(frame("window")).filter(period="analysis").to_df()
print(json.dumps({name: float(found[name]["value"].iloc[0]) for name in metrics}))
"""

Numbers = NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Numbers]
LAWS: dict[str, Law] = {
    "uniform": lambda random, rows: random.random(rows),
    "rare": lambda random, rows: (random.random(rows) < 0.01).astype(float),  # noqa: PLR2004  # a fraud rate
    "even": lambda random, rows: (random.random(rows) < 0.5).astype(float),  # noqa: PLR2004  # the widest of all
    "skewed": lambda random, rows: random.beta(0.1, 5, rows),
}
"""Losses between 0 and 1, by name."""
MEANS = {"uniform": 0.5, "rare": 0.01, "even": 0.5, "skewed": 0.1 / 5.1}


def measure(streams: int = STREAMS) -> list[Figure]:
    """How often the mean was outside, how near the estimates are, and rows per second."""
    return [*_coverage(streams), *_beside_nannyml(), *_speed()]


def ever_missed(law: Law, seed: int, rows: int, chance: float) -> bool:
    """Whether the mean was outside at any record of a stream."""
    mean = next(MEANS[name] for name, each in LAWS.items() if each is law)
    _, low, high = path(Watched(chance=chance), law(np.random.default_rng(seed), rows))
    return bool(((low > mean) | (high < mean)).any())


def _coverage(streams: int) -> list[Figure]:
    missed = {
        name: sum(ever_missed(law, seed, ROWS, CHANCE) for seed in range(streams)) / streams
        for name, law in LAWS.items()
    }
    beside = f"promised at most {CHANCE}; {streams:,} streams watched at each of {ROWS:,} records"
    return [Figure(f"performance.confidence.missed.{name}", share, "share", beside) for name, share in missed.items()]


def windows(seed: int) -> dict[str, Numbers]:
    """A reference with outcomes and a window whose inputs have moved; scores that say somewhat too much."""
    random = np.random.default_rng(seed)
    scores = {"reference": random.beta(1, 6, 5 * WINDOW), "window": random.beta(2, 6, WINDOW)}
    made = {f"{part}_scores": values for part, values in scores.items()}
    return made | {"reference_outcomes": outcomes(random, scores["reference"])}


def outcomes(random: np.random.Generator, scores: Numbers) -> Numbers:
    """What turned out, by chance."""
    return (random.random(scores.size) < 0.7 * scores + 0.03).astype(float)


def homes(seed: int) -> dict[str, Numbers]:
    """A regression that is further off for large homes and in the country; the window has more of both."""
    random = np.random.default_rng(seed)
    made: dict[str, Numbers] = {}
    for part, rows, mean, country in (("reference", 5 * WINDOW, 0.0, 0.2), ("window", WINDOW, 0.7, 0.5)):
        made[f"{part}_size"] = random.normal(mean, 1, rows)
        made[f"{part}_age"] = random.gamma(2, 20, rows)
        made[f"{part}_country"] = (random.random(rows) < country).astype(float)
        made[f"{part}_score"] = 2 * made[f"{part}_size"] - 0.01 * made[f"{part}_age"]
    return made | {"reference_outcomes": prices(random, made, "reference")}


def prices(random: np.random.Generator, made: dict[str, Numbers], part: str) -> Numbers:
    """What turned out, by chance."""
    spread = 0.3 + np.exp(made[f"{part}_size"] / 2) * (1 + made[f"{part}_country"])
    return np.asarray(made[f"{part}_score"] + spread * random.normal(size=spread.size))


def _beside_nannyml() -> list[Figure]:
    return [*_classes(), *_values()]


def _classes() -> list[Figure]:
    made = windows(1)
    theirs = _nannyml(NANNYML_CLASSES, made, str(THRESHOLD))
    ours = _estimates("log_loss", {"score": made["reference_scores"]}, made, {"score": made["window_scores"]})
    random = np.random.default_rng(2)
    truths = [_truth(made["window_scores"], outcomes(random, made["window_scores"])) for _ in range(DRAWS)]
    return [_compared(name, ours, theirs, truths) for name in theirs]


def _values() -> list[Figure]:
    made = homes(1)
    theirs = _nannyml(NANNYML_VALUES, made, ",".join(HOME))
    reference, window = (
        {name: made[f"{part}_{name}"] for name in (*HOME, "score")} for part in ("reference", "window")
    )
    ours = _estimates("mae", reference, made, window)
    random = np.random.default_rng(2)
    apart = [np.abs(prices(random, made, "window") - window["score"]) for _ in range(DRAWS)]
    truths = [{"mae": float(each.mean()), "rmse": float(np.sqrt((each**2).mean()))} for each in apart]
    return [_compared(name, ours, theirs, truths) for name in theirs]


def _estimates(
    metric: str, reference: dict[str, Numbers], made: dict[str, Numbers], window: dict[str, Numbers]
) -> dict[str, float]:
    """What is expected of a window, by what a registry would put into the profile."""
    inputs = {name: column for name, column in reference.items() if name != "score"} or {"score": reference["score"]}
    profile = profile_of(inputs, scores={"score": reference["score"]} if "score" not in inputs else None)
    expected = expected_of(profile, inputs, reference["score"], made["reference_outcomes"])
    promise = Promise(metric, 1.0, timedelta(days=7), threshold=THRESHOLD)
    said = estimate(expected, promise, window, "score", WINDOW)
    return metrics_of(expected, said) if expected and said else {}


def _compared(
    name: str, ours: dict[str, float], theirs: dict[str, float], truths: Sequence[dict[str, float]]
) -> Figure:
    said, value = ours[name.removeprefix("roc_")], theirs[name]
    varies, truth = (float(of([each[name] for each in truths])) for of in (np.std, np.mean))
    beside = (
        f"ours {said:.4f}, NannyML's {value:.4f}, the truth {truth:.4f}: {abs(said - truth) / varies:.1f} and "
        f"{abs(value - truth) / varies:.1f} deviations off"
    )
    return Figure(f"performance.estimated.{name}", abs(said - value) / varies, "deviations", beside)


def _truth(scores: Numbers, was: Numbers) -> dict[str, float]:
    made = tally(scores, was, threshold=THRESHOLD)
    ranked = {"roc_auc": made.auc().value, "average_precision": made.average_precision().value}
    return ranked | {"precision": made.precision(), "recall": made.recall(), "accuracy": made.accuracy()}


def _nannyml(script: str, made: dict[str, Numbers], told: str) -> dict[str, float]:
    python = environment("nannyml", NANNYML)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given.npz"
        np.savez(given, **made)  # type: ignore[arg-type]  # numpy's hints take the names for options
        command = [str(python), "-c", script, str(given), told]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"it came to nothing: {done.stderr.strip()[-1000:]}", where="nannyml")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _speed() -> list[Figure]:
    random = np.random.default_rng(3)
    scores = random.beta(0.5, 60, 100_000)
    was, amounts = outcomes(random, scores), random.gamma(2, 30, scores.size)
    started = time.process_time()
    for part in range(0, scores.size, 1_000):
        batch = slice(part, part + 1_000)
        tally(scores[batch], was[batch], amounts=amounts[batch])
    tallied = time.process_time() - started
    started = time.process_time()
    path(Watched(), -np.log1p(-scores) / 40)
    bound = time.process_time() - started
    return [
        Figure("performance.tally", scores.size / tallied, "rows/s", "batches of 1,000, processor time"),
        Figure("performance.confidence", scores.size / bound, "rows/s", "processor time"),
        Figure("performance.confidence.per.tally", tallied / bound, TIMES),
    ]


if __name__ == "__main__":
    report(measure(), Path(__file__).with_name("bench.json"))
