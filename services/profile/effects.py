"""How far a window is from its reference, in four numbers that people know.

Each takes two arrays of rows per bin over the same bins. The population stability index and the Jensen-Shannon
distance take any bins in any order; the Kolmogorov-Smirnov and the Wasserstein distance take the bins of a numeric
feature, in order, without the one of missing values.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from services.chassis.errors import Invalid
from services.profile.columns import Counts, Numbers

LEAST_SHARE = (
    0.001  # a share below 1 in 1,000 counts as 1 in 1,000: the index stays finite, and rare bins don't rule it
)

# 0.2 of psi: from there on practice calls a change significant (Yurdakul 2018, Statistical Properties of Population
# Stability Index; Siddiqi puts the line between 0.1 and 0.25), and it is seven times what any census column moved in a
# year. Of the others: what they are where a normal feature's mean moves by so much that psi is 0.2, 0.45 deviations.
TOLERANCES = MappingProxyType({"psi": 0.2, "js": 0.19, "ks": 0.18, "wasserstein": 0.45})


def population_stability_index(reference: Counts, window: Counts) -> float:
    """How far the window's distribution has moved from the reference's.

    Args:
        reference: Rows per bin, shape (bins,); each at least 0, not all 0.
        window: Rows per bin over the same bins, shape (bins,).

    Returns:
        The index, 0 or more; dimensionless. Below 0.1 people call it stable, above 0.25 moved. It is the symmetric
        Kullback-Leibler divergence of the shares, in nats, where each share counts as at least `LEAST_SHARE`.

    Raises:
        Invalid: The two have different bins, or one has no rows.

    Source: Siddiqi (2006), Credit Risk Scorecards, ch. 6; Kullback and Leibler (1951), section 3.

    >>> population_stability_index(np.array([50, 50]), np.array([50, 50]))
    0.0
    >>> round(population_stability_index(np.array([50, 50]), np.array([75, 25])), 4)
    0.2747
    """
    p, q = _shares(reference, window)
    return float(stability_terms(p, q).sum())


def stability_terms(reference: Numbers, window: Numbers) -> Numbers:
    """Each bin's part in the population stability index: (q - p) ln(q / p), both at least `LEAST_SHARE`.

    Args:
        reference: Shares p, 0 to 1, any shape.
        window: Shares q, of a shape that broadcasts with it.

    Returns:
        0 or more; it grows as either share moves away from the other.
    """
    p = np.maximum(reference, LEAST_SHARE)
    q = np.maximum(window, LEAST_SHARE)
    return np.asarray((q - p) * np.log(q / p))


def jensen_shannon(reference: Counts, window: Counts) -> float:
    """The Jensen-Shannon distance: how well a record's bin tells which of the two it came from.

    Args:
        reference: Rows per bin, shape (bins,); each at least 0, not all 0.
        window: Rows per bin over the same bins, shape (bins,).

    Returns:
        0 (the same) to 1 (no bin in common); dimensionless: the square root of the divergence in bits.

    Raises:
        Invalid: The two have different bins, or one has no rows.

    Source: Endres and Schindelin (2003), A new metric for probability distributions, IEEE Trans. Inf. Theory 49(7).

    >>> jensen_shannon(np.array([10, 0]), np.array([0, 10]))
    1.0
    """
    return float(np.sqrt(divergence_terms(*_shares(reference, window)).sum()))


def divergence_terms(reference: Numbers, window: Numbers) -> Numbers:
    """Each bin's part in the Jensen-Shannon divergence, in bits.

    Args:
        reference: Shares p, 0 to 1, any shape.
        window: Shares q, of a shape that broadcasts with it.

    Returns:
        0 or more; it grows as either share moves away from the other.
    """
    middle = (reference + window) / 2
    return np.maximum(0.0, (_bits(reference, middle) + _bits(window, middle)) / 2)


def kolmogorov_smirnov(reference: Counts, window: Counts) -> float:
    """The greatest difference between the two cumulative shares, over the bins' inclusive upper edges.

    Args:
        reference: Rows per bin in the order of their values, shape (bins,); not all 0.
        window: Rows per bin over the same bins, shape (bins,).

    Returns:
        0 to 1; dimensionless. Never above the exact distance, and below it by at most the largest share of one bin.

    Raises:
        Invalid: The two have different bins, or one has no rows.

    Source: Smirnov (1939); Hodges (1958), The significance probability of the Smirnov two-sample test.

    >>> kolmogorov_smirnov(np.array([50, 50]), np.array([75, 25]))
    0.25
    """
    p, q = _shares(reference, window)
    return float(np.abs(np.cumsum(p - q)).max())


def wasserstein(reference: Counts, window: Counts, values: Numbers, deviation: float) -> float:
    """How far the rows have moved on average, in standard deviations of the reference.

    Args:
        reference: Rows per bin in the order of their values, shape (bins,); not all 0.
        window: Rows per bin over the same bins, shape (bins,).
        values: A value that stands for each bin, rising, shape (bins,), in the feature's unit.
        deviation: The reference's standard deviation in the same unit; where it is 0, the answer is in that unit.

    Returns:
        0 or more. What lies beyond the reference's range counts as lying at its end.

    Raises:
        Invalid: The two have different bins, or one has no rows.

    Source: Vallender (1974), Calculation of the Wasserstein distance between probability distributions on the line.

    >>> wasserstein(np.array([10, 0]), np.array([0, 10]), np.array([1.0, 3.0]), 4.0)
    0.5
    """
    p, q = _shares(reference, window)
    moved = np.abs(np.cumsum(p - q))[:-1]
    return float((moved * np.diff(values)).sum() / (deviation or 1.0))


def _shares(reference: Counts, window: Counts) -> tuple[Numbers, Numbers]:
    if reference.shape != window.shape:
        raise Invalid(f"the reference has {reference.size} bins, the window {window.size}")
    rows, seen = int(reference.sum()), int(window.sum())
    if not rows or not seen:
        raise Invalid("there are no rows to compare")
    return reference / rows, window / seen


def _bits(shares: Numbers, middle: Numbers) -> Numbers:
    held = shares > 0
    return np.where(held, shares * np.log2(np.where(held, shares, 1.0) / np.where(middle > 0, middle, 1.0)), 0.0)
