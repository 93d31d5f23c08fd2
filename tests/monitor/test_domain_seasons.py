"""Data that is one thing by day and another by night: silent while it is as it ever was, and awake when it isn't."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.monitor.domain.budget import Settings, log_threshold
from services.monitor.domain.findings import Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.monitor.domain.state import State
from services.profile import Column, ReferenceProfile, count, profile_of
from services.profile.seasons import with_seasons

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR_ROWS = 300
BATCH = 30
WEEKS = 4


def hour(random: np.random.Generator, at: datetime, rows: int = HOUR_ROWS, shift: float = 0.0) -> dict[str, Column]:
    """Amounts that rise by day, and a channel that is another at the weekend."""
    by_day = np.sin((at.hour - 6) / 24 * 2 * np.pi)
    online = 0.8 if at.weekday() >= 5 else 0.3
    return {
        "amount": random.normal(by_day + shift, 1.0, rows),
        "channel": np.where(random.random(rows) < online, "online", "branch").astype(object),
        "steady": random.normal(size=rows),
    }


def reference(random: np.random.Generator) -> ReferenceProfile:
    moments = [MONDAY + timedelta(hours=each) for each in range(WEEKS * 168)]
    hours = [hour(random, at) for at in moments]
    columns: dict[str, Column] = {name: np.concatenate([np.asarray(each[name]) for each in hours]) for name in hours[0]}
    times = np.repeat([int(at.timestamp()) * 1_000_000 for at in moments], HOUR_ROWS)
    return with_seasons(profile_of(columns), columns, times)


PROFILE = reference(np.random.default_rng(1))
SEASONAL = Settings(seasonal=True)


def watched(judge: Judge, hours: int, shift: float = 0.0, start: int = WEEKS * 168) -> tuple[State, list[Finding]]:
    random, state = np.random.default_rng(2), judge.begin(MONDAY)
    findings: list[Finding] = []
    for each in range(start, start + hours):
        at = MONDAY + timedelta(hours=each, minutes=30)
        batches = [count(judge.profile, hour(random, at, BATCH, shift)) for _ in range(HOUR_ROWS // BATCH)]
        state, found = judge.observe(state, batches, at)
        findings += found
    return state, findings


def test_a_week_as_ever_is_silent_by_hour_where_the_whole_as_a_reference_alarms() -> None:
    _, plain = watched(Judge(PROFILE, Settings()), 168)
    _, seasonal = watched(Judge(PROFILE, SEASONAL), 168)
    assert {type(each) for each in plain} >= {Noticed, Detected}
    assert seasonal == []


def test_a_change_is_seen_by_hour_too() -> None:
    _, (noticed, *_) = watched(Judge(PROFILE, SEASONAL), 3, shift=0.5)
    assert [effect.feature for effect in noticed.features] == ["amount"]
    _, found = watched(Judge(PROFILE, SEASONAL), 3, shift=2.0)
    detected = [each for each in found if isinstance(each, Detected)]
    assert detected
    assert [effect.feature for effect in detected[0].features] == ["amount"]


def test_what_belongs_to_another_hour_is_a_change() -> None:
    """The night's amounts at noon are nothing that the whole hasn't seen."""
    judge, random = Judge(PROFILE, SEASONAL), np.random.default_rng(3)
    noon = MONDAY + timedelta(weeks=WEEKS, hours=12)
    window = count(PROFILE, hour(random, noon - timedelta(hours=12)))
    _, found = judge.observe(judge.begin(noon), [window], noon)
    assert {effect.feature for each in found for effect in each.features} >= {"amount"}


def test_an_hour_without_rows_in_the_reference_says_little_and_claims_nothing() -> None:
    random = np.random.default_rng(4)
    tuesdays = [MONDAY + timedelta(weeks=each, hours=30) for each in range(20)]
    hours = [hour(random, at) for at in tuesdays]
    columns: dict[str, Column] = {name: np.concatenate([np.asarray(each[name]) for each in hours]) for name in hours[0]}
    times = np.repeat([int(at.timestamp()) * 1_000_000 for at in tuesdays], HOUR_ROWS)
    judge = Judge(with_seasons(profile_of(columns), columns, times), SEASONAL)
    at = MONDAY + timedelta(weeks=30, hours=40)
    _, found = judge.observe(judge.begin(at), [count(judge.profile, hour(random, tuesdays[0], 200))], at)
    assert found == ()


def test_without_times_in_the_reference_the_setting_changes_nothing() -> None:
    plain = profile_of({"a": np.random.default_rng(5).normal(size=500)})
    judge = Judge(plain, SEASONAL)
    assert judge.log_threshold == Judge(plain, Settings()).log_threshold
    assert judge.begin(MONDAY).cell == -1


def test_a_days_false_alarms_are_shared_out_over_its_hours() -> None:
    chances = [np.exp(-log_threshold(1.0, 0, 24)) for _ in range(24)]
    assert sum(chances) == pytest.approx(np.exp(-log_threshold(1.0, 0)))
    assert Judge(PROFILE, SEASONAL).log_threshold == log_threshold(1.0, 0, 24)


def test_a_state_of_an_hour_survives_a_restart() -> None:
    judge = Judge(PROFILE, SEASONAL)
    state, _ = watched(judge, 2)
    again = State.from_bytes(state.to_bytes())
    assert again.cell == state.cell == 1
    later = MONDAY + timedelta(weeks=WEEKS, hours=1, minutes=40)
    more = [count(PROFILE, hour(np.random.default_rng(6), later, shift=2.0))]
    assert judge.observe(again, more, later)[1] == Judge(PROFILE, SEASONAL).observe(state, more, later)[1]
