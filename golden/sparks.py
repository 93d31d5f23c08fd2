"""Numbers as a line of block characters, so that a terminal shows a shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
_WHISKER: Final = 17  # characters, the limit in the middle


def pooled(values: Sequence[float], width: int) -> list[float]:
    """At most `width` sums of neighbours.

    >>> pooled([1, 2, 3, 4], 2)
    [3, 7]
    """
    width = min(width, len(values))
    bounds = [round(place * len(values) / width) for place in range(width + 1)] if width else [0]
    return [sum(values[start:stop]) for start, stop in pairwise(bounds)]


def spark(values: Sequence[float], highest: float = 0.0) -> str:
    """A block per value, from 0 up to the highest of them or the given one.

    >>> spark([0, 1, 2, 4])
    '▁▃▅█'
    >>> spark([0, 1], highest=7)
    '▁▂'
    """
    top = max([highest, *values], default=0.0)
    return "".join(BLOCKS[round(max(value, 0.0) / top * (len(BLOCKS) - 1)) if top > 0 else 0] for value in values)


def whisker(lower: float, value: float, upper: float, limit: float) -> str:
    """A value between its bounds on an axis that has the limit in its middle, and room for any number behind it.

    >>> whisker(0.0, 0.1, 0.6, 0.2)
    '─────●──┼────    '
    >>> whisker(1.9, 2.3, 2.8, 0.2)
    '        │     ─● '
    """
    left, at, right = (round(bent(each, limit) * (_WHISKER - 1)) for each in (lower, value, upper))
    marks = ["─" if left <= place <= right else " " for place in range(_WHISKER)]
    middle = _WHISKER // 2
    marks[middle] = "┼" if left <= middle <= right else "│"
    marks[at] = "●"
    return "".join(marks)


def bent(value: float, limit: float) -> float:
    """Where a value from 0 to infinity lies on an axis from 0 to 1 that has the limit half way.

    >>> bent(0.25, 0.25), bent(0.75, 0.25)
    (0.5, 0.75)
    >>> bent(float("inf"), 0.25), bent(float("nan"), 0.25)
    (1.0, 0.0)
    """
    value = max(0.0, value)  # in this order nothing that is no number gets through
    return value / (value + limit) if limit > 0 and isfinite(value) else float(value > 0)
