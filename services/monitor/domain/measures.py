"""The effects that a person can read, each made of terms that grow as two shares move apart.

Such an effect is bounded by bounding the shares beneath it, whatever it is:

| effect | shares of | term of two shares p, q | together |
| --- | --- | --- | --- |
| psi | groups | (q - p) ln(q / p) | sum |
| js | groups | p log2(p / m) + q log2(q / m), m their mean, halved | square root of the sum |
| ks | rows up to each group | abs(q - p) | the greatest |
| wasserstein | rows up to each group | abs(q - p) times the way to the next group, in reference deviations | sum |

Rows up to a group are those of it and of all groups of lower values; missing ones come last, a deviation beyond the
highest. Categories have no order: there both ks and wasserstein are the share of rows that would have to change group
(the total variation distance: the greatest difference of any set of groups, and the way where all are 1 apart).

Each term is 0 where the shares are equal and grows as either moves away from the other: for psi and js since the
derivative by q has the sign of q - p. The sources of the effects stand in `services.profile.effects`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.parts import Part, Parts
from services.profile.columns import Numbers
from services.profile.effects import TOLERANCES, divergence_terms, stability_terms

Terms: TypeAlias = Callable[[Numbers, Numbers], Numbers]


@dataclass(frozen=True)
class Measure:
    """An effect.

    Args:
        name: As golden.yaml has it.
        tolerance: Up to where a change is tolerated, unless somebody says otherwise.
        cumulative: Whether its shares are of the rows up to each group, where groups have an order.
        terms: A term of each two shares.
        weights: What each of a part's terms counts, shape (its groups,).
        together: Whether a part's weighted terms are summed; else the greatest counts.
        outer: What is done to the sum.
    """

    name: str
    tolerance: float
    cumulative: bool
    terms: Terms
    weights: Callable[[Part, int], Numbers]
    greatest: bool = False
    outer: Callable[[Numbers], Numbers] = np.asarray


def _apart(p: Numbers, q: Numbers) -> Numbers:
    return np.asarray(np.abs(q - p))


def _alike(_: Part, groups: int) -> Numbers:
    return np.ones(groups)


def _boundaries(part: Part, groups: int) -> Numbers:
    return np.append(np.ones(groups - 1), 0.0) if part.ordered else np.full(groups, 0.5)


def _ways(part: Part, groups: int) -> Numbers:
    if not part.ordered:
        return np.full(groups, 0.5)
    ways = np.diff(part.values()) / (part.feature.deviation or 1.0)
    return np.append(ways, [1.0, 0.0] if ways.size == groups - 2 else [0.0])


MEASURES: Final = MappingProxyType(
    {
        measure.name: measure
        for measure in (
            Measure("psi", TOLERANCES["psi"], cumulative=False, terms=stability_terms, weights=_alike),
            Measure("js", TOLERANCES["js"], cumulative=False, terms=divergence_terms, weights=_alike, outer=np.sqrt),
            Measure("ks", TOLERANCES["ks"], cumulative=True, terms=_apart, weights=_boundaries, greatest=True),
            Measure("wasserstein", TOLERANCES["wasserstein"], cumulative=True, terms=_apart, weights=_ways),
        )
    }
)


class Yardstick:
    """A measure, laid on the parts of a profile.

    Args:
        parts: What is judged.
        measure: The effect.
    """

    def __init__(self, parts: Parts, measure: Measure) -> None:
        self._measure = measure
        self._weights = np.zeros((len(parts), parts.width))
        for place, (part, groups) in enumerate(zip(parts.parts, parts.groups.tolist(), strict=True)):
            self._weights[place, :groups] = measure.weights(part, groups)
        ordered = np.array([part.ordered for part in parts.parts])
        self._cumulative: NDArray[np.bool_] = ordered & measure.cumulative
        self._greatest: NDArray[np.bool_] = ordered & measure.greatest
        self.counted: NDArray[np.bool_] = self._weights > 0

    def tallied(self, counts: Numbers) -> Numbers:
        """The rows beneath each share, shape (..., parts, groups), of the rows per group."""
        if not self._cumulative.any():
            return counts
        return np.where(self._cumulative[:, np.newaxis], np.cumsum(counts, axis=-1), counts)

    def between(self, p: Numbers, q: Numbers, places: NDArray[np.int64] | slice) -> Numbers:
        """The effect of parts whose shares are p and q, shape (..., groups)."""
        return self._together(self._measure.terms(p, q), places)

    def nearest(self, p: tuple[Numbers, Numbers], q: tuple[Numbers, Numbers], places: NDArray[np.int64]) -> Numbers:
        """The least effect of parts whose shares lie between two ends each."""
        terms = self._measure.terms
        above = np.where(p[1] < q[0], terms(p[1], q[0]), 0.0)
        return self._together(np.where(q[1] < p[0], terms(p[0], q[1]), above), places)

    def furthest(self, p: tuple[Numbers, Numbers], q: tuple[Numbers, Numbers], places: NDArray[np.int64]) -> Numbers:
        """The greatest effect of parts whose shares lie between two ends each."""
        terms = self._measure.terms
        return self._together(np.maximum(terms(p[0], q[1]), terms(p[1], q[0])), places)

    def _together(self, terms: Numbers, places: NDArray[np.int64] | slice) -> Numbers:
        weighted = np.where(self.counted[places], terms, 0.0) * self._weights[places]
        sums = self._measure.outer(weighted.sum(axis=-1))
        if not self._measure.greatest:
            return sums
        return np.where(self._greatest[places], weighted.max(axis=-1), sums)
