"""Vectors, such as embeddings: a column that holds as many numbers per record as the reference's, all of them or none.

Nobody reads them one by one, so a vector x is watched as nine numbers, each an ordinary feature beside all others, with
its bins, its evidence and its bounds:

    NAME·distance   how far it is from the reference's mean m: the root of the sum of (x_j - m_j)^2
    NAME·1 .. ·8    where it lies along a fixed direction: the sum of s_j (x_j - m_j), each s_j 1 or -1 by the bits of a
                    hash, over the root of how many there are

So a change in the mean of length d moves a direction by about d, whatever it points to and however wide the vector is;
scattering more moves the distance (random signs, Achlioptas 2003; sliced distances, Rabin et al. 2011). What leaves
distance and all eight directions as they were isn't seen.

Sums are taken component after component, the same for one record and for thousands, so that counts don't depend on how
records were cut into batches. In records the components are columns of their own, NAME[0], NAME[1] and so on, as model
servers tell of tensors. A record that lacks one of them lacks the vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import shake_256
from itertools import count as counting
from typing import Any

import numpy as np

from services.chassis.errors import Invalid
from services.profile.columns import CodedText, Column, Numbers, numbers_of

DIRECTIONS = 8  # a change hides from one of them by chance; from all of eight hardly ever
MOST_WIDTH = 4_096  # numbers of a vector: larger ones than most models of text give
DISTANCE = "distance"


@dataclass(frozen=True, eq=False)
class Vector:
    """A vector of the reference.

    Args:
        name: Its column's name.
        mean: The mean of the reference's vectors, shape (width,).
    """

    name: str
    mean: Numbers

    @property
    def components(self) -> list[str]:
        """The columns that hold its numbers, in their order."""
        return [component_of(self.name, place) for place in range(self.mean.size)]

    @property
    def features(self) -> list[str]:
        """The numbers that stand for it."""
        return [f"{self.name}·{which}" for which in (DISTANCE, *range(1, DIRECTIONS + 1))]

    @cached_property
    def _signs(self) -> Numbers:
        """Shape (width, directions), of 1 and -1."""
        bits = np.unpackbits(np.frombuffer(shake_256(b"goldenpath").digest(MOST_WIDTH * DIRECTIONS // 8), np.uint8))
        return 2.0 * bits.reshape(MOST_WIDTH, DIRECTIONS)[: self.mean.size].astype(np.float64) - 1.0

    def numbers(self, components: Sequence[Numbers]) -> dict[str, Numbers]:
        """The numbers that stand for some records' vectors, by feature.

        Args:
            components: Each component's values, shape (rows,); NaN where missing.
        """
        rows = components[0].size
        squares, along = np.zeros(rows), np.zeros((DIRECTIONS, rows))
        with np.errstate(over="ignore", invalid="ignore"):  # infinite ones lie beyond all, or count as missing
            for values, middle, signs in zip(components, self.mean.tolist(), self._signs, strict=True):
                away = values - middle
                squares += away * away
                along += signs[:, np.newaxis] * away
            return dict(zip(self.features, (np.sqrt(squares), *(along / np.sqrt(self.mean.size))), strict=True))


def component_of(name: str, place: int) -> str:
    """The column of a vector's number, as model servers name it."""
    return f"{name}[{place}]"


def stacked(rows: Sequence[Any], name: str) -> Numbers:
    """Vectors of a column, shape (rows, width), of a list or an array of numbers per row, NaN where it is None.

    Raises:
        Invalid: they aren't of one length, or aren't of numbers.
    """
    widths = sorted({len(row) for row in rows if row is not None})
    if len(widths) != 1:
        found = " and ".join(map(str, widths)) or "no"
        raise Invalid(f"its vectors have {found} numbers", where=name, fix="give them one length")
    missing = np.full(widths[0], np.nan)
    try:
        return np.array([missing if row is None else row for row in rows], dtype=np.float64)
    except (TypeError, ValueError):
        raise Invalid("its lists hold something else than numbers", where=name) from None


def vectors_of(columns: Mapping[str, Column]) -> tuple[Vector, ...]:
    """The vectors among a reference's columns, in the order of their names: those of shape (rows, width).

    Raises:
        Invalid: one is wider than can be watched, or isn't of whole vectors of finite numbers.
    """
    held = ((name, columns[name]) for name in sorted(columns))
    return tuple(
        Vector(name, _mean(name, column))
        for name, column in held
        if not isinstance(column, CodedText) and column.ndim > 1
    )


def with_numbers(vectors: Sequence[Vector], columns: Mapping[str, Column]) -> Mapping[str, Column]:
    """Columns, with the numbers that stand for their vectors beside them, and without those.

    Args:
        vectors: What the reference has.
        columns: By name; a vector is one column of shape (rows, width), or a column for each of its numbers.

    Raises:
        Invalid: a vector is longer or shorter than the reference's, or isn't of numbers.
    """
    if not vectors:
        return columns
    rest = dict(columns)
    for vector in vectors:
        rest |= vector.numbers(list(_components(vector, columns)))
        rest.pop(vector.name, None)
    return rest


def _components(vector: Vector, columns: Mapping[str, Column]) -> Iterator[Numbers]:
    whole, width = columns.get(vector.name), vector.mean.size
    if isinstance(whole, np.ndarray) and whole.ndim > 1:
        _expect_width(vector, whole.shape[1])
        for place in range(width):
            yield numbers_of(whole[:, place], component_of(vector.name, place))
        return
    _expect_width(vector, next(place for place in counting() if component_of(vector.name, place) not in columns))
    for name in vector.components:
        yield numbers_of(columns[name], name)


def _expect_width(vector: Vector, found: int) -> None:
    if found != vector.mean.size:
        raise Invalid(f"a vector has {found} numbers, the reference's have {vector.mean.size}", where=vector.name)


def _mean(name: str, column: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Numbers:
    if column.ndim != 2 or not 0 < column.shape[1] <= MOST_WIDTH:  # noqa: PLR2004 - rows and numbers
        raise Invalid(f"has the shape {column.shape}; vectors have 1 to {MOST_WIDTH} numbers each", where=name)
    if column.dtype.kind not in "biuf":
        raise Invalid(f"holds vectors of {column.dtype}; they are of numbers", where=name)
    values = column.astype(np.float64, copy=False)
    finite = np.isfinite(values)
    broken = np.flatnonzero(~finite.all(axis=1) & ~np.isnan(values).all(axis=1))
    if broken.size:
        raise Invalid(
            f"the vector of row {broken[0]} has a number that is missing or infinite",
            where=name,
            fix="give whole vectors, or none where there is none",
        )
    whole = values[finite[:, 0]]
    if not len(whole):
        raise Invalid("no row has a vector", where=name)
    ordered = np.sort(whole, axis=0)  # sums of floats depend on the order: one order, one answer
    return np.asarray(ordered.sum(axis=0) / len(ordered))
