"""What the judge remembers: evidence grows and restarts as the budget of false alarms has it, and survives as bytes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from benchmarks.monitor_nulls import alarms, batches, null_profile
from services.chassis.errors import Invalid
from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.monitor.domain.state import State
from services.profile import count, profile_of
from tests.monitor.judged import MORNING, stream, watch


@pytest.mark.parametrize("established", [False, True], ids=["a first day", "a day like the one before"])
def test_null_streams_with_references_of_their_own_alarm_no_more_often_than_promised(*, established: bool) -> None:
    """A tenth of a day's alarms each, with next to no tolerance; with the reference taken for the truth, all alarm.

    Were the promise just kept, 200 days would have more than 43 alarms of a level with a chance of 5e-7 (binomial).
    """
    settings = Settings(tolerance=0.001, false_alarms_per_year=73.05)
    found: list[Finding] = []
    for seed in range(200):
        random = np.random.default_rng([1, seed])
        profile = null_profile(random, 2_000, features=5)
        day = alarms(Judge(profile, settings), batches(random, profile, 20), expected=20_000 * established)
        found += {type(finding): finding for finding in day}.values()
    assert sum(isinstance(finding, Noticed) for finding in found) <= 43
    assert sum(isinstance(finding, Detected) for finding in found) <= 43


def test_evidence_grows_batch_by_batch_however_many_are_looked_at_together() -> None:
    watched, random = watch()
    pieces = [count(watched.judge.profile, stream(random, 100)) for _ in range(30)]
    together, _ = watched.judge.observe(watched.state, pieces, watched.now)
    state = watched.state
    for piece in pieces:
        state, _ = watched.judge.observe(state, [piece], watched.now)
    assert state.evidence == pytest.approx(together.evidence, rel=1e-9, abs=1e-30)
    assert np.array_equal(state.history.since(), together.history.since())


def test_from_the_second_day_on_the_chance_of_an_alarm_is_shared_by_the_day_before() -> None:
    watched, random = watch()
    watched.see(stream(random, 2_000))
    watched.now += timedelta(days=1)
    watched.see(stream(random, 100))
    assert (watched.state.expected, watched.state.rows_before) == (2_000, 2_000)


def test_evidence_restarts_with_the_day_and_at_each_alarm() -> None:
    watched, random = watch()
    watched.see({**stream(random, 500), "f04": np.full(500, "Rome", dtype=object)})
    assert watched.state.restarts == 1
    watched.now += timedelta(days=1)
    watched.see(stream(random, 100))
    assert watched.state.restarts == 0
    assert watched.state.history.rows == 100
    assert watched.state.rows_seen == 600


def test_a_change_of_role_on_the_same_day_shares_the_days_budget() -> None:
    watched, random = watch()
    watched.see(stream(random, 200))
    fresh = watched.judge.begin(watched.now, restarts=watched.state.restarts + 1)
    assert (fresh.restarts, fresh.rows_seen) == (1, 0)


def test_a_clock_that_goes_back_restarts_nothing() -> None:
    watched, random = watch()
    watched.see(stream(random, 200))
    watched.now -= timedelta(days=2)
    watched.see(stream(random, 200))
    assert watched.state.history.rows == 400


def test_the_state_is_small_and_survives_as_bytes() -> None:
    watched, random = watch()
    watched.see(stream(random, 100_000), batch=500)
    data = watched.state.to_bytes()
    again = State.from_bytes(data)
    assert len(data) < 64_000
    assert again.to_bytes() == data
    columns = stream(random, 100)
    window = count(watched.judge.profile, columns)
    one, _ = watched.judge.observe(watched.state, [window], watched.now)
    two, _ = watched.judge.observe(again, [window], watched.now)
    assert one.to_bytes() == two.to_bytes()


@pytest.mark.parametrize("data", [b"", b"nonsense", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        State.from_bytes(data)


def test_a_window_of_another_profile_is_refused() -> None:
    watched, random = watch()
    other = profile_of(stream(random, 100))
    with pytest.raises(Invalid):
        watched.judge.observe(watched.state, [count(other, stream(random, 10))], watched.now)
    with pytest.raises(Invalid):
        watched.judge.observe(
            replace(watched.state, profile=other.digest), [count(watched.judge.profile, stream(random, 10))], MORNING
        )


def test_an_empty_batch_changes_nothing() -> None:
    watched, random = watch()
    window = count(watched.judge.profile, stream(random, 0))
    state, found = watched.judge.observe(watched.state, [window], watched.now)
    assert (state, found) == (watched.state, ())
    assert watched.judge.standing(state).features == ()
