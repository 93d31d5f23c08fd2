"""What the reference's outcomes let one expect of records whose outcomes nobody knows yet.

A `Calibration` says of a classifier's score how likely the positive class is. A `LossTree` says of a regression's
record how far off the prediction will be, from its inputs and the prediction itself. Both are made once, with the
profile, from rows that the model was not trained on; both are plain numbers, so that a profile carries them and a batch
is looked up in them without any framework.

They are right as long as what inputs say about outcomes is as it was. Where that changes they don't see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from services.chassis.errors import Invalid
from services.profile.columns import Column, Counts, Numbers, coded_of, numbers_of

LEAF = -1  # the feature of a node that asks nothing
MOST_KNOTS = 512
MOST_NODES = 255
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How likely the positive class is, by score: straight lines between knots, level beyond them.

    Args:
        scores: Where the knots are, 0 to 1, strictly rising, shape (knots,).
        likely: The probability there, 0 to 1, never falling, shape (knots,).
        rows: Of how many outcomes that was learnt.
    """

    scores: Numbers
    likely: Numbers
    rows: int

    def of(self, scores: Numbers) -> Numbers:
        """The probability of the positive class for each score, shape (rows,)."""
        return np.interp(scores, self.scores, self.likely)


@dataclass(frozen=True, eq=False)
class LossTree:
    """A tree whose leaves say how large a regression's errors are; a node asks whether a feature is at most something.

    Args:
        names: The features that it asks for, the prediction among them by its own name.
        texts: Of those that are text, by name: the number that stands for each value.
        features: By node the place in `names` of what it asks, `LEAF` for a leaf; shape (nodes,).
        limits: By node the most that goes to `below`, shape (nodes,).
        below: By node the node of values up to the limit, shape (nodes,); always further on.
        above: By node the node of the others, shape (nodes,); always further on.
        missing_below: By node whether a value that is missing goes to `below`, shape (nodes,).
        absolute: By node the mean absolute error, in the value's unit, shape (nodes,).
        square: By node the mean squared error, shape (nodes,).
        fourth: By node the mean of the fourth power of the error, shape (nodes,).
        rows: Of how many outcomes that was learnt.
    """

    names: tuple[str, ...]
    texts: Mapping[str, Mapping[str, float]]
    features: Counts
    limits: Numbers
    below: Counts
    above: Counts
    missing_below: Counts
    absolute: Numbers
    square: Numbers
    fourth: Numbers
    rows: int

    @property
    def nodes(self) -> int:
        """How many nodes it has."""
        return int(self.features.size)

    @cached_property
    def _next(self) -> Counts:
        """By node and answer (above, below) the next node; a leaf stays where it is."""
        here = np.arange(self.nodes)
        leaf = self.features == LEAF
        return np.array([np.where(leaf, here, self.above), np.where(leaf, here, self.below)])

    def leaves(self, columns: Mapping[str, Column], rows: int) -> Counts:
        """The leaf of each record, shape (rows,).

        Args:
            columns: A column for each of `names`, by name.
            rows: How many records each has.

        Raises:
            Invalid: a column isn't there, or of another kind than the reference's.
        """
        values = encoded(self.names, self.texts, columns)
        at, records = np.zeros(rows, dtype=np.int64), np.arange(rows)
        while (self.features[at] != LEAF).any():
            asked = values[self.features[at], records]
            missing = np.isnan(asked)
            low = np.where(missing, self.missing_below[at] != 0, asked <= self.limits[at])
            at = self._next[low.astype(np.int64), at]
        return at


Expected: TypeAlias = Calibration | LossTree


def encoded(names: Sequence[str], texts: Mapping[str, Mapping[str, float]], columns: Mapping[str, Column]) -> Numbers:
    """Columns as numbers, shape (features, rows): text by the number that stands for each value, NaN without one.

    They are rounded to single precision, in which trees are grown; what is beyond it counts as its largest.

    Raises:
        Invalid: a column isn't there, or of another kind.
    """
    made = []
    for name in names:
        if name not in columns:
            raise Invalid("isn't there", where=name)
        made.append(_numbers(columns[name], name, texts.get(name)))
    return np.clip(np.array(made), -LARGEST, LARGEST).astype(np.float32).astype(np.float64)


def _numbers(column: Column, name: str, values: Mapping[str, float] | None) -> Numbers:
    if values is None:
        return numbers_of(column, name)
    text = coded_of(column, name)
    known = np.array([np.nan, *(values.get(each, np.nan) for each in text.dictionary)])
    return np.asarray(known[text.codes.astype(np.int64) + 1])
