"""The checker: proves what the suite promises from what stands on the topics and in the databases.

Each check looks at everything that there is, counts what it looked at, and says what is wrong in words. The first
ones hold at every moment; `settled` says what still has to happen, and `whole` what must be there when nothing has.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from aiokafka import TopicPartition

from goldenpath.deployer.v1 import events_pb2 as deployer
from services.chassis.topics import CONTROL, DEAD_LETTERS, RECORDS, TOPICS
from services.governance.domain.entries import content_hash
from tests.faults.bus import Place, Written
from tests.faults.lives import Told
from tests.faults.seen import Seen, Waiting

_OWNED: Final = {topic.name: topic.owner for topic in TOPICS if topic.counted}
_LOGGED: Final = {topic.name for topic in (*CONTROL, RECORDS)}
_EFFECTS: Final[dict[str, Any]] = {
    "deployment.started": deployer.DeploymentStarted,
    "deployment.advanced": deployer.DeploymentAdvanced,
    "deployment.promoted": deployer.DeploymentPromoted,
    "deployment.rolled_back": deployer.DeploymentRolledBack,
}
_GAINS: Final = ("deployment.started", "deployment.advanced", "deployment.promoted")


@dataclass(frozen=True)
class Checked:
    """One promise: how often it was looked at, and what is wrong."""

    promise: str
    count: int
    wrong: tuple[str, ...] = ()


@dataclass
class Evidence:
    """Everything that a check may look at.

    Args:
        records: What stands on the topics, the adversary's own repeats included.
        seen: What stands in the databases.
        told: What the campaign did.
        poison: Where the adversary wrote what no service wrote.
        older: How many of the records were read before the databases; the others may be newer than these.
        revoked_before: Versions whose approval was revoked two looks ago.
        history_before: The highest number in the deployer's history at the last look.
    """

    records: Sequence[Written]
    seen: Seen
    told: Told
    poison: set[Place] = field(default_factory=set)
    older: int | None = None
    revoked_before: frozenset[tuple[str, int]] = frozenset()
    history_before: int = 0

    def events(self, topic: str) -> list[Written]:
        """A topic's events in the order of their keys, without poison; repeats included."""
        own = (one for one in self.records if one.topic == topic and one.place not in self.poison)
        return sorted(own, key=lambda one: (one.partition, one.offset))

    def firsts(self, topic: str) -> list[Written]:
        """A topic's events where they stand for the first time."""
        known: set[tuple[str, str]] = set()
        found = []
        for one in self.events(topic):
            if one.event is not None and (one.event.source, one.event.id) not in known:
                known.add((one.event.source, one.event.id))
                found.append(one)
        return found


def check(evidence: Evidence) -> list[Checked]:
    """Everything that holds at every moment."""
    return [
        _nothing_is_lost(evidence),
        _nothing_is_made_up(evidence),
        _order_is_commit_order(evidence),
        _letters_are_kept(evidence),
        _one_verdict(evidence),
        _one_rollout(evidence),
        _one_way_back(evidence),
        _approved(evidence),
        _one_stable(evidence),
        _stale_signals_change_nothing(evidence),
        _log_is_the_bus(evidence),
        _moments_are_effects(evidence),
    ]


# Delivery


def _nothing_is_lost(evidence: Evidence) -> Checked:
    """Every row that a relay marked as sent is on its topic, as it was written."""
    count, wrong = 0, []
    for topic, owner in _OWNED.items():
        standing = {
            (one.event.id, one.key, one.event.sequence, one.value) for one in evidence.events(topic) if one.event
        }
        for row in evidence.seen.outbox.get(owner, []):
            if row.topic == topic and row.sent:
                count += 1
                if (row.event_id, row.key, row.sequence, row.value) not in standing:
                    wrong.append(f"{owner}'s event {row.event_id} of {_text(row.key)} isn't on {topic}")
    return Checked("every committed change that was sent is on Kafka", count, tuple(wrong))


