"""A reference by hour and weekday."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.chassis.errors import Invalid
from services.profile import CodedText, Column, ReferenceProfile, count, profile_of
from services.profile import seasons as by_hour
from services.profile.columns import Counts, picked
from services.profile.reference import CELLS, Seasons
from services.profile.seasons import cell_of, cells_of, with_seasons

RANDOM = np.random.default_rng(9)
ROWS = 3_000
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
TIMES: Counts = np.sort(RANDOM.integers(0, 14 * 86_400, ROWS)) * 1_000_000 + int(MONDAY.timestamp()) * 1_000_000
COLUMNS: dict[str, Column] = {
    "a": RANDOM.normal(size=ROWS),
    "city": CodedText(RANDOM.integers(-1, 2, ROWS), ("Rome", "Oslo")),
}
PROFILE = with_seasons(profile_of(COLUMNS), COLUMNS, TIMES)


def seasons_of(profile: ReferenceProfile) -> Counts:
    assert profile.seasons is not None
    return profile.seasons.counts


def test_an_hours_counts_are_those_of_a_window_of_its_rows() -> None:
    rows = np.flatnonzero(
        [
            cell_of(MONDAY + timedelta(microseconds=int(t - TIMES[0]) + int(TIMES[0] % 86_400_000_000))) == 30
            for t in TIMES
        ]
    )
    tuesday_at_six = {name: picked(column, rows) for name, column in COLUMNS.items()}
    assert rows.size
    assert np.array_equal(seasons_of(PROFILE)[30], count(PROFILE, tuesday_at_six).counts)


def test_all_hours_together_are_the_whole() -> None:
    assert np.array_equal(seasons_of(PROFILE).sum(axis=0), PROFILE.counts)


@pytest.mark.parametrize("days", [0, 1, 6, 400])
def test_a_moment_and_its_microseconds_are_in_the_same_hour_of_the_week(days: int) -> None:
    moment = MONDAY + timedelta(days=days, hours=5, minutes=59)
    assert cells_of(np.array([int(moment.timestamp()) * 1_000_000])).tolist() == [cell_of(moment)]
    assert cell_of(moment) == days % 7 * 24 + 5


def test_it_travels_as_bytes() -> None:
    read = ReferenceProfile.from_bytes(PROFILE.to_bytes())
    assert np.array_equal(seasons_of(read), seasons_of(PROFILE))
    assert read.digest == PROFILE.digest


def test_hours_that_make_no_sense_are_refused() -> None:
    for wrong in (
        seasons_of(PROFILE) * 2,
        -seasons_of(PROFILE),
        seasons_of(PROFILE) - np.eye(CELLS, PROFILE.size, dtype=int),
    ):
        with pytest.raises(Invalid, match="isn't a reference profile"):
            ReferenceProfile.from_bytes(replace(PROFILE, seasons=Seasons(wrong, np.ones(2))).to_bytes())


def test_a_profile_that_would_be_too_long_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hour, "MOST_INTEGERS", 1_000)
    assert with_seasons(profile_of(COLUMNS), COLUMNS, TIMES).seasons is None


def test_what_varies_with_the_hour_alone_is_not_overdispersed_by_hour() -> None:
    times = np.arange(20_160) * 60_000_000 + int(MONDAY.timestamp()) * 1_000_000  # two weeks, a row a minute
    columns: dict[str, Column] = {"a": RANDOM.normal(times // 3_600_000_000 % 24 / 4.0)}
    profile = with_seasons(profile_of(columns), columns, times)
    assert profile.features[0].overdispersion > 5
    assert profile.seasons is not None
    assert profile.seasons.overdispersion[0] < 1.2
