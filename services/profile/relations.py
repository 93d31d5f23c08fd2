"""Which features go together, and how often: what each feature alone cannot show.

Every feature has two sides: a number lies above the reference's middle or not, a text is the commonest one or not (a
missing value is not). A relation is a pair of features, and how many rows lie on the same side of both: half of them
where two features that are halved have nothing to do with each other, nearly all where one says what the other is. It
is one number per pair, it adds up like any count, and for a bivariate normal it tells a correlation r at four tenths
of what the rows themselves would tell: rows on the same side are 1/2 + arcsin(r) / pi (Sheppard 1899). What halves
cannot show (y = x squared; three features that only together mean something) isn't seen.

Of at most 32 features every pair is kept; of more, as many pairs, those that go together most in the reference: a
relation that breaks is seen whatever the model's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.profile.columns import Column, Counts, coded_of, numbers_of

if TYPE_CHECKING:
    from services.profile.reference import Feature

MOST_PAIRS = 496  # of 32 features; four kilobytes a window
MOST_FEATURES = 512  # that are looked at: a square of them is counted
LEAST_SIDE = 0.001  # of the reference on either side: a feature that has but one goes together with nothing
NO_CUT = -1  # of a feature whose sides tell nothing
WORD = 64  # rows that one number holds, a bit each
CHUNK = 1024  # words at once, so that a reference of any length needs some megabytes

Bits = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Relations:
    """Pairs of features and how often they go together.

    Args:
        cuts: Per feature the bin up to which a row lies on its lower side, shape (features,): of a number the place of
            an edge, of a text 0; `NO_CUT` where its sides tell nothing.
        first: Per pair the place of a feature, shape (pairs,).
        second: Per pair that of another, greater, shape (pairs,).
        together: Per pair the reference's rows on the same side of both, shape (pairs,).
    """

    cuts: Counts
    first: Counts
    second: Counts
    together: Counts

    def __len__(self) -> int:
        return int(self.first.size)

    def count(self, bits: Bits, rows: int) -> Counts:
        """Per pair the rows on the same side of both, shape (pairs,), of `packed` sides."""
        return _together(bits, rows, self.first, self.second)


def none(features: int) -> Relations:
    """No relation."""
    nothing = np.empty(0, dtype=np.int64)
    return Relations(np.full(features, NO_CUT), nothing, nothing, nothing)


def relations_of(features: Sequence[Feature], columns: Mapping[str, Column], rows: int) -> Relations:
    """The relations of a reference."""
    cuts = np.array([_cut(feature) for feature in features], dtype=np.int64)
    able = np.flatnonzero(cuts > NO_CUT)[:MOST_FEATURES]
    if able.size < 2:  # noqa: PLR2004  # a pair
        return none(len(features))
    sides = [side_of(feature, cut, columns[feature.name]) for feature, cut in zip(features, cuts.tolist(), strict=True)]
    bits = packed(np.array(sides))
    one, other = np.triu_indices(able.size, k=1)
    first, second = able[one], able[other]
    together = _together(bits, rows, first, second)
    if together.size > MOST_PAIRS:
        kept = _strongest(bits, rows, first, second, together)
        first, second, together = first[kept], second[kept], together[kept]
    return Relations(cuts, first, second, together)


def packed(sides: NDArray[np.bool_]) -> Bits:
    """Sides, shape (features, rows), a bit each: shape (features, words); bits beyond the rows are 0."""
    rows = sides.shape[1]
    bytes_ = np.zeros((sides.shape[0], -(-rows // WORD) * (WORD // 8)), dtype=np.uint8)
    bytes_[:, : -(-rows // 8)] = np.packbits(sides, axis=1)
    return bytes_.view(np.uint64)


def side_of(feature: Feature, cut: int, column: Column) -> NDArray[np.bool_]:
    """Which records lie on a feature's upper side, shape (rows,)."""
    if cut == NO_CUT:
        return np.zeros(len(column), dtype=bool)
    if feature.categories:
        text = coded_of(column, feature.name)
        commonest = [each == feature.categories[0] for each in text.dictionary]
        return np.asarray(np.array([*commonest, False])[text.codes])  # the code -1 is the last
    return np.asarray(numbers_of(column, feature.name) > feature.edges[cut])


def _cut(feature: Feature) -> int:
    """The bin up to which the reference's rows are split most evenly; a text is the commonest one or not."""
    shares = np.cumsum(feature.counts[:-2]) / feature.counts.sum()
    if feature.categories:
        shares = shares[:1]
    if not shares.size:
        return NO_CUT
    cut = int(np.argmin(np.abs(shares - 0.5)))
    return cut if LEAST_SIDE < shares[cut] < 1 - LEAST_SIDE else NO_CUT


def _together(bits: Bits, rows: int, first: Counts, second: Counts) -> Counts:
    apart = np.zeros(first.size, dtype=np.int64)
    for start in range(0, bits.shape[1], CHUNK):
        some = bits[:, start : start + CHUNK]
        for part in range(0, first.size, MOST_PAIRS):
            which = slice(part, part + MOST_PAIRS)
            apart[which] += _ones(some.take(first[which], axis=0) ^ some.take(second[which], axis=0))
    return rows - apart


def _ones(bits: Bits) -> Counts:
    """How many bits of each row are set. A float holds each count exactly, and sums a row in a third of the time."""
    counts = np.bitwise_count(bits).astype(np.float32)
    return (counts @ np.ones(bits.shape[1], dtype=np.float32)).astype(np.int64)


def _strongest(bits: Bits, rows: int, first: Counts, second: Counts, together: Counts) -> Counts:
    """The pairs that go together furthest from how often they would by chance, in their order."""
    shares = np.bitwise_count(bits).sum(axis=1) / rows
    p, q = shares[first], shares[second]
    covariance = (together / rows - p * q - (1 - p) * (1 - q)) / 2
    correlation = np.abs(covariance) / np.sqrt(p * (1 - p) * q * (1 - q))
    return np.sort(np.argsort(-correlation, kind="stable")[:MOST_PAIRS])
