"""Panes: what a version saw, by event time, as windows that are kept.

A pane begins as ten seconds. When there are too many, the older half is joined two by two, so that the last minutes are
seen finely and months ago coarsely, in a bounded number. Panes only add up: whatever the order in which records come,
however late, the same records give the same panes as long as none were joined in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from services.profile import Column, Window, count
from services.profile.columns import Counts, picked
from services.profile.reference import ReferenceProfile
from services.profile.vectors import with_numbers

LENGTH = timedelta(seconds=10)
MOST = 360  # an hour of panes that weren't joined yet; some 2 kB each


@dataclass(frozen=True)
class Pane:
    """Records of a stretch of event time.

    Args:
        began: The stretch's first moment.
        until: The first moment after it.
        window: The records' counts.
    """

    began: datetime
    until: datetime
    window: Window


def cut(profile: ReferenceProfile, columns: Mapping[str, Column], times_us: Counts) -> tuple[Pane, ...]:
    """A batch, cut into fresh panes by its records' event times.

    Args:
        profile: What is counted.
        columns: The batch's columns, by name.
        times_us: Its records' event times, microseconds since 1970-01-01 UTC, at least one.
    """
    columns = with_numbers(profile.vectors, columns)
    length = LENGTH // timedelta(microseconds=1)
    first, last = int(times_us.min()) // length, int(times_us.max()) // length
    if first == last:
        return (_fresh(first, count(profile, columns)),)
    numbers = times_us // length
    picked = ((int(number), np.flatnonzero(numbers == number)) for number in np.unique(numbers))
    return tuple(_fresh(number, count(profile, _picked(profile, columns, rows))) for number, rows in picked)


def added(panes: Sequence[Pane], more: Iterable[Pane]) -> tuple[Pane, ...]:
    """Panes with more of them, in the order of time; a pane within another's time is joined with it."""
    joined: list[Pane] = []
    for pane in sorted((*panes, *more), key=lambda each: (each.began, -each.until.timestamp())):
        if joined and pane.began < joined[-1].until:
            joined[-1] = replace(joined[-1], window=joined[-1].window + pane.window)
        else:
            joined.append(pane)
    return tuple(joined)


def thinned(panes: Sequence[Pane]) -> tuple[Pane, ...]:
    """Panes, the older half joined two by two."""
    half = len(panes) // 4 * 2
    pairs = zip(panes[:half:2], panes[1:half:2], strict=True)
    return (*(Pane(one.began, two.until, one.window + two.window) for one, two in pairs), *panes[half:])


def _fresh(number: int, window: Window) -> Pane:
    began = datetime.fromtimestamp(number * LENGTH.total_seconds(), UTC)
    return Pane(began, began + LENGTH, window)


def _picked(profile: ReferenceProfile, columns: Mapping[str, Column], rows: Counts) -> dict[str, Column]:
    used = {feature.name: columns[feature.name] for feature in profile.features if feature.name in columns}
    return {name: picked(column, rows) for name, column in used.items()}
