"""The reference profile: what every feature of a version looked like when it was trained, in at most 64 bins each.

Beside each feature for itself it holds how often two of them go together (`relations`). Rows are given in time order.
Only the overdispersion depends on it: all the rest, to the byte, is the same for any order of the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from services.chassis.errors import Invalid
from services.profile import binning
from services.profile.columns import Column, Counts, Numbers, is_text, numbers_of, rows_of, slice_of, texts_of
from services.profile.dispersion import BLOCKS, LEAST_BLOCK_ROWS, overdispersion
from services.profile.expected import Expected
from services.profile.relations import Relations, relations_of
from services.profile.vectors import Vector, vectors_of, with_numbers

if TYPE_CHECKING:
    from services.profile.counting import Counter

CELLS = 168  # hours of the week


class Kind(StrEnum):
    """How a feature is binned."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class Role(StrEnum):
    """What a feature is to the model."""

    INPUT = "input"
    SCORE = "score"


@dataclass(frozen=True)
class Feature:
    """One feature of the reference.

    Args:
        name: Its column's name.
        kind: How it is binned.
        role: An input of the model, or a score that it gives.
        counts: The reference's rows per bin, shape (bins,); the last bin is of missing values.
        overdispersion: By how much its counts vary more between stretches of time than independent rows would: 1 for
            independent rows. A heuristic (see `dispersion`).
        edges: Numeric: the inclusive upper edges, strictly rising, shape (bins - 2,).
        values: Numeric: a value that stands for each bin but the last, in the feature's unit, shape (bins - 1,).
        deviation: Numeric: the standard deviation of the reference's finite values, in the feature's unit.
        categories: Categorical: the text of each bin but the last two, commonest first.
    """

    name: str
    kind: Kind
    role: Role
    counts: Counts
    overdispersion: float
    edges: Numbers
    values: Numbers
    deviation: float
    categories: tuple[str, ...]

    @property
    def is_text(self) -> bool:
        """Whether it is one of categories."""
        return self.kind is Kind.CATEGORICAL

    @property
    def bins(self) -> int:
        """How many bins it has, the one of missing values included."""
        return int(self.counts.size)

    @cached_property
    def uppers(self) -> Numbers:
        """Numeric: the inclusive upper edge of each bin, shape (bins,); missing values come after infinity."""
        return np.append(self.edges, (np.inf, np.nan))

    @cached_property
    def index(self) -> dict[str, int]:
        """The bin of each category."""
        return {text: place for place, text in enumerate(self.categories)}

    def count(self, column: Column) -> Counts:
        """A column's rows per bin, shape (bins,); Invalid where it isn't of the feature's kind."""
        if self.kind is Kind.NUMERIC:
            return binning.numeric_bins(self.edges, numbers_of(column, self.name))
        return binning.text_bins(self.index, texts_of(column, self.name))

    def never_seen(self) -> tuple[int, ...]:
        """The bins of values that the reference cannot hold: out of its range, or not among its categories."""
        if self.kind is Kind.NUMERIC:
            return (0, self.bins - 2) if self.edges.size else (0,)
        return (self.bins - 2,)

    def label(self, place: int) -> str:
        """What a bin holds, in words."""
        if place == self.bins - 1:
            return "missing"
        if self.kind is Kind.CATEGORICAL:
            return self.categories[place] if place < len(self.categories) else "other"
        if place == self.edges.size:
            return f"above {self.edges[-1]:g}" if self.edges.size else "any"
        return f"up to {self.edges[place]:g}" if place else f"below {np.nextafter(self.edges[0], np.inf) + 0.0:g}"


@dataclass(frozen=True, eq=False)
class Seasons:
    """A reference by hour of the week (see `seasons`).

    Args:
        counts: What a window of each hour's rows would count, shape (168, size).
        overdispersion: Per feature by how much the same hour of different weeks varies more than independent rows
            would, shape (features,); at least 1.
    """

    counts: Counts
    overdispersion: Numbers


