"""How a version keeps its promise, in words and rows, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

from goldenpath.monitor.v1 import events_pb2 as events


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


def segment_rows(kept: events.Performance) -> Iterator[tuple[str, str, str, str]]:
    """The segments that carry what is lost beyond the promise: each, its records, its loss and its share."""
    for each in kept.segments:
        yield f"{each.feature} = {each.value}", f"{each.rows:,}", f"{each.loss:.4g}", f"{each.share:.0%}"
