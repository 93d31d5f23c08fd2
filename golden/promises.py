"""How a version keeps its promise, and how it probably will, in words and rows, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from goldenpath.monitor.v1 import events_pb2 as events

CHANCE: Final = 4.0  # standard deviations: further apart than that is no chance
ASSUMED: Final = (
    "right while inputs say about outcomes what they said when the version was registered; no decision rests on it"
)


def standing(kept: events.Performance) -> str:
    """How the promised metric stands, in a sentence.

    >>> standing(events.Performance(metric="auc", known=10, missing=2))
    'auc is shown and not judged: it is no mean; 10 outcomes known, 2 missing'
    """
    counts = f"{kept.known:,} outcomes known, {kept.missing:,} missing"
    name = kept.metric.replace("_", " ")
    if not kept.rows:
        return f"{name} is shown and not judged: it is no mean; {counts}"
    word = "broken" if kept.lower > kept.limit else "kept" if kept.upper <= kept.limit else "not broken for sure"
    return (
        f"{word}: {name} {kept.loss:.4g}, between {kept.lower:.4g} and {kept.upper:.4g}, promised {kept.limit:.4g} at "
        f"most, over {kept.rows:,} records since {kept.since.ToDatetime():%Y-%m-%d}; {counts}"
    )


def metric_rows(kept: events.Performance) -> Iterator[tuple[str, str]]:
    """Each metric by its name, over the last 28 days."""
    for name in sorted(kept.metrics):
        yield name.replace("_", " "), f"{kept.metrics[name]:.4g}"


def segment_rows(kept: events.Performance) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of segments: the records of each, its loss, its share of what is lost beyond, its metrics."""
    names = _names(each.metrics for each in kept.segments)
    rows = [
        [
            f"{each.feature} = {each.value}",
            f"{each.rows:,}",
            f"{each.loss:.4g}",
            f"{each.share:.0%}" if each.share else "",
            *_values(each.metrics, names),
        ]
        for each in kept.segments
    ]
    return ["segment", "records", "loss", "share beyond", *_words(names)], rows


def day_rows(kept: events.Performance) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of days: the outcomes of each, its loss, its metrics."""
    names = _names(each.metrics for each in kept.days)
    rows = [
        [
            f"{each.day.ToDatetime():%Y-%m-%d}",
            f"{each.rows:,}",
            f"{each.loss:.4g}",
            *_values(each.metrics, names),
        ]
        for each in kept.days
    ]
    return ["day", "outcomes", "loss", *_words(names)], rows


def _names(metrics: Iterable[Mapping[str, float]]) -> list[str]:
    return sorted({name for each in metrics for name in each})


def _words(names: Iterable[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _values(metrics: Mapping[str, float], names: Iterable[str]) -> list[str]:
    return [f"{metrics[name]:.3g}" if name in metrics else "" for name in names]


def expectation(said: events.EstimatedPerformance) -> str:
    """What is expected without outcomes, in a sentence.

    >>> expectation(events.EstimatedPerformance(metric="log_loss", limit=0.4, rows=1000, loss=0.25))
    'log loss 0.25 expected of 1,000 records in 28 days, promised 0.4 at most'
    """
    name, of = said.metric.replace("_", " "), f"expected of {said.rows:,} records in 28 days"
    if not said.HasField("loss"):
        return f"{name} is no mean, so its days aren't compared; {of}:"
    return f"{name} {said.loss:.4g} {of}, promised {said.limit:.4g} at most"


def comparison(said: events.EstimatedPerformance) -> str:
    """How near the truth the expectation was on the days whose outcomes are known, in a sentence; empty without any."""
    days = [day for day in said.days if day.HasField("actual")]
    known = sum(day.known for day in days)
    if not known:
        return "no outcome is known yet to hold it against" if said.days else ""
    expected, actual = (sum(getattr(day, name) * day.known for day in days) / known for name in ("expected", "actual"))
    deviation = math.sqrt(sum((day.deviation * day.known) ** 2 for day in days)) / known
    apart = abs(actual - expected) / deviation if deviation else math.inf
    judged = (
        "further apart than chance takes them: what inputs say about outcomes has changed, and it can't see that"
        if apart > CHANCE
        else "no further apart than chance may take them"
    )
    return f"of {known:,} known outcomes {actual:.4g} turned out where {expected:.4g} was expected: {judged}"


def expected_rows(said: events.EstimatedPerformance, kept: events.Performance) -> Iterator[tuple[str, str, str]]:
    """Each metric that is expected, beside what outcomes say where they say something."""
    for name in sorted(said.metrics):
        known = f"{kept.metrics[name]:.4g}" if name in kept.metrics else ""
        yield name.replace("_", " "), f"{said.metrics[name]:.4g}", known
