"""Numbers and vectors of Arrow columns: lists of numbers that all have one length, null where there is none."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from pyarrow import lib as arrow
from pyarrow import types  # type: ignore[attr-defined]  # it ships half of its types

from services.chassis.errors import Invalid
from services.monitor.packed import DOUBLE
from services.profile.columns import Numbers
from services.profile.vectors import MOST_WIDTH

MOST_BYTES: Final = 256 * 2**20  # of a batch that was compressed: a thousand rows of thirty thousand columns


def is_list(kind: Any) -> bool:
    """Whether a column of this type holds lists."""
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def numbers(column: Any, name: str) -> Numbers:
    """A column of any type of number, shape (rows,), NaN where null; Invalid where it holds something else."""
    kind = column.type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
        raise Invalid(f"the column holds {kind}; it holds numbers, text or vectors of numbers", where=name)
    doubles = column.cast(arrow.float64(), safe=False)
    return np.asarray(doubles.to_numpy(zero_copy_only=False), dtype=np.float64)


def vectors(column: Any, name: str) -> Numbers:
    """A column of lists as vectors, shape (rows, width), NaN where a row or a number is null.

    Raises:
        Invalid: the lists aren't of one length, are too long, or hold something else than numbers.
    """
    starts, lengths = _bounds(column)
    there = ~column.is_null().to_numpy(zero_copy_only=False)
    widths = np.unique(lengths[there]).tolist()
    if len(widths) != 1 or not 0 < widths[0] <= MOST_WIDTH:
        found = " and ".join(map(str, widths[:3])) or "no"
        raise Invalid(f"its vectors have {found} numbers; they have one length, 1 to {MOST_WIDTH}", where=name)
    width = widths[0]
    if DOUBLE * width * len(column) > MOST_BYTES:  # nulls, and lists that overlap, are small until they are written out
        raise Invalid(f"a column has at most {MOST_BYTES:,} bytes when it is written out", where=name)
    held = np.full((len(column), width), np.nan)
    held[there] = numbers(column.values, name)[starts[there, np.newaxis] + np.arange(width)]
    return held


def _bounds(column: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where each row's list begins among the column's values, and how long it is; both shape (rows,)."""
    if types.is_fixed_size_list(column.type):
        width = column.type.list_size
        return (column.offset + np.arange(len(column))) * width, np.full(len(column), width)
    offsets = column.offsets.to_numpy()
    return offsets[:-1], np.diff(offsets)
