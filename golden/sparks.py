"""Numbers as a line of block characters, so that a terminal shows a shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"


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
