"""What of a profile is judged, on a handful of groups of bins each.

A person reads the population stability index on about ten groups, and a bound on few groups needs few records: so
neighbouring bins (rare categories) are pooled until each group holds a tenth of the reference. Pooling can only lessen
a divergence, so a bound from below on the groups holds for the bins too. Values that the reference never held are
groups of their own, those below its range, those above it, new categories, and so are missing values:

    below  (.., ..]  (.., ..]  ..  above  missing          commonest  ..  rare ones  new  missing

Many features mostly hold one value: 96 of 100 people have no capital gains. Whatever happens to the other four hardly
moves an index over everybody, and yet it is what the model reads. Such a feature is two things, whether it differs
from that value and by how much (a two-part model, Cragg 1971), so it is judged as two parts: all its rows, and the
rows apart from its commonest bin where that bin holds more than half. One tolerance serves both: from 1994 to 1995 the
index of all rows of a census column is at most 0.010, that of the rows apart at most 0.028.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.profile import Feature, Kind, ReferenceProfile
from services.profile.columns import Counts, Numbers
from services.profile.reference import Seasons

LEAN = 32.0  # rows' worth of the whole in an hour's reference: half of what thirty rows say
LEAST_SHARE = 0.1  # deciles: Siddiqi (2006), Credit Risk Scorecards, ch. 6
MAJORITY = 0.5


@dataclass(frozen=True)
class Part:
    """One thing that is judged.

    Args:
        feature: The feature.
        apart_from: The value that the rows aren't, in words; empty where all rows are judged.
        groups: For each bin of the feature its group, or -1 where the bin's rows aren't judged here.
    """

    feature: Feature = field(repr=False)
    apart_from: str
    groups: tuple[int, ...]

    @property
    def name(self) -> str:
        """What is judged, in words."""
        return f"{self.feature.name} apart from {self.apart_from}" if self.apart_from else self.feature.name

    @property
    def ordered(self) -> bool:
        """Whether its groups are in the order of their values: of a numeric feature, missing ones last."""
        return self.feature.kind is Kind.NUMERIC

    @property
    def unseen(self) -> tuple[int, ...]:
        """The groups of values that the reference cannot hold."""
        return tuple(sorted({self.groups[place] for place in self.feature.never_seen()} - {-1}))

    def values(self) -> Numbers:
        """Of a numeric feature: a value that stands for each group but that of missing ones, in the feature's unit."""
        present = self.feature.bins - 1
        pooled = np.array(self.groups[:present])
        rows = np.maximum(self.feature.counts[:present], 1e-9)  # a group of empty bins lies in their middle
        judged = pooled >= 0
        sums = np.bincount(pooled[judged], weights=(rows * self.feature.values)[judged])
        return np.asarray(sums / np.bincount(pooled[judged], weights=rows[judged]))


class Parts:
    """All that is judged of a profile, and how a window's counts become the groups' counts.

    Args:
        profile: The version's reference.
    """

    def __init__(self, profile: ReferenceProfile) -> None:
        self.parts = tuple(part for feature in profile.features for part in _parts_of(feature))
        self.groups = np.array([max(part.groups) + 1 for part in self.parts])
        self.width = int(self.groups.max())
        self.used: NDArray[np.bool_] = np.arange(self.width) < self.groups[:, np.newaxis]
        self.overdispersion = np.array([part.feature.overdispersion for part in self.parts])[:, np.newaxis]
        self._names = [feature.name for feature in profile.features]
        self._places(profile)
        self.reference = self.effective(self.collect(profile.counts))

    def __len__(self) -> int:
        return len(self.parts)

    def of_the_hour(self, cell: int, seasons: Seasons) -> Parts:
        """The same parts, held against an hour's rows of the reference; few rows lean on the shares of all."""
        some = copy(self)
        by_name = dict(zip(self._names, seasons.overdispersion.tolist(), strict=True))
        some.overdispersion = np.array([by_name[part.feature.name] for part in self.parts])[:, np.newaxis]
        shares = self.reference / np.maximum(self.reference.sum(axis=-1, keepdims=True), 1.0)
        some.reference = some.effective(self.collect(seasons.counts[cell])) + LEAN * shares
        return some

    def collect(self, counts: Counts) -> Counts:
        """The rows per group.

        Args:
            counts: Rows per bin, shape (..., bins of all features and more).

        Returns:
            Shape (..., parts, groups); 0 beyond a part's own groups.
        """
        collected = np.zeros((*counts.shape[:-1], len(self.parts) * self.width), dtype=np.int64)
        upto = counts[..., self._source].cumsum(axis=-1)[..., self._lasts]  # in a third of the time of reduceat
        collected[..., self._target] = np.diff(upto, axis=-1, prepend=0)
        return collected.reshape(*counts.shape[:-1], len(self.parts), self.width)

    def effective(self, counts: Counts) -> Numbers:
        """Rows per group, shape (..., parts, groups), as so many independent rows: divided by the overdispersion."""
        return np.asarray(counts / self.overdispersion)

    def _places(self, profile: ReferenceProfile) -> None:
        offsets = dict(zip((feature.name for feature in profile.features), profile.offsets.tolist(), strict=False))
        pairs = sorted(
            (place * self.width + group, offsets[part.feature.name] + bin_)
            for place, part in enumerate(self.parts)
            for bin_, group in enumerate(part.groups)
            if group >= 0
        )
        targets = np.array([target for target, _ in pairs])
        self._source = np.array([source for _, source in pairs])
        self._target, rows = np.unique(targets, return_counts=True)
        self._lasts = rows.cumsum() - 1


def _parts_of(feature: Feature) -> list[Part]:
    commonest = int(np.argmax(feature.counts))
    everything = set(range(feature.bins))
    parts = [Part(feature, "", _groups(feature, everything))]
    if feature.counts[commonest] > MAJORITY * feature.counts.sum() and np.count_nonzero(feature.counts) > 1:
        rest = Part(feature, _value(feature, commonest), _groups(feature, everything - {commonest}))
        parts += [rest] if max(rest.groups) > 0 else []  # a single group can't change
    return parts


def _groups(feature: Feature, judged: set[int]) -> tuple[int, ...]:
    """Pool neighbours until a group holds its share; what holds it alone stays alone, like unseen and missing."""
    least = LEAST_SHARE * sum(int(feature.counts[place]) for place in judged)
    alone = {*feature.never_seen(), feature.bins - 1}
    groups = [-1] * feature.bins
    latest, held, closed = -1, 0.0, True
    for place in sorted(judged):
        rows = int(feature.counts[place])
        if closed or place in alone or held >= least or (held and rows >= least):
            latest, held = latest + 1, 0.0
        groups[place] = latest
        held += rows
        closed = place in alone
    return tuple(groups)


def _value(feature: Feature, place: int) -> str:
    return feature.label(place).removeprefix("up to ")
