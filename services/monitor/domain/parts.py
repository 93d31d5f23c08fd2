"""What of a profile is judged, on a handful of groups of bins each.

A person reads the population stability index on about ten groups, and a bound on few groups needs few records: so
neighbouring bins (rare categories) are pooled until each group holds a tenth of the reference. Pooling can only lessen
a divergence, so a bound from below on the groups holds for the bins too. Values that the reference never held are a
group of their own, and so are missing values.

Many features mostly hold one value: 96 of 100 people have no capital gains. Whatever happens to the other four hardly
moves an index over everybody, and yet it is what the model reads. Such a feature is two things, whether it differs
from that value and by how much (a two-part model, Cragg 1971), so it is judged as two parts: all its rows, and the
rows apart from its commonest bin where that bin holds more than half. One tolerance serves both: from 1994 to 1995 the
index of all rows of a census column is at most 0.010, that of the rows apart at most 0.028.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.profile import Feature, ReferenceProfile
from services.profile.columns import Counts, Numbers

LEAST_SHARE = 0.1  # deciles: Siddiqi (2006), Credit Risk Scorecards, ch. 6
MAJORITY = 0.5


@dataclass(frozen=True)
class Part:
    """One thing that is judged.

    Args:
        feature: The feature's name.
        apart_from: The value that the rows aren't, in words; empty where all rows are judged.
        groups: For each bin of the feature its group, or -1 where the bin's rows aren't judged here.
        overdispersion: The feature's: its counts are divided by it.
    """

    feature: str
    apart_from: str
    groups: tuple[int, ...]
    overdispersion: float

    @property
    def name(self) -> str:
        """What is judged, in words."""
        return f"{self.feature} apart from {self.apart_from}" if self.apart_from else self.feature


class Parts:
    """All that is judged of a profile, and how a window's counts become the groups' counts.

    Args:
        profile: The version's reference.
    """

    def __init__(self, profile: ReferenceProfile) -> None:
        self.parts = tuple(part for feature in profile.features for part in _parts_of(feature))
        self.groups = np.array([max(part.groups) + 1 for part in self.parts])
        self.overdispersion = np.array([part.overdispersion for part in self.parts])
        self._width = int(self.groups.max())
        self._places(profile)
        self.reference = self.collect(profile.counts)

    def __len__(self) -> int:
        return len(self.parts)

    def collect(self, counts: Counts) -> Numbers:
        """The groups' effective counts.

        Args:
            counts: Rows per bin, shape (..., bins of all features).

        Returns:
            Shape (..., parts, groups): rows divided by the part's overdispersion; 0 beyond a part's own groups.
        """
        sums = np.add.reduceat(counts[..., self._source], self._starts, axis=-1)
        collected = np.zeros((*counts.shape[:-1], len(self.parts) * self._width))
        collected[..., self._target] = sums
        shaped = collected.reshape(*counts.shape[:-1], len(self.parts), self._width)
        return np.asarray(shaped / self.overdispersion[:, np.newaxis])

    def used(self) -> NDArray[np.bool_]:
        """Which groups a part has, shape (parts, groups)."""
        return np.asarray(np.arange(self._width) < self.groups[:, np.newaxis])

    def _places(self, profile: ReferenceProfile) -> None:
        offsets = dict(zip((feature.name for feature in profile.features), profile.offsets.tolist(), strict=False))
        pairs = sorted(
            (place * self._width + group, offsets[part.feature] + bin_)
            for place, part in enumerate(self.parts)
            for bin_, group in enumerate(part.groups)
            if group >= 0
        )
        targets = np.array([target for target, _ in pairs])
        self._source = np.array([source for _, source in pairs])
        self._target, self._starts = np.unique(targets, return_index=True)


def _parts_of(feature: Feature) -> list[Part]:
    commonest = int(np.argmax(feature.counts))
    everything = set(range(feature.bins))
    parts = [Part(feature.name, "", _groups(feature, everything), feature.overdispersion)]
    if feature.counts[commonest] > MAJORITY * feature.counts.sum() and np.count_nonzero(feature.counts) > 1:
        groups = _groups(feature, everything - {commonest})
        parts.append(Part(feature.name, _value(feature, commonest), groups, feature.overdispersion))
    return parts


def _groups(feature: Feature, judged: set[int]) -> tuple[int, ...]:
    """Pool neighbours until a group holds its share; a bin that holds it alone stays alone."""
    least = LEAST_SHARE * sum(int(feature.counts[place]) for place in judged)
    groups = [-1] * feature.bins
    latest, held = 0, 0.0
    apart = [place for place in (*feature.never_seen(), feature.bins - 1) if place in judged]
    for place in sorted(judged.difference(apart)):
        rows = int(feature.counts[place])
        if held >= least or (held and rows >= least):
            latest, held = latest + 1, 0.0
        groups[place] = latest
        held += rows
    for place in set(feature.never_seen()) & judged:
        groups[place] = latest + 1
    if feature.bins - 1 in judged:
        groups[-1] = max(groups) + 1
    return _without_gaps(groups)


def _without_gaps(groups: list[int]) -> tuple[int, ...]:
    named = {group: place for place, group in enumerate(sorted(set(groups) - {-1}))}
    return tuple(named.get(group, -1) for group in groups)


def _value(feature: Feature, place: int) -> str:
    return feature.label(place).removeprefix("up to ")
