"""Sums of numbers that are exact, and so the same in whatever order and grouping the numbers come.

Adding floating-point numbers rounds at every step, and so (a + b) + c may differ from a + (b + c): two monitors that
read the same outcomes would disagree in the last digits, and could not prove to each other that they saw the same. A
double is an integer times a power of two, though, and integers add exactly. A sum is one integer here, in units of the
smallest double, and is rounded once, where somebody reads it.
"""

from __future__ import annotations

import numpy as np

from services.chassis.errors import Invalid
from services.profile.columns import Numbers

UNIT_BITS = 1074  # 2 ** -1074 is the smallest double above 0: every double is a multiple
MANTISSA_BITS = 53
HALF_BITS = 26  # mantissas are summed in two halves, so that int64 holds the sums of 2 ** 36 numbers


def exact_sum(values: Numbers) -> int:
    """The sum of numbers, in units of 2 ** -1074.

    Args:
        values: Finite, shape (rows,).

    Raises:
        Invalid: one isn't finite.

    >>> rounded(exact_sum(np.array([1e16, 1.0, -1e16])))
    1.0
    """
    if not np.isfinite(values).all():
        raise Invalid("only finite numbers have a sum")
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, MANTISSA_BITS).astype(np.int64)
    high, low = mantissas >> HALF_BITS, mantissas & ((1 << HALF_BITS) - 1)
    order = np.argsort(exponents, kind="stable")
    found, starts = np.unique(exponents[order], return_index=True)
    if not starts.size:
        return 0
    groups = (found, np.add.reduceat(high[order], starts), np.add.reduceat(low[order], starts))
    return sum(
        _shifted((above << HALF_BITS) + below, exponent - MANTISSA_BITS + UNIT_BITS)
        for exponent, above, below in zip(*(each.tolist() for each in groups), strict=True)
    )


def rounded(total: int, per: int = 1) -> float:
    """A sum as the nearest double, or its share per so many: a mean.

    Args:
        total: In units of 2 ** -1074.
        per: At least 1.
    """
    return total / (per << UNIT_BITS)


def _shifted(mantissas: int, bits: int) -> int:
    return mantissas << bits if bits >= 0 else mantissas >> -bits  # of denormals the bits below are 0
