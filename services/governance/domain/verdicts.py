"""Verdicts: governance's answer for a version, and the transitions that lead to one. All functions are pure.

A `Case` is what governance knows of a version: the facts, their revision, what reviewers said, whether it was
revoked. Judging a case by a policy gives a `Verdict`, a row of evidence per rule.

    rejected   a rule failed, or can't be judged, or a reviewer said no
    waiting    nothing failed, and a rule waits for reviewers
    approved   every rule passed
    revoked    it was approved once, and a reviewer took that back; for good, as other bytes are another version

House rules, which no policy can switch off: nobody decides about what they registered; a version whose author is
only claimed takes two reviewers; a reviewer's word counts for the facts that they saw (all but a datasheet's
wording: `Facts.material_digest`), and other facts ask them anew. All names are compared without case.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from services.chassis.errors import Conflict, Denied
from services.governance.domain.facts import Facts
from services.governance.domain.policies import Evidence, Outcome, Policy, Rule

CLAIMED_AUTHOR: Final = "claimed-author"
NOT_REVOKED: Final = "not-revoked"
_REVIEWERS_OF_A_CLAIM: Final = 2  # one of them may be the true author under another name; both can't be
_NAMESPACE: Final = uuid.UUID("5d1f3b0e-7f0a-5c55-9a3e-3d6d1f8c2b64")  # any fixed one: the same judgement, the same id


class State(StrEnum):
    """What governance says of a version."""

    APPROVED = "approved"
    REJECTED = "rejected"
    WAITING = "waiting"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Decision:
    """A reviewer's yes or no, and the facts that they saw."""

    reviewer: str
    granted: bool
    comment: str
    at: datetime
    facts_digest: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """Who took an approval back, why and when."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """What governance knows of a version.

    Args:
        facts: The newest facts.
        revision: Rises with every change of the facts and with every decision, from 1.
        requested_at: When the version first asked to be judged.
        decisions: What reviewers said, oldest first.
        revocation: Set once it was revoked.
        approved_once: True from its first approval on.
    """

    facts: Facts
    revision: int
    requested_at: datetime
    decisions: tuple[Decision, ...] = ()
    revocation: Revocation | None = None
    approved_once: bool = False

    @property
    def standing(self) -> tuple[Decision, ...]:
        """The decisions that count: each reviewer's last word about the present facts."""
        newest = {_folded(decision.reviewer): decision for decision in self.decisions}
        return tuple(decision for decision in newest.values() if decision.facts_digest == self.facts.material_digest)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Governance's answer for a version, a policy and a state of the facts."""

    id: str
    model: str
    version: int
    state: State
    artifact_digest: str
    policy: str
    policy_digest: str
    facts_revision: int
    evidence: tuple[Evidence, ...]
    approvals: tuple[Decision, ...]
    reviewers_needed: int
    requested_at: datetime
    decided_at: datetime
    registered_by: str
    registered_by_verified: bool

    @property
    def label(self) -> str:
        """The version as people write it, such as credit-prescreen@2."""
        return f"{self.model}@{self.version}"

    @property
    def open_rows(self) -> tuple[Evidence, ...]:
        """The rows that stand between the version and an approval."""
        return tuple(row for row in self.evidence if row.outcome is not Outcome.PASSED)


def learn(case: Case | None, facts: Facts, *, at: datetime) -> Case:
    """Take the facts as they are now; the revision rises if they differ.

    Raises:
        Conflict: they speak of other bytes than before: a version never changes its bytes.
    """
    if case is None:
        return Case(facts, revision=1, requested_at=at)
    if case.facts.artifact_digest != facts.artifact_digest:
        raise Conflict(f"{facts.label} was judged for the bytes {case.facts.artifact_digest}", where="artifact_digest")
    if case.facts.digest == facts.digest:
        return case
    return replace(case, facts=facts, revision=case.revision + 1)


def judge(case: Case, policy: Policy, *, at: datetime) -> Verdict:
    """Judge a case by a policy."""
    values = policy.values(case.facts)
    rows = [_row(rule, case, values) for rule in policy.rules]
    if not case.facts.author_verified:
        rows.append(_review(case, CLAIMED_AUTHOR, _REVIEWERS_OF_A_CLAIM, "find two reviewers, and not the author"))
    if case.revocation is not None:
        said = f"{case.revocation.by} revoked it: {case.revocation.reason}"
        rows.append(Evidence(NOT_REVOKED, Outcome.FAILED, said, "register a new version"))
    granted = [decision for decision in case.standing if decision.granted]
    return Verdict(
        id=str(uuid.uuid5(_NAMESPACE, f"{case.facts.label}/{policy.name}/{policy.digest}/{case.revision}")),
        model=case.facts.model,
        version=case.facts.version,
        state=_state(case, rows),
        artifact_digest=case.facts.artifact_digest,
        policy=policy.name,
        policy_digest=policy.digest,
        facts_revision=case.revision,
        evidence=tuple(rows),
        approvals=case.standing,
        reviewers_needed=max(0, _needed(case, policy, values) - len(granted)),
        requested_at=case.requested_at,
        decided_at=at,
        registered_by=case.facts.author,
        registered_by_verified=case.facts.author_verified,
    )


