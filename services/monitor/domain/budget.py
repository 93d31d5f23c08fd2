"""How a year's false alarms are shared out, so that the promise is a rate.

The promise is the expected number of false alarms per deployment and year. Both levels have half of it. A day has its
share of the year. Evidence restarts in a day: at each alarm, and when the version's role or its reference changes; the
first stretch of a day has three quarters of its part, those after restarts a quarter: 1/2 + 1/6 + 1/12 + ... of it. And
within one stretch of evidence the change may have begun with any record; the records share in a way of their own: a
tenth for changes that come early, wherever the day ends, and nine tenths evenly over as many records as the day before
had. So each part is spent before its data is seen, and by the linearity of expectation the sum is at most the
promise, whatever depends on whatever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from services.chassis.errors import Invalid
from services.monitor.domain.measures import MEASURES
from services.profile.columns import Counts, Numbers

DAYS_PER_YEAR = 365.25
LEVELS = 2  # noticed and detected
ALL_CLEAR = 0.05  # the chance that an all-clear is wrong; it raises no alarm, and what still drifts is detected again
EARLY = 64.0  # half of what is kept for early changes is for the first so many records: one pane
EARLY_SHARE = 0.1  # where a day is known: it costs 0.1 nats, and an early change gains seven
FIRST = 0.75  # of a day's part, for its first stretch: most days have but one


@dataclass(frozen=True)
class Settings:
    """What a model's owner may set about its watching.

    Args:
        effect: The effect that is judged: one of `measures.MEASURES`.
        tolerance: Up to where a change is tolerated, in the effect's unit; without it, the measure's own.
        tolerances: Other tolerances, by feature.
        false_alarms_per_year: Expected false alarms per deployment and year, above 0 and at most 365.
        seasonal: Whether each hour of the week is held against the reference's rows of that hour, where it has times.

    Raises:
        Invalid: There is no such effect, a tolerance isn't above 0, or the false alarms are out of range.
    """

    effect: str = "psi"
    tolerance: float | None = None
    tolerances: MappingProxyType[str, float] = field(default_factory=lambda: MappingProxyType({}))
    false_alarms_per_year: float = 1.0
    seasonal: bool = False

    def __post_init__(self) -> None:
        if self.effect not in MEASURES:
            raise Invalid(f"{self.effect!r} isn't judged; {', '.join(MEASURES)} are", where="effect")
        for name, tolerance in (("tolerance", self.tolerance), *self.tolerances.items()):
            if tolerance is not None and not tolerance > 0:
                raise Invalid("a tolerance is above 0", where=name)
        if not 0 < self.false_alarms_per_year <= 365:  # noqa: PLR2004  # more than one a day is no alarm
            raise Invalid("false alarms per year are above 0 and at most 365", where="false_alarms_per_year")

    def of(self, feature: str) -> float:
        """The tolerance of a feature."""
        whole = MEASURES[self.effect].tolerance if self.tolerance is None else self.tolerance
        return self.tolerances.get(feature, whole)


def log_threshold(false_alarms_per_year: float, restart: int, stretches: int = 1) -> float:
    """The logarithm that evidence must reach: one over a level's part of the budget in one stretch of evidence.

    Args:
        false_alarms_per_year: The promise.
        restart: How many times evidence has restarted today before, 0 or more; of a day in stretches, in the present
            one.
        stretches: Into how many stretches a day is cut that are judged each for itself.

    >>> round(float(np.exp(log_threshold(1.0, 0))))  # twice 365.25 days, by the first stretch's three quarters
    974
    """
    day = false_alarms_per_year / LEVELS / DAYS_PER_YEAR / stretches
    part = (1 - FIRST) / (restart * (restart + 1)) if restart else FIRST
    return float(-np.log(day * part))


def weights(starts: Counts, rows: Counts | int, expected: int) -> Numbers:
    """What is kept for changes that begin with one of some records.

    Args:
        starts: How many records of the stretch came before them, any shape.
        rows: How many they are, at least 1, of the same shape or one number.
        expected: How many records the stretch is expected to have; 0 where nobody knows.

    Returns:
        Of the same shape. What is kept for all records of a stretch is at most 1, however many come.

    >>> float(weights(np.array(0), 64, 0))  # half, where nothing is known of the day
    0.5
    """
    early = EARLY * rows / ((starts + EARLY) * (starts + rows + EARLY))
    if not expected:
        return np.asarray(early)
    even = (np.minimum(starts + rows, expected) - np.minimum(starts, expected)) / expected
    return np.asarray(EARLY_SHARE * early + (1 - EARLY_SHARE) * even)
