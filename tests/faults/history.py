"""A platform's history for the checker's tests: small, whole, and to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

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
from tests.faults.seen import Logged, Seen, Sent

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
