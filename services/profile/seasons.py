"""A reference by hour and weekday: what the rows of each hour of the week looked like.

So Monday's night is held against Monday nights. Cells are hours of the week in UTC, Monday's first hour is cell 0. Each
holds the counts that a window of its rows would, so that they add up like windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

from services.profile.columns import Column, Counts, picked
from services.profile.dispersion import overdispersion
from services.profile.reference import CELLS, ReferenceProfile, Seasons
from services.profile.vectors import with_numbers
from services.profile.window import count

MOST_INTEGERS = 1_000_000  # of all cells: some two megabytes as text; a wider profile keeps no cells
HOUR_US = 3_600_000_000
_MONDAY = 4 * 24  # hours from 1970-01-01, a Thursday, to the first Monday


def cell_of(moment: datetime) -> int:
    """The hour of the week of a moment.

    >>> cell_of(datetime(2026, 1, 5, 1, 30, tzinfo=UTC))  # a Monday
    1
    """
    moment = moment.astimezone(UTC)
    return moment.weekday() * 24 + moment.hour


def cells_of(times_us: Counts) -> Counts:
    """The hours of the week of moments in microseconds since 1970-01-01 UTC, of the same shape."""
    return np.asarray((times_us // HOUR_US - _MONDAY) % CELLS)


def with_seasons(profile: ReferenceProfile, columns: Mapping[str, Column], times_us: Counts) -> ReferenceProfile:
    """A profile with its rows' counts by hour of the week.

    Args:
        profile: The profile of the columns.
        columns: Its inputs and scores by name, as `profile_of` had them.
        times_us: When each row came, microseconds since 1970-01-01 UTC, shape (rows,).
    """
    if CELLS * profile.size > MOST_INTEGERS:
        return profile
    columns = with_numbers(profile.vectors, columns)
    hours = times_us // HOUR_US
    present = np.unique(hours)
    counted = np.array([count(profile, _at(columns, np.flatnonzero(hours == hour))).counts for hour in present])
    cells = cells_of(present * HOUR_US)
    by_cell = [counted[cells == cell] for cell in range(CELLS)]
    dispersions = [
        overdispersion(*(each[:, start:stop] for each in by_cell), ordered=not feature.is_text)
        for feature, (start, stop) in zip(profile.features, pairwise(profile.offsets.tolist()), strict=True)
    ]
    counts = np.array([each.sum(axis=0) for each in by_cell])
    return replace(profile, seasons=Seasons(counts, np.array(dispersions)))


def _at(columns: Mapping[str, Column], rows: Counts) -> dict[str, Column]:
    return {name: picked(column, rows) for name, column in columns.items()}
