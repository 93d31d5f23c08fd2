"""How much more a reference's counts vary over time than independent rows would: a heuristic.

The judging assumes independent rows. Real ones come in seasons and bursts. Cut into blocks of time, the counts of
independent rows vary by chance as the multinomial says; what they vary beyond it, as a ratio, discounts a window's
evidence: with a ratio of 2, two thousand rows count as one thousand. It is no proof: one reference has few blocks, and
what varies more slowly than a block isn't seen.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from services.profile.columns import Counts

BLOCKS = 32  # enough blocks that independent rows rarely seem to vary 1.2 times too much
LEAST_BLOCK_ROWS = 50  # below it the chi-squared ratio of a block says little
MOST = 10.0  # a reference that isn't in time order but sorted would seem so dispersed that nothing ever counted
LEAST_EXPECTED = 5.0  # rows expected per block and bin, for which the chi-squared approximation holds (Cochran, 1954)


def overdispersion(blocks: Counts) -> float:
    """The ratio of the variance between blocks of time to the multinomial's.

    Args:
        blocks: Rows per block and bin, shape (blocks, bins).

    Returns:
        1 to `MOST`; dimensionless. 1 where there are too few rows to say. Pearson's statistic per degree of freedom.

    Source: McCullagh and Nelder (1989), Generalized Linear Models, 4.5.

    >>> overdispersion(np.array([[50, 50], [50, 50]]))
    1.0
    >>> overdispersion(np.array([[60, 40], [40, 60]]))
    8.0
    """
    return ratio([pearson(blocks)])


def ratio(statistics: Iterable[tuple[float, int]]) -> float:
    """The overdispersion that Pearson's statistics of several sets of blocks tell together: each with its freedom."""
    held = list(statistics)
    freedom = sum(free for _, free in held)
    return min(MOST, max(1.0, sum(statistic for statistic, _ in held) / freedom)) if freedom > 0 else 1.0


def pearson(blocks: Counts) -> tuple[float, int]:
    """Pearson's statistic of blocks of time, shape (blocks, bins), and its degrees of freedom; 0 where rows are few."""
    rows = blocks.sum(axis=1, keepdims=True)
    shares = blocks.sum(axis=0) / max(int(rows.sum()), 1)
    expected = rows * shares
    used = np.all(expected >= LEAST_EXPECTED, axis=0)
    freedom = (len(blocks) - 1) * (int(used.sum()) - int(used.all()))
    if freedom < 1:
        return 0.0, 0
    return float((((blocks - expected) ** 2)[:, used] / expected[:, used]).sum()), freedom