def _nothing_is_made_up(evidence: Evidence) -> Checked:
    """Every event on a topic of ours was committed by its owner."""
    count, wrong = 0, []
    older = {one.place for one in evidence.records[: evidence.older]}
    for topic, owner in _OWNED.items():
        committed = {row.event_id for row in evidence.seen.outbox.get(owner, [])}
        for one in evidence.events(topic):
            if one.place not in older:
                continue
            count += 1
            if one.event is None or one.event.id not in committed:
                wrong.append(f"nobody committed what stands at {one.place}")
    return Checked("every event on our topics was committed", count, tuple(wrong))


def _order_is_commit_order(evidence: Evidence) -> Checked:
    """The first occurrences of a key's events have the sequences 1, 2, 3 and so on."""
    count, wrong = 0, []
    for topic in _OWNED:
        sequences: defaultdict[bytes | None, list[int | None]] = defaultdict(list)
        for one in evidence.firsts(topic):
            sequences[one.key].append(one.event.sequence if one.event else None)
        for key, had in sequences.items():
            count += 1
            if had != list(range(1, len(had) + 1)):
                wrong.append(f"{_text(key)} has on {topic} the sequences {had[:30]}")
    return Checked("a key's events stand in the order of their commits, without a gap", count, tuple(wrong))


def _letters_are_kept(evidence: Evidence) -> Checked:
    """Every dead letter that was sent is on its topic."""
    standing = {(one.topic, one.key, one.value) for one in evidence.records if one.topic.endswith(DEAD_LETTERS)}
    letters = [row for rows in evidence.seen.outbox.values() for row in rows if row.topic.endswith(DEAD_LETTERS)]
    wrong = [
        f"the dead letter {row.id} isn't on {row.topic}"
        for row in letters
        if row.sent and (row.topic, row.key, row.value) not in standing
    ]
    return Checked("every dead letter is on its topic", len(letters), tuple(wrong))


# Effects


def _one_verdict(evidence: Evidence) -> Checked:
    """A version, a policy and a state of the facts have one verdict, and it is told once."""
    given = Counter(
        (one["model"], one["version"], one["policy_digest"], one["facts_revision"]) for one in evidence.seen.verdicts
    )
    told: Counter[str] = Counter()
    for one in evidence.firsts("governance.events"):
        if one.event and one.event.type in {"model.approved", "model.rejected"}:
            told[f"{one.event.type} {_verdict_of(one)}"] += 1
    wrong = [f"{what} has {times} verdicts" for what, times in given.items() if times > 1]
    wrong += [f"{what} was told {times} times" for what, times in told.items() if times > 1]
    return Checked("one verdict per version, policy and state of the facts", len(given), tuple(wrong))


def _verdict_of(one: Written) -> str:
    from goldenpath.governance.v1 import events_pb2 as governance

    return governance.ModelApproved.FromString(one.value or b"").verdict.id  # a rejection has it in the same place


def _one_rollout(evidence: Evidence) -> Checked:
    """An approval begins one rollout; one that failed before it was admitted may be tried again."""
    begun = Counter(
        (one["model"], one["version"])
        for one in evidence.seen.rollouts
        if not one["commanded"] and not (one["state"] == "failed" and not one["digest"])
    )
    wrong = [f"{what} has {times} rollouts" for what, times in begun.items() if times > 1]
    active = Counter(
        one["model"] for one in evidence.seen.rollouts if one["ended_at"] is None and one["state"] != "admitted"
    )
    wrong += [f"{model} has {times} rollouts under way" for model, times in active.items() if times > 1]
    return Checked("one rollout per approval, one under way", len(begun), tuple(wrong))


def _one_way_back(evidence: Evidence) -> Checked:
    """Between two promotions there is at most one way back that no person ordered."""
    count, wrong = 0, []
    for model, events in _by_model(evidence).items():
        automatic = 0
        for kind, body in events:
            if kind == "deployment.promoted":
                count += 1
                automatic = 0
            elif kind == "deployment.rolled_back" and not body.aborted and not body.decision.actor:
                automatic += 1
                if automatic > 1:
                    wrong.append(f"{model} went back by itself {automatic} times for one promotion")
    return Checked("at most one automatic way back per promotion", count, tuple(wrong))