@dataclass(frozen=True)
class ReferenceProfile:
    """Every feature of a version's reference, in the order of their names, inputs before scores.

    Args:
        rows: How many rows the reference has, at least 1.
        features: The features.
        relations: Which of them go together, and how often.
        seasons: The same by hour of the week; None where nobody knows when the rows came.
        vectors: Its vectors, each of which some of the features stand for.
        expected: What its outcomes let one expect of records without one; None where too few are known.
    """

    rows: int
    features: tuple[Feature, ...]
    relations: Relations
    seasons: Seasons | None = None
    vectors: tuple[Vector, ...] = ()
    expected: Expected | None = None

    @cached_property
    def offsets(self) -> Counts:
        """Where each feature's bins begin in a window's counts, and where the last one's end, shape (features + 1,)."""
        return np.cumsum([0, *(feature.bins for feature in self.features)])

    @cached_property
    def counts(self) -> Counts:
        """All features' rows per bin, one after another, then how many go together per relation, shape (size,)."""
        return np.concatenate([*(feature.counts for feature in self.features), self.relations.together])

    @property
    def bins(self) -> int:
        """How many bins all features have."""
        return int(self.offsets[-1])

    @property
    def size(self) -> int:
        """How many integers a window has: one per bin and one per relation."""
        return self.bins + len(self.relations)

    @cached_property
    def counter(self) -> Counter:
        """What counts batches under it, made ready once."""
        from services.profile import counting  # it knows this module

        return counting.Counter(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over its canonical bytes, 64 hex digits."""
        return sha256(self.to_bytes()).hexdigest()

    def feature(self, name: str) -> Feature:
        """The feature of a name; Invalid where it has none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise Invalid(f"the reference has no feature {name}")

    def to_bytes(self) -> bytes:
        """Its canonical bytes: the same profile gives the same bytes, everywhere and always."""
        from services.profile import canonical  # it knows this module

        return canonical.write(self)

    @staticmethod
    def from_bytes(data: bytes) -> ReferenceProfile:
        """The profile of its canonical bytes; Invalid where they aren't one."""
        from services.profile import canonical  # it knows this module

        return canonical.read(data)


def profile_of(columns: Mapping[str, Column], *, scores: Mapping[str, Column] | None = None) -> ReferenceProfile:
    """The profile of a reference.

    Args:
        columns: The model's inputs, by name; rows in time order. Of vectors (`vectors`) the shape is (rows, width).
        scores: What the model answered for the same rows, by the name of its output.

    Raises:
        Invalid: There is no row, or columns differ in length, hold neither text nor numbers, or share a name; or
            a vector isn't whole.
    """
    scores = scores or {}
    vectors = vectors_of(columns)
    columns = with_numbers(vectors, columns)
    everything = {**columns, **scores}
    if len(everything) != len(columns) + len(scores):
        raise Invalid("an input and a score have the same name", fix="rename the output")
    rows = rows_of(everything)
    if not rows:
        raise Invalid("the reference has no rows")
    inputs = [_feature(name, Role.INPUT, columns[name]) for name in sorted(columns)]
    features = (*inputs, *(_feature(name, Role.SCORE, scores[name]) for name in sorted(scores)))
    return ReferenceProfile(rows, features, relations_of(features, everything, rows), vectors=vectors)


def _feature(name: str, role: Role, column: Column) -> Feature:
    bare = _categorical(name, role, column) if is_text(column, name) else _numeric(name, role, column)
    return replace(bare, counts=bare.count(column), overdispersion=_dispersion_of(bare, column))


def _categorical(name: str, role: Role, column: Column) -> Feature:
    categories = binning.categories_of(texts_of(column, name))
    return Feature(name, Kind.CATEGORICAL, role, np.empty(0, np.int64), 1.0, np.empty(0), np.empty(0), 0.0, categories)


def _numeric(name: str, role: Role, column: Column) -> Feature:
    values = numbers_of(column, name)
    edges = binning.edges_of(values)
    ordered = np.sort(binning.usable(values))  # sums of floats depend on the order: one order, one answer
    centres = binning.values_of(edges, ordered)
    return Feature(name, Kind.NUMERIC, role, np.empty(0, np.int64), 1.0, edges, centres, _deviation(ordered), ())


def _deviation(ordered: Numbers) -> float:
    if not ordered.size:
        return 0.0
    scale = float(np.abs(ordered[[0, -1]]).max()) or 1.0  # squares of the largest doubles would overflow
    return scale * float(np.std(ordered / scale))


def _dispersion_of(feature: Feature, column: Column) -> float:
    blocks = min(BLOCKS, len(column) // LEAST_BLOCK_ROWS)
    bounds = np.linspace(0, len(column), blocks + 1).astype(int).tolist() if blocks else []
    pieces = [feature.count(slice_of(column, start, stop)) for start, stop in pairwise(bounds)]
    return overdispersion(np.array(pieces), ordered=not feature.is_text) if pieces else 1.0
