"""The checker finds what a broken platform would leave behind: one small history, and what may go wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from goldenpath.deployer.v1 import events_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.topics import GOVERNANCE
from tests.faults.checker import check
from tests.faults.evidence import wrong_of
from tests.faults.history import KEY, NOW, History, rollout_row, verdict_row
from tests.faults.seen import Logged, Sent
from tests.faults.settling import settled


def test_nothing_is_wrong_with_a_history_in_which_nothing_went_wrong(history: History) -> None:
    assert history.wrong() == ""
    assert settled(history.evidence(), {}, {}) == []


def test_a_repeat_is_harmless(history: History) -> None:
    history.append(replace(history.records[1], offset=3))
    assert history.wrong() == ""


def test_an_event_that_was_sent_and_is_not_on_its_topic_is_lost(history: History) -> None:
    del history.records[-1]
    assert "isn't on deployer.events" in history.wrong()


def test_an_event_that_nobody_committed_is_found(history: History) -> None:
    history.append(replace(history.records[1], offset=3, headers=tuple(headers_of(foreign(4)))))
    assert "nobody committed" in history.wrong()


def test_poison_is_nobodys_event(history: History) -> None:
    history.append(replace(history.records[1], offset=3, headers=()))
    evidence = history.evidence()
    evidence.poison = {history.records[-1].place}
    assert list(wrong_of(check(evidence))) == []


def test_an_event_before_an_earlier_one_of_its_key_is_found(history: History) -> None:
    first, second = history.records[1:3]
    history.records[1:3] = [replace(second, offset=0), replace(first, offset=1)]
    assert "has on deployer.events the sequences [2, 1, 3]" in history.wrong()


def test_a_dead_letter_that_is_not_on_its_topic_is_found(history: History) -> None:
    history.seen.outbox["deployer"].append(Sent(9, "monitor.events.dlq", KEY, None, "", (), b"x", sent=True))
    assert "the dead letter 9" in history.wrong()


def test_two_verdicts_about_the_same_facts_are_found(history: History) -> None:
    history.seen.verdicts.append(verdict_row("v2"))
    assert "has 2 verdicts" in history.wrong()


def test_a_verdict_that_is_told_twice_is_found(history: History) -> None:
    history.commit(GOVERNANCE, "model.approved", governance.ModelApproved(verdict=governance.Verdict(id="v1")))
    assert "model.approved v1 was told 2 times" in history.wrong()


def test_two_rollouts_of_one_approval_are_found(history: History) -> None:
    history.seen.rollouts.append(rollout_row(ended_at=NOW))
    assert "has 2 rollouts" in history.wrong()


def test_two_rollouts_at_once_are_found(history: History) -> None:
    history.seen.rollouts += [rollout_row(version=2, state="canary"), rollout_row(version=3, state="provisioning")]
    assert "has 2 rollouts under way" in history.wrong()


def test_two_ways_back_for_one_promotion_are_found_unless_a_person_went(history: History) -> None:
    history.back(4, actor="otto")
    assert history.wrong() == ""
    history.back(5)
    assert "went back by itself 2 times" in history.wrong()


def test_traffic_without_an_approval_is_found(history: History) -> None:
    history.seen.verdicts = [verdict_row("v1", state="waiting")]
    assert "gained traffic under v1" in history.wrong()


def test_traffic_after_a_revocation_is_found(history: History) -> None:
    evidence = history.evidence()
    evidence.revoked_before, evidence.history_before = frozenset({("credit", 1)}), 0
    assert "although its approval was revoked" in " ".join(wrong_of(check(evidence)))


def test_two_stables_in_one_epoch_are_found(history: History) -> None:
    history.gain("deployment.promoted", deployer.DeploymentPromoted, epoch=3, stable=1)
    assert "had two stables in epoch 3" in history.wrong()


def test_an_epoch_that_falls_is_found(history: History) -> None:
    history.gain("deployment.promoted", deployer.DeploymentPromoted, epoch=1, stable=1)
    assert "epoch fell from 3 to 1" in history.wrong()


def test_a_decision_about_a_stale_signal_is_found(history: History) -> None:
    history.seen.decisions = [{"model": "credit", "signal_id": "stale", "body": b""}]
    assert "the stale signal stale was decided about" in history.wrong()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda log: log.pop(1), id="an entry is missing"),
        pytest.param(lambda log: log.reverse(), id="out of order"),
        pytest.param(lambda log: log.__setitem__(1, replace(log[1], content_hash=bytes(32))), id="other bytes"),
        pytest.param(
            lambda log: log.__setitem__(1, replace(log[1], leaf_hash=hashlib.sha256().digest())), id="other leaf"
        ),
    ],
)
def test_a_log_that_is_not_the_bus_is_found(history: History, damage: Callable[[list[Logged]], object]) -> None:
    damage(history.seen.log)
    assert "governance's log is the bus" in history.wrong()


def test_an_effect_that_is_noted_of_a_repeat_is_found(history: History) -> None:
    history.append(replace(history.records[1], offset=3))
    history.seen.moments.append(history.records[-1].place)
    assert "was noted of a repeat" in history.wrong()


def test_a_row_of_features_that_is_kept_twice_is_found(history: History) -> None:
    history.told.rows_tried = {("ann", 1)}
    history.seen.kept = [("ann", 1), ("ann", 1)]
    assert "('ann', 1) is in the history 2 times" in history.wrong()


def test_a_row_of_features_that_nobody_sent_is_found(history: History) -> None:
    history.seen.kept = [("ann", 1)]
    assert "nobody sent ('ann', 1)" in history.wrong()


def test_a_value_that_went_back_is_found(history: History) -> None:
    history.seen.went_back = ["count_7d of ann from 12:02 to 12:01"]
    assert "no feature's value online ever goes back: count_7d of ann from 12:02 to 12:01" in history.wrong()


def foreign(sequence: int) -> Any:
    body = deployer.DeploymentFailed()
    return event_of(
        body, type="deployment.failed", source="deployer", subject=KEY.decode(), time=NOW, sequence=sequence
    )
