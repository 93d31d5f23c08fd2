"""What still has to happen is named, and what must be there at the end is missed where it isn't."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from aiokafka import TopicPartition

from services.chassis.topics import DEPLOYER
from tests.faults.evidence import wrong_of
from tests.faults.history import KEY, History, rollout_row
from tests.faults.rows import NOON
from tests.faults.seen import Seen, Sent, Waiting
from tests.faults.settling import settled, whole


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        pytest.param(lambda seen: seen.outbox["deployer"].append(unsent()), "events aren't sent", id="unsent"),
        pytest.param(lambda seen: seen.waiting.append(waiting("a", dead=False)), "events are parked", id="parked"),
        pytest.param(lambda seen: seen.rollouts.append(rollout_row()), "rollouts go on: credit@1", id="rollout"),
        pytest.param(lambda seen: seen.history.append({"effective_at": None}), "effects aren't there", id="effect"),
    ],
)
def test_what_still_has_to_happen_is_named(history: History, leave: Callable[[Seen], object], said: str) -> None:
    leave(history.seen)
    assert any(said in left for left in settled(history.evidence(), {}, {}))


def test_what_waits_behind_a_dead_letter_waits_for_a_human(history: History) -> None:
    history.seen.waiting = [waiting("a", dead=True), waiting("a", dead=False)]
    assert settled(history.evidence(), {}, {}) == []


def test_an_offset_that_is_not_committed_is_named(history: History) -> None:
    place = TopicPartition("ingest.events", 0)
    assert settled(history.evidence(), {("registry", place): 3}, {place: 5})[0] == "2 offsets aren't committed"


def test_a_training_that_became_nothing_is_missed(history: History) -> None:
    history.told.trainings.add("lost")
    assert "every training became a version: lost" in list(wrong_of(whole(history.evidence())))


def test_a_row_of_features_that_was_told_and_is_not_kept_is_missed(history: History) -> None:
    history.told.rows = {("ann", 1)}
    assert "every row of features that was told is kept: ('ann', 1)" in list(wrong_of(whole(history.evidence())))


def test_a_customer_whose_newest_row_is_not_online_is_found(history: History) -> None:
    history.told.rows = {("ann", 1), ("ann", 2)}
    older = (moment_of(1), 1.0)
    history.seen.online = {("ann", "count_7d"): older, ("ann", "mean_7d"): (moment_of(2), -2.0)}
    (missed,) = [said for said in wrong_of(whole(history.evidence())) if "is online" in said]
    assert "('ann', 'count_7d')" in missed


def moment_of(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def unsent() -> Sent:
    return Sent(9, DEPLOYER.name, KEY, 4, str(uuid4()), (), b"", sent=False)


def waiting(key: str, *, dead: bool) -> Waiting:
    return Waiting("governance", 1, key, dead, "registry.events", 0, 0, "no")
