"""Counting a batch under a profile: all numbers as one matrix and all texts as another, in few steps however many.

Few edges are looked up among sorted numbers, which costs a tenth of looking every number up among the edges. Texts
are looked up once per distinct value: the dictionaries of all columns stand one after another, so that one count of
codes tells how often each of their entries occurs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.profile.columns import CodedText, Column, Counts, coded_of, numbers_of
from services.profile.relations import NO_CUT, packed

if TYPE_CHECKING:
    from services.profile.reference import Feature, ReferenceProfile

Sides = NDArray[np.bool_]


class Counter:
    """Counts batches under one profile; made ready once.

    Args:
        profile: What the bins and relations are.
    """

    def __init__(self, profile: ReferenceProfile) -> None:
        self._features, self._size, self._relations = len(profile.features), profile.size, profile.relations
        self._bins = profile.bins
        able = profile.relations.cuts != NO_CUT
        text = np.array([feature.is_text for feature in profile.features])
        self._numbers = _NumberCounter(profile, ~text)
        self._texts = _TextCounter(profile, text, able)

    def count(self, columns: Mapping[str, Column], rows: int) -> Counts:
        """A window's counts, shape (profile.size,).

        Args:
            columns: A column per feature, by name.
            rows: How many records each has.

        Raises:
            Invalid: a column is of another kind than its feature.
        """
        counts = np.empty(self._size, dtype=np.int64)
        sides = np.zeros((self._features, rows), dtype=bool)
        self._numbers.count(columns, counts, sides)
        self._texts.count(columns, counts, sides)
        if len(self._relations):
            counts[self._bins :] = self._relations.count(packed(sides), rows)
        return counts


class _NumberCounter:
    def __init__(self, profile: ReferenceProfile, which: NDArray[np.bool_]) -> None:
        self._features = _picked(profile, which)
        self._places, self._bins = np.flatnonzero(which), _bins_of(profile, which)
        self._firsts = _firsts(self._features)
        self._uppers = [feature.uppers for feature in self._features]
        cuts = zip(self._features, profile.relations.cuts[which].tolist(), strict=True)
        self._cuts = np.array([feature.edges[cut] if cut != NO_CUT else np.inf for feature, cut in cuts])[:, np.newaxis]

    def count(self, columns: Mapping[str, Column], counts: Counts, sides: Sides) -> None:
        """Fill in the rows per bin, and which records lie on each feature's upper side."""
        if not self._features:
            return
        numbers = np.array([numbers_of(columns[feature.name], feature.name) for feature in self._features])
        sides[self._places] = numbers > self._cuts
        numbers.sort(axis=1)  # missing values come last
        upto = [each.searchsorted(uppers, side="right") for each, uppers in zip(numbers, self._uppers, strict=True)]
        ends = np.concatenate(upto)
        within = ends.copy()
        within[1:] -= ends[:-1]
        within[self._firsts] = ends[self._firsts]
        counts[self._bins] = within


class _TextCounter:
    def __init__(self, profile: ReferenceProfile, which: NDArray[np.bool_], able: NDArray[np.bool_]) -> None:
        self._features = _picked(profile, which)
        self._places, self._bins = np.flatnonzero(which), _bins_of(profile, which)
        self._firsts = _firsts(self._features).tolist()
        self._upper = np.zeros(self._bins.size, dtype=bool)  # the bins of commonest texts
        self._upper[_firsts(self._features)[able[which]]] = True

    def count(self, columns: Mapping[str, Column], counts: Counts, sides: Sides) -> None:
        """Fill in the rows per bin, and which records lie on each feature's upper side."""
        if not self._features:
            return
        texts = [coded_of(columns[feature.name], feature.name) for feature in self._features]
        bins = list[int]()
        starts = list[int]()
        for feature, first, text in zip(self._features, self._firsts, texts, strict=True):
            starts.append(len(bins) + 1)
            bins += _bins_of_texts(feature, first, text)
        bin_of = np.array(bins)
        entries = np.add(np.array([text.codes for text in texts]), np.array(starts)[:, np.newaxis], dtype=np.int64)
        rows = np.bincount(entries.ravel(), minlength=len(bins))
        counts[self._bins] = np.bincount(bin_of, weights=rows, minlength=self._bins.size)  # doubles hold them exactly
        sides[self._places] = self._upper[bin_of].take(entries)


def _bins_of_texts(feature: Feature, first: int, text: CodedText) -> list[int]:
    """The bins of missing values and of each entry of a dictionary, where the feature's own begin with `first`."""
    other = first + len(feature.index)
    return [other + 1, *(first + feature.index.get(each, other - first) for each in text.dictionary)]


def _picked(profile: ReferenceProfile, which: NDArray[np.bool_]) -> list[Feature]:
    return [profile.features[place] for place in np.flatnonzero(which)]


def _bins_of(profile: ReferenceProfile, which: NDArray[np.bool_]) -> Counts:
    """Where the bins of some features are in a window's counts, feature after feature."""
    return np.flatnonzero(np.repeat(which, np.diff(profile.offsets)))


def _firsts(features: list[Feature]) -> Counts:
    """Where each feature's bins begin among those of all of these."""
    return np.cumsum([0, *(feature.bins for feature in features)])[:-1]
