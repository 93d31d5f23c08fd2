"""What a prediction cost once its outcome is known: one number per record, smaller is better."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from services.chassis.errors import Invalid

Values = npt.NDArray[np.float64]
LOG_LOSS: Final = "log_loss"
SQUARED_ERROR: Final = "squared_error"
_LEAST_PROBABILITY: Final = 1e-7  # a certain and wrong answer costs 16 and not infinity, so that one row doesn't decide


def measure_for(scores: Values, outcomes: Values) -> str:
    """Which loss fits: log loss where scores are probabilities and outcomes are 0 or 1, else the squared error."""
    known = outcomes[~np.isnan(outcomes)]
    binary = bool(np.isin(known, (0.0, 1.0)).all())
    probabilities = bool(((scores >= 0) & (scores <= 1)).all())
    return LOG_LOSS if binary and probabilities else SQUARED_ERROR


def losses(measure: str, scores: Values, outcomes: Values) -> Values:
    """The loss of each record.

    Args:
        measure: log_loss (natural logarithm) or squared_error.
        scores: What was predicted, shape (records,).
        outcomes: What turned out to be true, shape (records,); no NaN.

    Returns:
        0 or more each, shape (records,).

    Raises:
        Invalid: another measure was named.

    >>> losses("log_loss", np.array([0.5]), np.array([1.0])).round(4)
    array([0.6931])
    """
    if measure == LOG_LOSS:
        p = np.clip(scores, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        return np.asarray(-(outcomes * np.log(p) + (1 - outcomes) * np.log1p(-p)))
    if measure == SQUARED_ERROR:
        return np.asarray((scores - outcomes) ** 2)
    raise Invalid(f"no loss is called {measure!r}")
