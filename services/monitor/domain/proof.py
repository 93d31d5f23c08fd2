"""Whether what was served is what the feature store's history says of the same moment.

A value is served right where the history has it with the event time that it was served with, and where nothing newer
was known long before: whoever reads an old value although a newer one was told has a store that was overwritten, or one
that isn't filled. What arrived just before or after the record may be there or not, and decides nothing.

How large the share is that differs is bounded by a confidence sequence (`confidence`), which begins each day, so that
a good year doesn't hide a bad morning. A day has its share of the year's false alarms, divided among the views.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np

from services.monitor.domain.confidence import Watched

TOLERANCE: Final = 0.01
"""The share that may differ: events that were put aside, and clocks."""

SETTLED: Final = timedelta(seconds=30)
"""How long before a record a value must have been known to be missed, and how long after it one may be known and still
have been served: what a pusher takes, and how far its clock and the server's may differ."""

_ROUNDING: Final = 1e-6  # relative: a value that was kept as a double and served as a float
_DAYS: Final = 365
Scalar = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Served:
    """What a record was served of a view.

    Args:
        moment: When.
        event_time: When the values came true; None where there were none.
        outcome: What came of the read.
        values: By input; None is a missing value.
    """

    moment: datetime
    event_time: datetime | None
    outcome: str
    values: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Known:
    """What the history has for a record.

    Args:
        same: Of the event time that it was served with, each row's moment of keeping and its values.
        newest: The newest event time up to the record's moment that was known long before; None: there was none.
    """

    same: Sequence[tuple[datetime, Mapping[str, Scalar]]]
    newest: datetime | None


def differing(served: Served, known: Known) -> frozenset[str] | None:
    """The inputs that differ from the history; None where nothing was read that could.

    >>> noon = datetime(2026, 3, 1, 12)
    >>> known = Known([(noon, {"mean": 2.0})], noon)
    >>> differing(Served(noon, noon, "found", {"mean": 2.0}), known)
    frozenset()
    >>> sorted(differing(Served(noon, noon, "found", {"mean": 3.0}), known))
    ['mean']
    """
    everything = frozenset(served.values)
    match served.outcome:
        case "found" | "stale":
            if served.event_time is None or (known.newest is not None and known.newest > served.event_time):
                return everything
            if served.outcome == "stale":
                return frozenset()
            rows = [values for kept_at, values in known.same if kept_at <= served.moment + SETTLED]
            return min((_unlike(served.values, values) for values in rows), key=len, default=everything)
        case "unknown":
            return everything if known.newest is not None else frozenset()
        case _:
            return None


def _unlike(served: Mapping[str, Scalar], known: Mapping[str, Scalar]) -> frozenset[str]:
    return frozenset(name for name, value in served.items() if not _same(value, known.get(name)))


def _same(served: Scalar, known: Scalar) -> bool:
    if _missing(served) or _missing(known):
        return _missing(served) and _missing(known)
    if isinstance(served, str) or isinstance(known, str):
        return served == known
    return math.isclose(float(served or 0.0), float(known or 0.0), rel_tol=_ROUNDING)


def _missing(value: Scalar) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known today of a view.

    Args:
        day: The day, ISO 8601.
        watched: The share that differs.
        compared: Records that were compared.
        differing: Those of which a value differs.
        inputs: By input, of how many it differs.
    """

    day: str
    watched: Watched
    compared: int = 0
    differing: int = 0
    inputs: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, day: date, views: int) -> Proof:
        """A day's beginning, of one of so many views."""
        return cls(day.isoformat(), Watched(chance=1 / (_DAYS * views)))

    def after(self, found: Sequence[frozenset[str]]) -> Proof:
        """The same with more records."""
        counts = dict(self.inputs)
        for name in (name for inputs in found for name in inputs):
            counts[name] = counts.get(name, 0) + 1
        bad = np.array([float(bool(inputs)) for inputs in found])
        return replace(
            self,
            watched=self.watched.after(bad),
            compared=self.compared + len(found),
            differing=self.differing + int(bad.sum()),
            inputs=counts,
        )

    @property
    def lower(self) -> float:
        """The share that differs, at the least."""
        return self.watched.interval()[0]

    @property
    def violated(self) -> bool:
        """Whether surely more differs than may."""
        return self.lower > TOLERANCE

    def commonest(self) -> list[str]:
        """The inputs that differ, the commonest first."""
        return sorted(self.inputs, key=lambda name: (-self.inputs[name], name))

    def to_body(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Proof:
        """As it was kept."""
        return cls(**{**body, "watched": Watched(**body["watched"])})
