"""The checker: proves what the suite promises from what stands on the topics and in the databases.

Each check looks at everything that there is, counts what it looked at, and says what is wrong in words. All of them
hold at every moment; what must be there at the end stands in `settling`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from services.chassis.topics import DEAD_LETTERS, TOPICS
from services.governance.domain.entries import content_hash
from tests.faults.bus import Written
from tests.faults.evidence import EFFECTS, LOGGED, Checked, Evidence

_OWNED: Final = {topic.name: topic.owner for topic in TOPICS if topic.counted}
_GAINS: Final = ("deployment.started", "deployment.advanced", "deployment.promoted")


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
        _rows_are_kept_once(evidence),
        _nothing_online_goes_back(evidence),
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
    for model, events in evidence.effects().items():
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
        body = EFFECTS[entry["type"]].FromString(entry["body"])
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
    for model, events in evidence.effects().items():
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
    standing = {one.place: one for one in evidence.records if one.topic in LOGGED}
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


# Features


def _rows_are_kept_once(evidence: Evidence) -> Checked:
    """The history has a row once, and none that nobody sent."""
    kept = Counter(evidence.seen.kept)
    wrong = [f"{row} is in the history {times} times" for row, times in kept.items() if times > 1]
    wrong += [f"nobody sent {row}" for row in kept.keys() - evidence.told.rows_tried]
    return Checked("every row of features is in the history at most once", len(kept), tuple(wrong))


def _nothing_online_goes_back(evidence: Evidence) -> Checked:
    """No write ever put an older value in a newer one's place: the database itself notes each that does."""
    seen = evidence.seen
    return Checked("no feature's value online ever goes back", len(seen.online), tuple(seen.went_back))


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
