"""The checker finds what a broken platform would leave behind: one small history, and what may go wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from google.protobuf.message import Message

from goldenpath.deployer.v1 import events_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.topics import DEPLOYER, GOVERNANCE, Topic
from services.governance.domain.entries import entry_of
from services.governance.domain.merkle import Frontier
from tests.faults.bus import Written
from tests.faults.checker import check
from tests.faults.evidence import Evidence, wrong_of
from tests.faults.lives import Told
from tests.faults.seen import Logged, Seen, Sent, Waiting
from tests.faults.settling import settled, whole

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = b"model/credit"
Body = Callable[..., Message]


class History:
    """A platform's history: what it committed stands on its topics, and in its log."""

    def __init__(self) -> None:
        self.records: list[Written] = []
        self.seen = Seen(outbox={"governance": [], "deployer": []})
        self.told = Told(stale_signals={"stale"})
        verdict = governance.Verdict(id="v1", model="credit", version=1)
        self.commit(GOVERNANCE, "model.approved", governance.ModelApproved(verdict=verdict))
        self.gain("deployment.started", deployer.DeploymentStarted, epoch=1, candidate=1)
        self.gain("deployment.promoted", deployer.DeploymentPromoted, epoch=2, stable=1)
        self.back(3)
        self.seen.verdicts = [verdict_row("v1")]
        self.seen.rollouts = [rollout_row(ended_at=NOW)]

    def commit(self, topic: Topic, type_name: str, body: Message) -> None:
        """An event is committed, sent, and logged."""
        rows = self.seen.outbox[topic.owner]
        made = event_of(
            body, type=type_name, source=topic.owner, subject=KEY.decode(), time=NOW, sequence=len(rows) + 1
        )
        headers = tuple(headers_of(made))
        rows.append(Sent(len(rows), topic.name, KEY, made.sequence, made.id, headers, made.data, sent=True))
        self.append(
            Written(topic.name, 0, len([r for r in self.records if r.topic == topic.name]), KEY, headers, made.data)
        )

    def append(self, record: Written) -> None:
        """A record stands on a topic, and in the log."""
        self.records.append(record)
        entry = entry_of(record.topic, record.partition, record.offset, record.headers, record.value)
        place = (entry.topic, entry.partition, entry.offset)
        self.seen.log.append(Logged(len(self.seen.log), *place, entry.content_hash, entry.leaf_hash))
        frontier = Frontier()
        for logged in self.seen.log:
            frontier, _ = frontier.append(logged.leaf_hash)
        self.seen.log_root = frontier.root

    def gain(self, kind: str, body: Body, *, epoch: int, stable: int = 0, candidate: int = 0) -> None:
        """A version gains traffic, under the verdict v1."""
        at = deployer.Position(model="credit", epoch=epoch, stable_version=stable, candidate_version=candidate)
        self._effect(kind, body(position=at, verdict_id="v1"))

    def back(self, epoch: int, *, actor: str = "") -> None:
        """The deployment goes back."""
        at = deployer.Position(model="credit", epoch=epoch, stable_version=epoch)
        self._effect(
            "deployment.rolled_back",
            deployer.DeploymentRolledBack(position=at, decision=deployer.Decision(actor=actor)),
        )

    def _effect(self, kind: str, made: Message) -> None:
        self.commit(DEPLOYER, kind, made)
        body = made.SerializeToString()
        self.seen.history.append(
            {"id": len(self.seen.history), "model": "credit", "type": kind, "body": body, "effective_at": NOW}
        )
        self.seen.moments.append(self.records[-1].place)

    def evidence(self) -> Evidence:
        return Evidence(self.records, self.seen, self.told)

    def wrong(self) -> str:
        return " ".join(wrong_of(check(self.evidence())))


def verdict_row(id_: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "model": "credit",
        "version": 1,
        "state": "approved",
        "policy_digest": "p",
        "facts_revision": 1,
    } | more


def rollout_row(**more: Any) -> dict[str, Any]:
    return {
        "model": "credit",
        "version": 1,
        "state": "promoted",
        "digest": "d",
        "commanded": False,
        "ended_at": None,
    } | more


@pytest.fixture
def history() -> History:
    return History()


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


def foreign(sequence: int) -> Any:
    body = deployer.DeploymentFailed()
    return event_of(
        body, type="deployment.failed", source="deployer", subject=KEY.decode(), time=NOW, sequence=sequence
    )


def unsent() -> Sent:
    return Sent(9, DEPLOYER.name, KEY, 4, str(uuid4()), (), b"", sent=False)


def waiting(key: str, *, dead: bool) -> Waiting:
    return Waiting("governance", 1, key, dead, "registry.events", 0, 0, "no")
