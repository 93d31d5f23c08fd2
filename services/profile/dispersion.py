"""How much more a reference's counts vary over time than independent rows would: a heuristic.

The judging assumes independent rows. Real ones come in seasons and bursts. Cut into blocks of time, the counts of
independent rows vary by chance as the multinomial says; what they vary beyond it, as a ratio, discounts a window's
evidence: with a ratio of 2, two thousand rows count as one thousand. It is no proof: one reference has few blocks, and
what varies more slowly than a block isn't seen.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from services.profile.columns import Counts, Numbers

BLOCKS = 32  # enough blocks that independent rows rarely seem to vary 1.2 times too much
LEAST_BLOCK_ROWS = 50  # below it the chi-squared ratio of a block says little
MOST = 10.0  # a reference that isn't in time order but sorted would seem so dispersed that nothing ever counted
SURE = 4.0  # standard deviations of a ratio: one of a thousand features of independent rows is discounted for nothing
LEAST_EXPECTED = 5.0  # rows expected per block and bin, for which the chi-squared approximation holds (Cochran, 1954)


def overdispersion(*blocks: Counts, ordered: bool = False) -> float:
    """The ratio of the variance between blocks of time to the multinomial's.

    Args:
        blocks: Rows per block and bin, shape (blocks, bins); of several, what they tell together.
        ordered: The bins are in the order of their values, the last of missing ones. Rows that depend on the rows
            before them move the middle of a block more than its single bins, so its ratio counts, too, where it is
            surely above 1.

    Returns:
        1 to `MOST`; dimensionless. 1 where there are too few rows to say. Pearson's statistic per degree of freedom.

    Source: McCullagh and Nelder (1989), Generalized Linear Models, 4.5.

    >>> overdispersion(np.array([[50, 50], [50, 50]]))
    1.0
    >>> overdispersion(np.array([[60, 40], [40, 60]]))
    8.0
    """
    of_bins, _ = _ratio([pearson(each) for each in blocks])
    of_middles, freedom = _ratio([middles(each) for each in blocks]) if ordered else (0.0, 0)
    sure = freedom > 0 and of_middles > 1.0 + SURE * np.sqrt(2.0 / freedom)
    return min(MOST, max(1.0, of_bins, of_middles if sure else 0.0))


def _ratio(statistics: list[tuple[float, int]]) -> tuple[float, int]:
    """Statistics per degree of freedom, and the degrees of freedom."""
    freedom = sum(free for _, free in statistics)
    return sum(statistic for statistic, _ in statistics) / max(freedom, 1), freedom


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


def middles(blocks: Counts) -> tuple[float, int]:
    """The chi-squared statistic of blocks' mean normal scores, shape (blocks, bins), and its degrees of freedom.

    >>> statistic, freedom = middles(np.array([[60, 40, 0], [40, 60, 0]]))
    >>> round(statistic, 9), freedom
    (8.0, 1)
    """
    present = blocks[:, :-1]
    present = present[present.sum(axis=1) > 0]
    held = present[:, present.any(axis=0)]
    if min(held.shape) < 2:  # noqa: PLR2004  # blocks and bins to compare
        return 0.0, 0
    rows = held.sum(axis=1)
    means = held @ normal_scores(held.sum(axis=0) / rows.sum()) / rows
    return float((rows * means**2).sum()), len(held) - 1


def normal_scores(shares: Numbers) -> Numbers:
    """The standard normal quantiles at the middle of each group, with mean 0 and variance 1.

    Args:
        shares: Of all rows, each above 0, shape (groups,), in the order of their values.
    """
    middle = np.cumsum(shares) - shares / 2
    scores = np.array([NormalDist().inv_cdf(each) for each in middle.tolist()])
    scores -= shares @ scores
    return np.asarray(scores / (np.sqrt(shares @ scores**2) or 1.0))
