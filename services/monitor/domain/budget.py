"""How a year's false alarms are shared out, so that the promise is a rate.

The promise is the expected number of false alarms per deployment and year. Both levels have half of it. A day has its
share of the year. Evidence restarts in a day: at each alarm, and when the version's role or its reference changes; the
restarts of a day share its part, the first half of it, the second a sixth, and so on: 1/2 + 1/6 + 1/12 + ... = 1. And
within one stretch of evidence the change may have begun at any pane; the panes share in the same way. So each part is
spent before its data is seen, and by the linearity of expectation the sum is at most the promise, whatever depends on
whatever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from services.chassis.errors import Invalid
from services.profile.columns import Counts, Numbers

DAYS_PER_YEAR = 365.25
LEVELS = 2  # noticed and detected
ALL_CLEAR = 0.05  # the chance that an all-clear is wrong; it raises no alarm, and what still drifts is detected again


@dataclass(frozen=True)
class Settings:
    """What a model's owner may set about its watching.

    Args:
        tolerance: The population stability index up to which a change is tolerated. 0.2: from there on practice calls
            a change significant (Yurdakul 2018, Statistical Properties of Population Stability Index; Siddiqi puts the
            line between 0.1 and 0.25), and it is seven times what any census column moved in a year.
        tolerances: Other tolerances, by feature.
        false_alarms_per_year: Expected false alarms per deployment and year, above 0 and at most 365.

    Raises:
        Invalid: A tolerance isn't above 0, or the false alarms are out of range.
    """

    tolerance: float = 0.2
    tolerances: MappingProxyType[str, float] = field(default_factory=lambda: MappingProxyType({}))
    false_alarms_per_year: float = 1.0

    def __post_init__(self) -> None:
        for name, tolerance in (("tolerance", self.tolerance), *self.tolerances.items()):
            if not tolerance > 0:
                raise Invalid("a tolerance is above 0", where=name)
        if not 0 < self.false_alarms_per_year <= 365:  # noqa: PLR2004  # more than one a day is no alarm
            raise Invalid("false alarms per year are above 0 and at most 365", where="false_alarms_per_year")

    def of(self, feature: str) -> float:
        """The tolerance of a feature."""
        return self.tolerances.get(feature, self.tolerance)


def log_threshold(false_alarms_per_year: float, restart: int) -> float:
    """The logarithm that evidence must reach: one over a level's part of the budget in one stretch of evidence.

    Args:
        false_alarms_per_year: The promise.
        restart: How many times evidence has restarted today before, 0 or more.

    >>> round(float(np.exp(log_threshold(1.0, 0))))  # twice 365.25 days, twice the day's first restart
    1461
    """
    share = false_alarms_per_year / LEVELS / DAYS_PER_YEAR
    return float(-np.log(share) + np.log((restart + 1) * (restart + 2)))


def log_weights(panes: Counts) -> Numbers:
    """The logarithm of each start's share: 1 / (j (j + 1)) for the pane j, which all together give 1.

    Args:
        panes: The starts' numbers, from 1, any shape.
    """
    return np.asarray(-np.log(panes * (panes + 1.0)))
