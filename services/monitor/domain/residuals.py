"""How well a regression did, from its predictions and what turned out: metrics that only add up.

The same rules as for `performance.Tally` hold: the same records give the same sums, bit for bit, in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.chassis.errors import Invalid
from services.monitor.domain.exact import exact_sum, rounded
from services.profile.columns import Numbers


@dataclass(frozen=True, slots=True)
class Residuals:
    """Records with outcomes, added up.

    Args:
        quantile: Which quantile the predictions are meant to be, above 0 and below 1; the quantile loss is of that.
        rows: How many records.
        squares: The sum of squared errors, exact.
        over: The sum of how far predictions were above what turned out, exact.
        under: The sum of how far they were below, exact.
    """

    quantile: float = 0.5
    rows: int = 0
    squares: int = 0
    over: int = 0
    under: int = 0

    def __add__(self, other: Residuals) -> Residuals:
        """Both together."""
        return self._with(other, 1)

    def __sub__(self, other: Residuals) -> Residuals:
        """Without records that were added before."""
        return self._with(other, -1)

    def rmse(self) -> float:
        """The root of the mean squared error, in the unit of the value; NaN without records."""
        return math.sqrt(rounded(self.squares, self.rows)) if self.rows else math.nan

    def mae(self) -> float:
        """The mean absolute error, in the unit of the value; NaN without records."""
        return rounded(self.over + self.under, self.rows) if self.rows else math.nan

    def bias(self) -> float:
        """By how much predictions are too high on average, in the unit of the value; NaN without records."""
        return rounded(self.over - self.under, self.rows) if self.rows else math.nan

    def quantile_loss(self) -> float:
        """The mean pinball loss, in the unit of the value; NaN without records.

        Source: Koenker and Bassett (1978), Regression Quantiles, Econometrica 46(1).
        """
        if not self.rows:
            return math.nan
        over, under = rounded(self.over, self.rows), rounded(self.under, self.rows)
        return self.quantile * under + (1 - self.quantile) * over

    def _with(self, other: Residuals, sign: int) -> Residuals:
        if other.quantile != self.quantile:
            raise Invalid(f"losses of the quantiles {self.quantile:g} and {other.quantile:g} don't add up")
        return Residuals(
            self.quantile,
            self.rows + sign * other.rows,
            self.squares + sign * other.squares,
            self.over + sign * other.over,
            self.under + sign * other.under,
        )


def residuals(predicted: Numbers, outcomes: Numbers, *, quantile: float = 0.5) -> Residuals:
    """Add up records with outcomes.

    Args:
        predicted: Finite, shape (rows,).
        outcomes: What turned out, finite, of the same shape.
        quantile: Which quantile the predictions are meant to be.

    Raises:
        Invalid: a number isn't finite, lengths differ, or there is no such quantile.

    >>> residuals(np.array([1.0, 5.0]), np.array([2.0, 2.0]), quantile=0.9).quantile_loss()
    0.6
    """
    if predicted.shape != outcomes.shape or predicted.ndim != 1:
        raise Invalid(f"{predicted.shape} predictions and {outcomes.shape} outcomes: one each, in a row")
    if not 0 < quantile < 1:
        raise Invalid("a quantile is above 0 and below 1", where="quantile")
    apart = predicted - outcomes
    over, under = np.maximum(apart, 0.0), np.maximum(-apart, 0.0)
    return Residuals(quantile, apart.size, exact_sum(apart**2), exact_sum(over), exact_sum(under))
