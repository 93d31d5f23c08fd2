"""How a feature is cut into bins, so that at most 64 integers describe any number of records.

Numbers. Edges are values of the data, and upper edges are inclusive, so equal values never straddle an edge. A value
that alone holds more than a bin's worth of rows (the zero of an amount that most people don't have) gets a bin of its
own, and the remaining bins are quantiles of the remaining rows: so the few that have an amount are seen as finely as
anybody. The first bin is below everything in the reference, the last but one above everything, both empty there; the
last holds missing values.

    (-inf, min)  (.., e1]  (e1, e2]  ..  (e_m-1, max]  (max, inf]  missing

Text. A bin for each of the commonest categories, then one for every other text, then one for missing values. Where
the reference has few categories, `other` holds nothing there, and a text in it was never seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from services.profile.columns import Counts, Numbers

MOST_BINS = 64  # beyond it the Kolmogorov-Smirnov distance on quantile bins gains less than 0.002 at 10,000 rows
MOST_EDGES = MOST_BINS - 2  # the bins above the last edge, and of missing values
LARGEST = 1e300  # beyond it a number counts as infinite, so that edges and deviations stay finite doubles
MOST_CATEGORIES = MOST_BINS - 2  # the bins of other texts, and of missing values


def edges_of(values: Numbers) -> Numbers:
    """The inclusive upper edges of a numeric feature's bins.

    Args:
        values: The reference's values, shape (rows,); missing and infinite ones are left out.

    Returns:
        Strictly rising, shape (edges,), at most `MOST_EDGES`; empty where the reference has no finite value.

    >>> edges_of(np.array([7.0, 7.0, 7.0])).size == 2  # below seven, and seven itself
    True
    """
    uniques, counts = np.unique(usable(values) + 0.0, return_counts=True)  # + 0.0 makes -0.0 zero
    if not uniques.size:
        return np.empty(0)
    return np.unique(np.append(_uppers(uniques, counts), np.nextafter(uniques[0], -np.inf)))


def usable(values: Numbers) -> Numbers:
    """The values that have a place between edges: neither missing nor infinite, nor as good as it."""
    return np.asarray(values[np.abs(values) <= LARGEST])


def numeric_bins(edges: Numbers, values: Numbers) -> Counts:
    """Rows per bin, shape (edges + 2,): those between the edges, above the last one, missing.

    Few edges are looked up among sorted values, which costs a tenth of looking every value up among the edges.
    """
    bins = np.empty(edges.size + 2, dtype=np.int64)
    ordered = np.sort(values)  # missing values come last
    bins[:-2] = ordered.searchsorted(edges, side="right")
    bins[-2] = ordered.searchsorted(np.inf, side="right")
    bins[-1] = values.size
    bins[1:] -= bins[:-1].copy()
    return bins


def categories_of(tally: Iterable[tuple[str | None, int]]) -> tuple[str, ...]:
    """The commonest categories, at most `MOST_CATEGORIES`, commonest first and by name where equally common."""
    held: Counter[str | None] = Counter()
    for text, rows in tally:
        held[text] += rows
    ranked = sorted((-rows, text) for text, rows in held.items() if text is not None and rows)
    return tuple(text for _, text in ranked[:MOST_CATEGORIES])


def text_bins(index: dict[str, int], tally: Iterable[tuple[str | None, int]]) -> Counts:
    """Rows per bin, shape (categories + 2,): those listed, other, missing."""
    other = len(index)
    bins = [0] * (other + 2)
    for text, rows in tally:
        bins[-1 if text is None else index.get(text, other)] += rows
    return np.array(bins, dtype=np.int64)


def _uppers(uniques: Numbers, counts: Counts) -> Numbers:
    """Upper edges that give heavy values a bin each and share the other rows out evenly."""
    if uniques.size * 2 < MOST_EDGES:
        return _alone(uniques)
    heavy = _heavy(counts)
    atoms = _alone(uniques[heavy])
    quantiles = _quantiles(uniques[~heavy], counts[~heavy], MOST_EDGES - 2 - atoms.size)
    return np.unique(np.concatenate((atoms, quantiles, uniques[-1:])))  # the greatest value closes the last bin


def _heavy(counts: Counts) -> NDArray[np.bool_]:
    """Which values hold more than two bins' worth of the rows; each one set aside makes the others' bins finer."""
    heavy = np.zeros(counts.size, dtype=bool)
    for free in range(MOST_EDGES - 4, MOST_EDGES // 2, -2):  # at most half of the edges go to single values
        heaviest = int(np.argmax(np.where(heavy, 0, counts)))
        if counts[heaviest] * free <= 2 * counts[~heavy].sum():
            break
        heavy[heaviest] = True
    return heavy


def _alone(values: Numbers) -> Numbers:
    """Two edges per value, so that its bin holds nothing but it."""
    return np.unique(np.concatenate((np.nextafter(values, -np.inf), values)))


def _quantiles(uniques: Numbers, counts: Counts, bins: int) -> Numbers:
    """The values at which the rows fill up one bin after another."""
    cumulative = np.cumsum(counts)
    if not cumulative.size:
        return np.empty(0)
    wanted = np.linspace(0, float(cumulative[-1]), bins + 1)[1:]
    places = np.searchsorted(cumulative, wanted, side="left")
    return np.asarray(uniques[np.unique(np.minimum(places, uniques.size - 1))])


def values_of(edges: Numbers, ordered: Numbers) -> Numbers:
    """A value that stands for each bin but the missing one: its rows' mean, or its nearest edge where it has none.

    Args:
        edges: The inclusive upper edges, shape (edges,).
        ordered: The reference's finite values, rising.

    Returns:
        Shape (edges + 1,), in the feature's unit.

    >>> values_of(np.array([0.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0])).tolist()
    [0.0, 1.5, 4.0, 4.0]
    """
    if not edges.size:
        return np.zeros(1)
    places = np.searchsorted(edges, ordered, side="left")
    rows = np.bincount(places, minlength=edges.size + 1)
    centres = np.append(edges, edges[-1])
    shifted = np.bincount(places, weights=ordered - centres[places], minlength=edges.size + 1)
    return np.asarray(centres + np.divide(shifted, rows, out=np.zeros(rows.size), where=rows > 0))