def _approved(evidence: Evidence) -> Checked:
    """What gained traffic had an approval that stood when governance was last asked."""
    approvals = {
        one["id"]: (one["model"], one["version"]) for one in evidence.seen.verdicts if one["state"] == "approved"
    }
    count, wrong = 0, []
    for entry in evidence.seen.history:
        if entry["type"] not in _GAINS:
            continue
        count += 1
        body = _EFFECTS[entry["type"]].FromString(entry["body"])
        at = body.position
        gained = (entry["model"], at.candidate_version or at.stable_version)
        if approvals.get(body.verdict_id) != gained:
            wrong.append(f"{gained} gained traffic under {body.verdict_id or 'no verdict'}")
        if entry["id"] > evidence.history_before and gained in evidence.revoked_before:
            wrong.append(f"{gained} gained traffic although its approval was revoked before")
    return Checked("nothing gained traffic without an approval that stood", count, tuple(wrong))


def _one_stable(evidence: Evidence) -> Checked:
    """An epoch has one stable; epochs rise, and each stay has its own."""
    count, wrong = 0, []
    for model, events in _by_model(evidence).items():
        stables: dict[int, int] = {}
        epochs = [body.position.epoch for _, body in events]
        wrong += [f"{model}'s epoch fell from {a} to {b}" for a, b in pairwise(epochs) if b < a]
        for _, body in events:
            count += 1
            at = body.position
            if stables.setdefault(at.epoch, at.stable_version) != at.stable_version:
                wrong.append(f"{model} had two stables in epoch {at.epoch}")
    for model in {stay["model"] for stay in evidence.seen.stays}:
        epochs = [stay["epoch"] for stay in evidence.seen.stays if stay["model"] == model]
        if epochs != sorted(set(epochs)):
            wrong.append(f"{model}'s stays overlap: {epochs}")
    return Checked("a deployment never has two stables", count, tuple(wrong))


def _stale_signals_change_nothing(evidence: Evidence) -> Checked:
    named = {one["signal_id"] for one in evidence.seen.decisions}
    wrong = [f"the stale signal {id_} was decided about" for id_ in evidence.told.stale_signals & named]
    return Checked("a stale signal changes nothing", len(evidence.told.stale_signals), tuple(wrong))


# The log


def _log_is_the_bus(evidence: Evidence) -> Checked:
    """Governance's log has what stood on the topics, each place once and in order, and its root is its leaves'."""
    log = evidence.seen.log
    standing = {one.place: one for one in evidence.records if one.topic in _LOGGED}
    wrong = []
    following: Counter[tuple[str, int]] = Counter()
    for number, entry in enumerate(log):
        where = (entry.topic, entry.partition)
        if entry.index != number or entry.offset != following[where]:
            wrong.append(f"entry {entry.index} is {where}@{entry.offset}, not {following[where]}")
        following[where] = entry.offset + 1
        one = standing.get((*where, entry.offset))
        if one is not None and content_hash(one.headers, one.value) != entry.content_hash:
            wrong.append(f"entry {entry.index} isn't what stands at {one.place}")
    if _root([entry.leaf_hash for entry in log]) != evidence.seen.log_root:
        wrong.append("the log's root isn't that of its leaves")
    return Checked("governance's log is the bus, whole and in order", len(log), tuple(wrong))


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, by its own words."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256().digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _root(leaves[:split]) + _root(leaves[split:])).digest()


def _moments_are_effects(evidence: Evidence) -> Checked:
    """Governance remembers an effect once, where it stood first."""
    firsts = {one.place for one in evidence.firsts("deployer.events")}
    wrong = [f"what served was noted of a repeat at {place}" for place in evidence.seen.moments if place not in firsts]
    return Checked("what served is noted once per effect", len(evidence.seen.moments), tuple(wrong))


