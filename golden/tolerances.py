"""Tolerances from the reference itself: by how much do its own stretches of time differ from the whole?

What a model saw while it was trained is what it can bear, so a tolerance is twice the largest such difference, and
never below the shipped one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np

from services.profile import Column, Kind, profile_of
from services.profile.columns import Counts, rows_of, slice_of
from services.profile.effects import (
    TOLERANCES,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability_index,
    wasserstein,
)
from services.profile.reference import Feature
from services.profile.vectors import with_numbers

ROOM: Final = 2.0  # times the largest difference: a year has more weeks than a reference
GROUPS: Final = 10  # of bins: a person reads these effects on about ten, and few rows fill sixty bins unevenly
Measured = Callable[[Feature, Counts], float]


def _moved(feature: Feature, now: Counts) -> float:
    if feature.kind is Kind.CATEGORICAL:
        return float(np.abs(feature.counts / feature.counts.sum() - now / now.sum()).sum() / 2)
    return wasserstein(feature.counts[:-1], now[:-1], feature.values, feature.deviation)


MEASURES: Final[Mapping[str, Measured]] = MappingProxyType(
    {
        "psi": lambda feature, now: population_stability_index(_pooled(feature, feature.counts), _pooled(feature, now)),
        "js": lambda feature, now: jensen_shannon(_pooled(feature, feature.counts), _pooled(feature, now)),
        "ks": lambda feature, now: kolmogorov_smirnov(feature.counts, now),
        "wasserstein": _moved,
    }
)


@dataclass(frozen=True)
class Suggestion:
    """What one feature bears.

    Args:
        feature: Its name.
        largest: The largest difference of any stretch from the whole.
        tolerance: What is suggested.
    """

    feature: str
    largest: float
    tolerance: float


def suggest(columns: Mapping[str, Column], effect: str, stretches: int) -> list[Suggestion]:
    """Suggest a tolerance for each feature, the most restless first.

    Args:
        columns: The reference's inputs by name, rows in the order of time.
        effect: The effect that is judged.
        stretches: Into how many stretches of equal length the rows are cut.
    """
    profile = profile_of(columns)
    columns = with_numbers(profile.vectors, columns)
    bounds = np.linspace(0, rows_of(columns), stretches + 1).astype(int).tolist()
    suggestions = []
    for feature in profile.features:
        pieces = (feature.count(slice_of(columns[feature.name], a, b)) for a, b in pairwise(bounds))
        largest = max(MEASURES[effect](feature, piece) for piece in pieces)
        suggestions.append(Suggestion(feature.name, largest, max(TOLERANCES[effect], ROOM * largest)))
    return sorted(suggestions, key=lambda each: -each.largest)


def _pooled(feature: Feature, counts: Counts) -> Counts:
    """Neighbouring bins joined until each group holds its share of the reference."""
    share = np.cumsum(feature.counts) / feature.counts.sum()
    groups = np.minimum((share * GROUPS - 1e-9).astype(int), GROUPS - 1)
    return np.bincount(groups, weights=counts, minlength=GROUPS).astype(np.int64)
