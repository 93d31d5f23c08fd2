"""How a version keeps its promise, and how it probably will, in words and rows, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from goldenpath.monitor.v1 import events_pb2 as events

CHANCE: Final = 4.0  # standard deviations: further apart than that is no chance
ASSUMED: Final = (
    "The estimate is right as long as inputs say about outcomes what they said when the version was registered. "
    "No decision rests on it."
)


def standing(kept: events.Performance) -> str:
    """How the promised metric stands, in a sentence.

    >>> standing(events.Performance(metric="auc", known=10, missing=2))
    'auc is shown and not judged: it is no mean; 10 outcomes known, 2 missing'
    """
    counts = f"{kept.known:,} outcomes known, {kept.missing:,} missing"
    name = in_words(kept.metric)
    if not kept.rows:
        return f"{name} is shown and not judged: it is no mean; {counts}"
    word = "broken" if kept.lower > kept.limit else "kept" if kept.upper <= kept.limit else "not broken for sure"
    low, high = sorted(_of_loss(kept.metric, each) for each in (kept.lower, kept.upper))
    return (
        f"{word}: {name} {_of_loss(kept.metric, kept.loss):.4g}, between {low:.4g} and {high:.4g}, "
        f"{_promised(kept.metric, kept.limit)}, over {kept.rows:,} records since "
        f"{kept.since.ToDatetime():%Y-%m-%d}; {counts}"
    )


def metric_rows(kept: events.Performance) -> Iterator[tuple[str, str]]:
    """Each metric by its name, over the last 28 days."""
    for name in sorted(kept.metrics):
        yield in_words(name), f"{kept.metrics[name]:.4g}"


def segment_rows(kept: events.Performance, *, whole: bool) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of segments: those that carry what is lost beyond the promise; or all, with their metrics."""
    shown = [each for each in kept.segments if whole or each.share]
    names = sorted({name for each in shown for name in each.metrics}) if whole else []
    rows = [
        [
            f"{each.feature} = {each.value}",
            f"{each.rows:,}",
            f"{each.loss:.4g}",
            f"{each.share:.0%}" if each.share else "",
            *_values(each.metrics, names),
        ]
        for each in shown
    ]
    return ["segment", "came due", "loss a record", "share of what is beyond", *map(in_words, names)], rows


def day_rows(kept: events.Performance) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of days: the outcomes of each, its loss, its metrics."""
    names = sorted({name for each in kept.days for name in each.metrics})
    rows = [
        [
            f"{each.day.ToDatetime():%Y-%m-%d}",
            f"{each.rows:,}",
            f"{each.loss:.4g}" if each.HasField("loss") else "",
            *_values(each.metrics, names),
        ]
        for each in kept.days
    ]
    return ["day", "outcomes", "loss an outcome", *map(in_words, names)], rows


def expectation(said: events.EstimatedPerformance) -> str:
    """What is expected without outcomes, in a sentence.

    >>> expectation(events.EstimatedPerformance(metric="accuracy", limit=0.1, rows=1000, loss=0.06))
    'accuracy 0.94 expected of 1,000 records in 28 days, promised 0.9 at least'
    """
    name, of = in_words(said.metric), f"of {said.rows:,} records in 28 days"
    if not said.HasField("loss"):
        return f"{name} itself can't be expected, nor day by day; {of}"
    return f"{name} {_of_loss(said.metric, said.loss):.4g} expected {of}, {_promised(said.metric, said.limit)}"


def comparison(said: events.EstimatedPerformance) -> str:
    """How near the truth the expectation was on the days of which most is known, in a sentence; empty without days.

    >>> comparison(events.EstimatedPerformance())
    ''
    """
    days = [day for day in said.days if day.HasField("actual") and 2 * day.known > day.rows]
    known = sum(day.known for day in days)
    if not known:
        return "too few outcomes are known yet to hold it against them" if said.days else ""
    expected, actual = (sum(getattr(day, name) * day.known for day in days) / known for name in ("expected", "actual"))
    deviation = sum(day.deviation * day.known for day in days) / known  # as if all erred together: they learnt as one
    beyond = abs(actual - expected) > CHANCE * deviation and not math.isclose(actual, expected, rel_tol=1e-9)
    judged = (
        "further apart than chance takes them, so inputs say something else about outcomes now, which it can't see, "
        "or those outcomes are no sample of all"
        if beyond
        else "no further apart than chance may take them"
    )
    actual, expected = (_of_loss(said.metric, each) for each in (actual, expected))
    return f"of {known:,} known outcomes {actual:.4g} turned out where {expected:.4g} was expected: {judged}"


def expected_rows(said: events.EstimatedPerformance, kept: events.Performance) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of metrics that are expected, beside what outcomes say where they say something."""
    rows = [
        [in_words(name), f"{said.metrics[name]:.4g}", f"{kept.metrics[name]:.4g}" if name in kept.metrics else ""]
        for name in sorted(said.metrics)
    ]
    return ["metric", "expected", "of those that came due"], rows


def in_words(name: str) -> str:
    """A metric's name as a person writes it."""
    return name.replace("_", " ")


def _values(metrics: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{metrics[name]:.3g}" if name in metrics else "" for name in names]


def _of_loss(metric: str, loss: float) -> float:
    """The metric whose mean loss is this."""
    return 1.0 - loss if metric == "accuracy" else math.sqrt(loss) if metric == "rmse" else loss


def _promised(metric: str, limit: float) -> str:
    return f"promised {_of_loss(metric, limit):.4g} at {'least' if metric == 'accuracy' else 'most'}"