# At the end


def settled(
    evidence: Evidence, committed: dict[tuple[str, TopicPartition], int], ends: dict[TopicPartition, int]
) -> list[str]:
    """What must still happen by itself; empty once nothing has to."""
    seen = evidence.seen
    held = {one["model"] for one in seen.deployments if one.get("hold")}
    open_ = [
        f"{one['model']}@{one['version']}" for one in seen.rollouts if not one["ended_at"] and one["model"] not in held
    ]
    undecided = [one["signal_id"] for one in seen.decisions if one["body"] is None and one["model"] not in held]
    checks = {
        "events aren't sent": sum(not row.sent for rows in seen.outbox.values() for row in rows),
        "offsets aren't committed": sum(
            ends.get(place, 0) - offset for (_, place), offset in committed.items() if offset < ends.get(place, 0)
        ),
        "events are parked": len(_parked(seen.waiting)),
        "versions are to be looked at": seen.stale_cases,
        "effects aren't there yet": sum(one["effective_at"] is None for one in seen.history),
        f"rollouts go on: {', '.join(open_)}": len(open_),
        "signals aren't decided": len(undecided),
        "records aren't logged": sum(
            max(end - seen.log_places.get((place.topic, place.partition), 0), 0)
            for place, end in ends.items()
            if place.topic in _LOGGED
        ),
        "batches of records aren't read": sum(
            max(end - seen.stream.get(place.partition, 0), 0)
            for place, end in ends.items()
            if place.topic == RECORDS.name
        ),
    }
    return [f"{number} {what}" for what, number in checks.items() if number]


def _parked(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Events that are parked, and not behind a dead letter of their key."""
    waiting = list(waiting)
    behind = {(one.service, one.key) for one in waiting if one.dead}
    return [one for one in waiting if not one.dead and (one.service, one.key) not in behind]


def whole(evidence: Evidence) -> list[Checked]:
    """What must be there once everything has settled and nothing waits."""
    seen, told = evidence.seen, evidence.told
    models = {one["model"] for one in seen.versions}
    untrained = told.trainings - models
    versions = {(one["model"], one["number"]) for one in seen.versions}
    unjudged = versions - {(one["model"], one["version"]) for one in seen.cases}
    lacking = {
        name: f"{seen.datasheets.get(name, 0)} of {documents} documents"
        for name, documents in told.datasets.items()
        if seen.datasheets.get(name, 0) != documents
    }
    effects = [one for one in evidence.firsts("deployer.events") if one.event and one.event.type in _EFFECTS]
    logged = {(one.topic, one.partition, one.offset) for one in seen.log}
    unlogged = [one.place for one in evidence.records if one.topic in _LOGGED and one.place not in logged]
    unheard = len(effects) - len(seen.moments)
    return [
        Checked("every training became a version", len(told.trainings), tuple(sorted(untrained))),
        Checked(
            "every document became a revision, once", sum(told.datasets.values()), tuple(map(str, lacking.items()))
        ),
        Checked("every version was judged", len(versions), tuple(map(str, unjudged))),
        Checked("every record of the bus is in the log", len(logged), tuple(map(str, unlogged))),
        Checked("every effect is noted", len(effects), (f"{unheard} aren't",) if unheard else ()),
    ]


def _by_model(evidence: Evidence) -> dict[str, list[tuple[str, Any]]]:
    """By model, the effects that the deployer told, in order."""
    found: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
    for one in evidence.firsts("deployer.events"):
        if one.event and one.event.type in _EFFECTS:
            body = _EFFECTS[one.event.type].FromString(one.value or b"")
            found[body.position.model].append((one.event.type, body))
    return dict(found)


def wrong(checks: Iterable[Checked]) -> Iterator[str]:
    """What is wrong, a line each."""
    for one in checks:
        yield from (f"{one.promise}: {what}" for what in one.wrong[:5])


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