def decide(case: Case, verdict: Verdict, *, reviewer: str, granted: bool, comment: str, at: datetime) -> Case:
    """Take a reviewer's word. The same word again changes nothing.

    Raises:
        Denied: the reviewer registered the version.
        Conflict: the version doesn't wait for anybody.
    """
    if _folded(reviewer) == _folded(case.facts.author):
        raise Denied(f"{reviewer} registered {case.facts.label}", fix="ask another reviewer")
    if any(_folded(said.reviewer) == _folded(reviewer) and said.granted == granted for said in case.standing):
        return case
    _refuse_unless_open(case, verdict)
    said = Decision(reviewer, granted, comment, at, case.facts.material_digest)
    return replace(case, decisions=(*case.decisions, said), revision=case.revision + 1)


def revoke(case: Case, *, by: str, reason: str, at: datetime) -> Case:
    """Take an approval back, for good. Doing it again changes nothing.

    Raises:
        Conflict: the version was never approved.
    """
    if case.revocation is not None:
        return case
    if not case.approved_once:
        raise Conflict(f"{case.facts.label} was never approved", fix="deny it instead")
    return replace(case, revocation=Revocation(by, reason, at), revision=case.revision + 1)


def admission(verdict: Verdict | None, *, label: str, artifact_digest: str) -> tuple[bool, str]:
    """Whether these bytes may serve under this verdict, and why or why not."""
    if verdict is None:
        return False, f"nobody has judged {label}"
    if verdict.artifact_digest != artifact_digest:
        return False, f"the verdict about {label} speaks of other bytes, {verdict.artifact_digest}"
    if verdict.state is not State.APPROVED:
        return False, f"{label} is {verdict.state}: " + "; ".join(row.finding for row in verdict.open_rows)
    return True, f"{label} is approved by the policy {verdict.policy}"


def is_news(verdict: Verdict, before: Verdict | None) -> bool:
    """Whether others should hear of a verdict.

    An approval is told once, when it comes about: to tell it again would look like a wish to deploy that version.
    """
    if before is None or before.state is not verdict.state:
        return True
    return verdict.state is not State.APPROVED and before.evidence != verdict.evidence


def summary(verdict: Verdict) -> str:
    """A verdict in one sentence."""
    rules = len(verdict.evidence)
    if verdict.state is State.APPROVED:
        return f"{verdict.label} is approved: it passed {rules} of {rules} rules"
    if verdict.state is State.REVOKED:
        return f"{verdict.label} was approved, and may not serve any longer"
    if verdict.state is State.WAITING:
        people = "one reviewer" if verdict.reviewers_needed == 1 else f"{verdict.reviewers_needed} reviewers"
        return f"{verdict.label} waits for {people}"
    refusing = sum(row.outcome is not Outcome.WAITING for row in verdict.open_rows)
    return f"{verdict.label} was refused by {refusing} of {rules} rules"


def _row(rule: Rule, case: Case, values: Mapping[str, Any]) -> Evidence:
    if rule.approvals is None:
        return rule.judge(values)
    needed = rule.reviewers(values)
    if not isinstance(needed, int):
        return Evidence(rule.id, Outcome.UNKNOWN, f"can't be judged: {needed.why}", rule.fix.fill(values))
    if needed == 0:
        return Evidence(rule.id, Outcome.PASSED, f"doesn't apply: {rule.what}")
    return _review(case, rule.id, needed, rule.fix.fill(values))


def _review(case: Case, rule: str, needed: int, fix: str) -> Evidence:
    for said in case.standing:
        if not said.granted:
            return Evidence(rule, Outcome.FAILED, f"{said.reviewer} said no: {said.comment}", "change what they name")
    granted = [said.reviewer for said in case.standing]
    if len(granted) >= needed:
        return Evidence(rule, Outcome.PASSED, f"{' and '.join(granted)} said yes")
    waits = f"it takes {needed} who didn't register it; {len(granted)} said yes"
    return Evidence(rule, Outcome.WAITING, waits, fix, ("approval",))


def _state(case: Case, rows: list[Evidence]) -> State:
    outcomes = {row.outcome for row in rows}
    if case.revocation is not None:
        return State.REVOKED
    if outcomes & {Outcome.FAILED, Outcome.UNKNOWN}:
        return State.REJECTED
    return State.WAITING if Outcome.WAITING in outcomes else State.APPROVED


def _needed(case: Case, policy: Policy, values: Mapping[str, Any]) -> int:
    asked = [rule.reviewers(values) for rule in policy.rules if rule.approvals is not None]
    house = 0 if case.facts.author_verified else _REVIEWERS_OF_A_CLAIM
    return max([house, *(number for number in asked if isinstance(number, int))])


def _refuse_unless_open(case: Case, verdict: Verdict) -> None:
    label = case.facts.label
    if verdict.state in {State.APPROVED, State.REVOKED}:
        raise Conflict(f"{label} is {verdict.state} already", fix="revoke it, or register a new version")
    denied = any(not said.granted for said in case.standing)
    if verdict.state is State.REJECTED and not denied:
        raise Conflict(
            summary(verdict) + ": " + "; ".join(row.finding for row in verdict.open_rows), fix="see to those"
        )


def _folded(name: str) -> str:
    return name.strip().casefold()
