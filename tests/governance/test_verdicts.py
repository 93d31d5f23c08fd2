"""Verdicts and the transitions between them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import Conflict, Denied
from services.governance.domain import verdicts
from services.governance.domain.facts import Facts
from services.governance.domain.policies import Outcome
from services.governance.domain.verdicts import Case, State, Verdict
from tests.governance.cases import CENSUS, DEFAULT, DIGEST, NOW, good, without

HIGH = good(risk_tier="high")
CLAIMED = good(risk_tier="high", author_verified=False)


def opened(facts: Facts) -> Case:
    return verdicts.learn(None, facts, at=NOW)


def judged(case: Case) -> Verdict:
    return verdicts.judge(case, DEFAULT, at=NOW)


def said(case: Case, reviewer: str, *, yes: bool = True, comment: str = "looks right") -> Case:
    return verdicts.decide(case, judged(case), reviewer=reviewer, granted=yes, comment=comment, at=NOW)


def revoked(case: Case) -> Case:
    return verdicts.revoke(replace(case, approved_once=True), by="rea", reason="it leaks", at=NOW)


def test_a_good_version_of_limited_risk_is_approved_at_once() -> None:
    verdict = judged(opened(good()))
    assert verdict.state is State.APPROVED
    assert verdict.open_rows == ()
    assert verdict.artifact_digest == DIGEST
    assert verdict.facts_revision == 1


def test_one_failed_rule_rejects_and_its_row_says_why() -> None:
    verdict = judged(opened(good(datasets=(without("known_gaps"),))))
    assert verdict.state is State.REJECTED
    assert [entry.rule for entry in verdict.open_rows] == ["dataset-documented"]
    assert verdicts.summary(verdict) == "credit-prescreen@1 was refused by 1 of 9 rules"


def test_a_high_risk_waits_for_a_reviewer_and_is_approved_by_one() -> None:
    case = opened(HIGH)
    assert judged(case).state is State.WAITING
    assert judged(case).reviewers_needed == 1
    after = said(case, "rea")
    assert judged(after).state is State.APPROVED
    assert judged(after).facts_revision == 2
    assert [approval.reviewer for approval in judged(after).approvals] == ["rea"]


@pytest.mark.parametrize("name", ["mia@bank.example", " Mia@Bank.Example "])
def test_nobody_approves_what_they_registered_under_any_spelling(name: str) -> None:
    with pytest.raises(Denied, match="registered credit-prescreen@1"):
        said(opened(HIGH), name)


def test_nobody_denies_what_they_registered() -> None:
    with pytest.raises(Denied):
        said(opened(HIGH), "mia@bank.example", yes=False)


def test_a_claimed_author_takes_two_different_reviewers() -> None:
    case = opened(CLAIMED)
    assert judged(case).reviewers_needed == 2
    one = said(case, "rea")
    assert judged(one).state is State.WAITING
    assert judged(one).reviewers_needed == 1
    again = said(one, "REA")
    assert again is one
    assert judged(said(one, "rob")).state is State.APPROVED


def test_a_claimed_author_takes_two_reviewers_whatever_the_policy_says() -> None:
    verdict = judged(opened(good(risk_tier="minimal", author_verified=False)))
    assert verdict.state is State.WAITING
    assert [entry.rule for entry in verdict.open_rows] == [verdicts.CLAIMED_AUTHOR]


def test_a_claimed_author_cannot_be_one_of_the_two() -> None:
    with pytest.raises(Denied):
        said(opened(CLAIMED), "mia@bank.example")


def test_a_no_rejects_and_the_same_reviewer_may_change_their_mind() -> None:
    case = said(opened(HIGH), "rea", yes=False, comment="the gaps are too thin")
    assert judged(case).state is State.REJECTED
    assert "rea said no: the gaps are too thin" in [entry.finding for entry in judged(case).open_rows]
    assert judged(said(case, "rea")).state is State.APPROVED


def test_one_no_outweighs_a_yes() -> None:
    case = said(said(opened(CLAIMED), "rea"), "rob", yes=False)
    assert judged(case).state is State.REJECTED


def test_other_facts_ask_the_reviewers_anew() -> None:
    approved = said(opened(HIGH), "rea")
    changed = verdicts.learn(approved, replace(HIGH, datasets=(replace(CENSUS, personal_data="special"),)), at=NOW)
    assert changed.revision == 3
    assert judged(changed).state is State.WAITING
    assert judged(changed).approvals == ()


def test_rewording_a_datasheet_raises_the_revision_and_asks_nobody() -> None:
    approved = said(opened(HIGH), "rea")
    reworded = replace(CENSUS, answers=dict(CENSUS.answers) | {"purpose": "another wording"})
    changed = verdicts.learn(approved, replace(HIGH, datasets=(reworded,)), at=NOW)
    assert changed.revision == 3
    assert judged(changed).state is State.APPROVED


def test_the_same_facts_change_nothing() -> None:
    case = opened(HIGH)
    assert verdicts.learn(case, replace(HIGH), at=NOW + timedelta(days=1)) is case


def test_a_version_with_other_bytes_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="was judged for the bytes"):
        verdicts.learn(opened(HIGH), replace(HIGH, artifact_digest="b" * 64), at=NOW)


def test_approving_what_is_refused_by_a_rule_is_a_conflict_that_names_it() -> None:
    with pytest.raises(Conflict, match="no owner"):
        said(opened(good(owner="", risk_tier="high")), "rea")


def test_approving_what_waits_for_nobody_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="approved already"):
        said(opened(good()), "rea")


def test_a_revoked_version_is_refused_for_good() -> None:
    case = revoked(said(opened(HIGH), "rea"))
    assert judged(case).state is State.REVOKED
    assert judged(verdicts.learn(case, good(), at=NOW)).state is State.REVOKED
    assert "rea revoked it: it leaks" in [entry.finding for entry in judged(case).open_rows]
    with pytest.raises(Conflict, match="revoked already"):
        said(case, "rob")


def test_revoking_twice_changes_nothing() -> None:
    case = revoked(opened(good()))
    assert verdicts.revoke(case, by="rob", reason="again", at=NOW) is case


def test_what_was_never_approved_cannot_be_revoked() -> None:
    with pytest.raises(Conflict, match="never approved"):
        verdicts.revoke(opened(HIGH), by="rea", reason="x", at=NOW)


def test_an_approved_version_can_be_revoked_after_its_facts_have_changed() -> None:
    case = replace(opened(HIGH), approved_once=True)
    assert judged(case).state is State.WAITING
    assert judged(verdicts.revoke(case, by="rea", reason="x", at=NOW)).state is State.REVOKED


@pytest.mark.parametrize(
    ("facts", "digest", "admitted", "reason"),
    [
        pytest.param(good(), DIGEST, True, "is approved by the policy default", id="approved"),
        pytest.param(good(), "b" * 64, False, "speaks of other bytes", id="other bytes"),
        pytest.param(HIGH, DIGEST, False, "is waiting: it takes 1", id="waiting"),
        pytest.param(good(owner=""), DIGEST, False, "is rejected: the model has no owner", id="rejected"),
    ],
)
def test_only_the_approved_bytes_are_admitted(facts: Facts, digest: str, admitted: bool, reason: str) -> None:  # noqa: FBT001 - a table's column
    found = verdicts.admission(judged(opened(facts)), label=facts.label, artifact_digest=digest)
    assert found[0] is admitted
    assert reason in found[1]


def test_what_nobody_judged_is_not_admitted() -> None:
    assert verdicts.admission(None, label="m@1", artifact_digest=DIGEST) == (False, "nobody has judged m@1")


def test_an_approval_is_news_once_and_a_new_finding_always() -> None:
    approved = judged(opened(good()))
    refused = judged(opened(good(owner="")))
    otherwise = judged(opened(good(owner="", has_signature=False)))
    assert verdicts.is_news(approved, None)
    assert not verdicts.is_news(replace(approved, facts_revision=2), approved)
    assert verdicts.is_news(refused, approved)
    assert not verdicts.is_news(refused, refused)
    assert verdicts.is_news(otherwise, refused)
    assert verdicts.is_news(approved, refused)


def test_the_same_judgement_has_the_same_id_and_another_state_of_the_facts_another() -> None:
    case = opened(HIGH)
    assert judged(case).id == judged(case).id
    assert judged(said(case, "rea")).id != judged(case).id


def test_a_rule_that_cannot_be_judged_rejects() -> None:
    from services.governance.domain import policies

    policy = policies.parse('{name: p, rules: [{id: r, what: w, approvals: "int(metrics.gini)"}]}')
    verdict = verdicts.judge(opened(good()), policy, at=NOW)
    assert verdict.state is State.REJECTED
    assert verdict.evidence[0].outcome is Outcome.UNKNOWN
