"""Policies as data: what is refused when one is applied, and what the shipped one says about versions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml

from services.chassis.errors import Invalid
from services.governance.domain import policies
from services.governance.domain.facts import Facts
from services.governance.domain.policies import Evidence, Outcome
from tests.governance.cases import CENSUS, DEFAULT, QUESTIONS, SHIPPED, good, without

RULE = "{id: r, what: w, passes: 'true', finding: f}"


def row(facts: Facts, rule: str) -> Evidence:
    judged = {one.id: one.judge(DEFAULT.values(facts)) for one in DEFAULT.rules if one.passes}
    return judged[rule]


def test_the_shipped_policy_asks_the_questions_of_the_contract() -> None:
    assert tuple(DEFAULT.given["questions"]) == QUESTIONS


def policy(**changes: Any) -> str:
    rule = {"id": "r", "what": "w", "passes": "true", "finding": "f"} | changes
    return json.dumps({"name": "p", "rules": [{key: value for key, value in rule.items() if value is not None}]})


@pytest.mark.parametrize("rule", [rule.id for rule in DEFAULT.rules if rule.passes])
def test_a_good_version_passes_every_shipped_rule(rule: str) -> None:
    assert row(good(), rule).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("facts", "rule", "finding", "missing"),
    [
        pytest.param(
            good(datasets=(without("collection_process", "known_gaps"),)),
            "dataset-documented",
            "census-1994@1 has no answer for: collection process, known gaps",
            ("collection_process", "known_gaps"),
            id="two unanswered questions",
        ),
        pytest.param(good(datasets=()), "dataset-documented", "the version names no dataset", (), id="no dataset"),
        pytest.param(
            good(datasets=(without("licence", licence=""),)),
            "licence-allows-use",
            "census-1994@1 names no licence",
            ("licence",),
            id="no licence",
        ),
        pytest.param(
            good(datasets=(without(licence="CC-BY-NC-4.0"),)),
            "licence-allows-use",
            "census-1994@1 has the licence CC-BY-NC-4.0, which isn't on the list",
            (),
            id="no commercial use",
        ),
        pytest.param(good(owner="  "), "owner-named", "the model has no owner", ("owner",), id="no owner"),
        pytest.param(
            good(has_signature=False),
            "signature-present",
            "the version has no signature",
            ("signature",),
            id="no signature",
        ),
        pytest.param(
            good(has_reference_profile=False),
            "reference-profile-present",
            "the version has no reference profile",
            ("reference_profile",),
            id="no profile",
        ),
        pytest.param(
            good(requirements=("numpy", "scikit-learn==1.6.1")),
            "environment-locked",
            "numpy isn't pinned",
            ("numpy",),
            id="not pinned",
        ),
        pytest.param(
            good(requirements=()), "environment-locked", "the version names no packages", (), id="no packages"
        ),
        pytest.param(
            good(metrics={"log_loss": 0.9}),
            "metric-over-the-bar",
            "log_loss 0.9000 is above the bar, 0.65",
            (),
            id="too high a loss",
        ),
        pytest.param(
            good(metrics={"auc": 0.5}, promise_metric="auc"),
            "metric-over-the-bar",
            "auc 0.5000 is below the bar, 0.6",
            (),
            id="too low an auc",
        ),
        pytest.param(
            good(promise_metric=""),
            "metric-over-the-bar",
            "the version promises no metric",
            ("promise",),
            id="no promise",
        ),
        pytest.param(
            good(promise_metric="auc"),
            "metric-over-the-bar",
            "the version promises auc and has no value for it",
            ("auc",),
            id="no value",
        ),
        pytest.param(
            good(promise_metric="lift", metrics={"lift": 2.0}),
            "metric-over-the-bar",
            "the policy has no bar for lift",
            (),
            id="unknown metric",
        ),
        pytest.param(
            good(metrics={"log_loss": float("nan")}),
            "metric-over-the-bar",
            "log_loss NaN is above the bar, 0.65",
            (),
            id="not a number",
        ),
        pytest.param(good(retired=True), "in-use", "credit-prescreen@1 was retired", (), id="retired"),
    ],
)
def test_a_shipped_rule_says_in_words_and_keys_what_is_missing(
    facts: Facts, rule: str, finding: str, missing: tuple[str, ...]
) -> None:
    found = row(facts, rule)
    assert (found.outcome, found.finding, found.missing) == (Outcome.FAILED, finding, missing)
    assert found.fix


def test_a_blank_answer_is_no_answer() -> None:
    blank = replace(CENSUS, answers=dict(CENSUS.answers) | {"purpose": " \n"})
    assert row(good(datasets=(blank,)), "dataset-documented").missing == ("purpose",)


def test_the_licence_and_the_class_of_personal_data_answer_their_questions() -> None:
    assert row(good(datasets=(without("licence", "personal_data"),)), "dataset-documented").outcome is Outcome.PASSED


@pytest.mark.parametrize(("risk", "needed"), [("minimal", 0), ("limited", 0), ("high", 1)])
def test_only_a_high_risk_takes_a_reviewer_by_the_shipped_policy(risk: str, needed: int) -> None:
    asked = {rule.id: rule.reviewers(DEFAULT.values(good(risk_tier=risk))) for rule in DEFAULT.rules if rule.approvals}
    assert asked == {"second-person": needed}


def test_the_digest_is_of_the_content_and_not_of_the_writing() -> None:
    as_json = json.dumps(yaml.safe_load(SHIPPED), sort_keys=True)
    assert policies.parse(as_json).digest == DEFAULT.digest
    assert policies.parse(SHIPPED.replace("0.65", "0.66")).digest != DEFAULT.digest


def test_a_rule_without_an_answer_is_unknown_and_not_passed() -> None:
    rule = policies.parse(policy(passes="metrics.gini > 0.4")).rules[0]
    found = rule.judge(DEFAULT.values(good()))
    assert found.outcome is Outcome.UNKNOWN
    assert "gini" in found.finding


def test_a_value_of_another_type_is_unknown_and_not_passed() -> None:
    rule = policies.parse(policy(passes="datasets[0].name")).rules[0]
    assert rule.judge(DEFAULT.values(good())).outcome is Outcome.UNKNOWN


def test_what_cannot_be_known_is_an_ellipsis_in_the_sentence() -> None:
    rule = policies.parse(policy(passes="false", finding="gini {metrics.gini} of {model.name}")).rules[0]
    assert rule.judge(DEFAULT.values(good())).finding == "gini … of credit-prescreen"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        pytest.param("{", "policy", id="not yaml"),
        pytest.param("[1]", "policy", id="a list"),
        pytest.param("name: p\nname: q\nrules: []", "policy", id="a key twice"),
        pytest.param("name: &a p\nwhat: *a\nrules: []", "policy", id="an alias"),
        pytest.param("name: p\nrules: []", "policy: rules", id="no rules"),
        pytest.param("name: P!\nrules: [" + RULE + "]", "policy: name", id="a bad name"),
        pytest.param("name: p\nrulez: []", "policy: rulez", id="an unknown key"),
        pytest.param(f"name: p\nrules: [{RULE}, {RULE}]", "policy: rules[1].id", id="an id twice"),
        pytest.param("x" * 300_000, "policy", id="too long"),
        pytest.param("[" * 5_000, "policy", id="too deep"),
        pytest.param(policy(pases="true", passes=None), "policy: rules[0].pases", id="a misspelt key"),
        pytest.param(policy(passes="model.ownr != ''"), "policy: rules[0].passes", id="a misspelt fact"),
        pytest.param(policy(passes="model.owner !="), "policy: rules[0].passes", id="a syntax error"),
        pytest.param(policy(passes="model.owner"), "policy: rules[0].passes", id="not a bool"),
        pytest.param(policy(passes=True), "policy: rules[0].passes", id="not a text"),
        pytest.param(policy(passes="true && " * 300 + "true"), "policy: rules[0].passes", id="too long an expression"),
        pytest.param(policy(approvals="1"), "policy: rules[0]", id="passes and approvals"),
        pytest.param(policy(passes=None), "policy: rules[0]", id="neither"),
        pytest.param(policy(missing="model.owner"), "policy: rules[0].missing", id="missing is no list"),
        pytest.param(policy(finding="{model.owner"), "policy: rules[0].finding", id="an open brace"),
        pytest.param(policy(fix="{nothing.here}"), "policy: rules[0].fix", id="a misspelt fact in a sentence"),
        pytest.param(policy(finding=None), "policy: rules[0].finding", id="no finding"),
        pytest.param("name: p\ngiven: {x: .nan}\nrules: [" + RULE + "]", "policy", id="not a number"),
        pytest.param("name: p\ngiven: {x: 2026-01-01}\nrules: [" + RULE + "]", "policy", id="a date"),
    ],
)
def test_a_bad_policy_is_refused_with_its_place(text: str, where: str) -> None:
    with pytest.raises(Invalid) as refused:
        policies.parse(text)
    assert refused.value.where == where
    assert "<input>" not in refused.value.what


def test_a_syntax_error_says_where_in_the_expression_it_is() -> None:
    with pytest.raises(Invalid, match=r"line 1, column 15"):
        policies.parse(policy(passes="model.owner !="))


def test_a_policy_of_its_own_goes_before_the_default() -> None:
    agents = policies.parse('{name: agents, applies: model.kind == "agent", rules: [' + RULE + "]}")
    standing = [DEFAULT, agents]
    assert policies.policy_for(good(), standing).name == "default"
    assert policies.policy_for(good(kind="agent"), standing).name == "agents"


def test_a_version_that_no_policy_applies_to_is_not_judged() -> None:
    none = policies.parse('{name: p, applies: "false", rules: [' + RULE + "]}")
    with pytest.raises(Invalid, match="no policy applies"):
        policies.policy_for(good(), [none])
