"""What a column of records may be: numbers, text, or text that is already coded.

Numbers are any boolean, integer or floating type, and become float64; NaN is a missing value. Text is an array of str
and None (numpy's object or str type), or `CodedText`: each distinct value once and an index per record, which is how
batches travel. Coded text is never expanded.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Invalid

Numbers: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]
_DOUBLES: Final = np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class CodedText:
    """Text as codes into a dictionary.

    Args:
        codes: Per record the index of its value, shape (rows,), a signed integer type; -1 is a missing value.
        dictionary: The distinct values, in any order; one that no record has does no harm.

    Raises:
        Invalid: A code has no entry in the dictionary.
    """

    codes: NDArray[np.signedinteger]
    dictionary: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.codes.ndim != 1 or self.codes.dtype.kind != "i":
            raise Invalid("codes are one signed integer per record")
        codes = self.codes  # `reduce` itself, as the methods around it cost as much again
        if codes.size and (np.minimum.reduce(codes) < -1 or np.maximum.reduce(codes) >= len(self.dictionary)):
            raise Invalid(f"a code is outside -1 to {len(self.dictionary) - 1}")

    def __len__(self) -> int:
        return int(self.codes.size)

    def rows_by_code(self) -> list[int]:
        """How many records are missing, then how many have each value of the dictionary."""
        counted: list[int] = np.bincount(
            np.add(self.codes, 1, dtype=np.int64), minlength=len(self.dictionary) + 1
        ).tolist()
        return counted

    def slice(self, start: int, stop: int) -> CodedText:
        """The records from start to stop, with the same dictionary."""
        return CodedText(self.codes[start:stop], self.dictionary)


Column: TypeAlias = NDArray[np.generic] | CodedText


def is_text(column: Column, name: str) -> bool:
    """Whether a column holds text; Invalid where it holds neither text nor numbers, or isn't one value per record."""
    if isinstance(column, CodedText):
        return True
    if column.ndim != 1:
        raise Invalid(f"has {column.ndim} dimensions; a column has one", where=name)
    if column.dtype.kind in "OU":
        return True
    if column.dtype.kind in "biuf":
        return False
    raise Invalid(f"holds {column.dtype}; a column holds numbers or text", where=name)


def numbers_of(column: Column, name: str) -> Numbers:
    """A column's values as float64, NaN where missing; Invalid where it holds text."""
    if isinstance(column, CodedText) or ((column.dtype != _DOUBLES or column.ndim != 1) and is_text(column, name)):
        raise Invalid("holds text where the reference has numbers", where=name)
    return column.astype(_DOUBLES, copy=False)


def coded(texts: Iterable[str | None]) -> CodedText:
    """Texts as codes; None is a missing value."""
    codes: dict[str | None, int] = defaultdict(itertools.count().__next__, {None: -1})
    found = np.array([codes[text] for text in texts], dtype=np.int64)
    return CodedText(found, tuple(text for text in codes if text is not None))


def coded_of(column: Column, name: str) -> CodedText:
    """A column of text as codes; Invalid where it holds something else."""
    if isinstance(column, CodedText):
        return column
    if not is_text(column, name):
        raise Invalid("holds numbers where the reference has text", where=name)
    text = coded(column.tolist())
    for value in text.dictionary:
        if not isinstance(value, str):
            raise Invalid(f"holds {value!r}; text is str, and None where missing", where=name)
    return text


def texts_of(column: Column, name: str) -> Iterable[tuple[str | None, int]]:
    """How often each text occurs, None for missing values; Invalid where the column holds something else.

    A value that stands twice in a dictionary comes twice.
    """
    text = coded_of(column, name)
    return zip((None, *text.dictionary), text.rows_by_code(), strict=True)


def rows_of(columns: Mapping[str, Column]) -> int:
    """How many records the columns hold; Invalid where they differ or there is no column."""
    rows = -1
    for name, column in columns.items():
        length = len(column)
        if length != rows >= 0:
            raise Invalid(f"has {length} records, the first column has {rows}", where=name)
        rows = length
    if rows < 0:
        raise Invalid("there are no columns")
    return rows


def slice_of(column: Column, start: int, stop: int) -> Column:
    """The records from start to stop."""
    return column.slice(start, stop) if isinstance(column, CodedText) else column[start:stop]


def picked(column: Column, rows: Counts) -> Column:
    """The records at some places."""
    return CodedText(column.codes[rows], column.dictionary) if isinstance(column, CodedText) else column[rows]
