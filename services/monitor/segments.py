"""Segments: the values of an input of text by which records are shown apart, however many and however long they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from goldenpath.modelserver.v1 import events_pb2 as records_pb
from services.profile import CodedText
from services.profile.columns import Counts, coded

MOST: Final = 50
"""Values of an input that are told apart in a day: the first, and of what is counted at once the commonest."""
LONGEST: Final = 200  # characters of a value: it is part of a key, which PostgreSQL bounds
OTHER: Final = "(other)"
MISSING: Final = "(missing)"


def values_of(column: records_pb.Column, order: Counts) -> CodedText:
    """Each record's value, in an order; values that differ only in what a key can't hold are one."""
    written = CodedText(np.array(column.codes, dtype=np.int64), tuple(column.dictionary))
    keys = coded([*(text[:LONGEST].replace("\0", "?") for text in written.dictionary), MISSING])
    return CodedText(keys.codes[written.codes[order]], keys.dictionary)  # -1, what is missing, is the last


class Apart:
    """Which values are told apart, by day and input; all others are `OTHER`.

    Args:
        known: Days, inputs and values that were told apart before.
    """

    def __init__(self, known: Iterable[tuple[date, str, str]]) -> None:
        self._held: dict[tuple[date, str], set[str]] = {}
        for day, feature, value in known:
            self._of(day, feature).add(value)

    def split(self, day: date, feature: str, values: CodedText) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """The values of some records of a day, each with which of them have it, shape (rows,)."""
        rows, held = values.rows_by_code()[1:], self._of(day, feature)
        for place in sorted(range(len(rows)), key=lambda place: -rows[place]):
            if rows[place] and len(held) <= MOST:
                held.add(values.dictionary[place])
        names = coded(value if value in held else OTHER for value in values.dictionary)
        codes = names.codes[values.codes]
        yield from ((name, codes == code) for code, name in enumerate(names.dictionary) if (codes == code).any())

    def _of(self, day: date, feature: str) -> set[str]:
        return self._held.setdefault((day, feature), {OTHER})
