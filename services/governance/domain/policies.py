"""Policies are data: named rules over a version's facts, in YAML or JSON, told apart by their digest.

    name: default
    what: What every version must show before it serves.
    applies: "true"                       # CEL; which versions this policy judges
    given: {risk: [high]}                 # the policy's own constants, under `given` in its expressions
    rules:
      - id: owner-named
        what: Somebody answers for the model.
        applies: "true"                   # CEL; where it isn't true, the rule passes as not applicable
        passes: model.owner != ""         # CEL; or `approvals`: how many reviewers it takes
        finding: the model has no owner   # what is missing, in words; {expressions} in braces are filled in
        missing: '["owner"]'              # CEL; what is missing, as keys
        fix: "add  owner: team-or-person  to golden.yaml"

The digest is over the parsed content, so comments, key order and YAML against JSON make no difference. A rule whose
expression has no answer is `unknown`, and a version isn't approved on an unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from services.chassis.errors import Invalid
from services.governance.domain import documents
from services.governance.domain.expressions import Expression, Sentence, Unknown
from services.governance.domain.facts import Facts

DEFAULT: Final = "default"


class Outcome(StrEnum):
    """How a rule turned out."""

    PASSED = "passed"
    FAILED = "failed"
    WAITING = "waiting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One rule's row in a verdict.

    Args:
        rule: The rule's id.
        outcome: How it turned out.
        finding: What was found, or what is missing, in words.
        fix: What to do; empty where nothing is to be done.
        missing: What is missing, as keys.
    """

    rule: str
    outcome: Outcome
    finding: str
    fix: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled. `passes` judges by itself; `approvals` says how many reviewers it takes."""

    id: str
    what: str
    applies: Expression
    passes: Expression | None
    approvals: Expression | None
    finding: Sentence
    missing: Expression
    fix: Sentence

    def judge(self, values: Mapping[str, Any]) -> Evidence:
        """Judge the facts by the rule's own expression."""
        applies = self.applies.evaluate(values)
        if applies is False:
            return Evidence(self.id, Outcome.PASSED, f"doesn't apply: {self.what}")
        passed = self.passes.evaluate(values) if applies is True and self.passes else applies
        if isinstance(passed, Unknown):
            return Evidence(self.id, Outcome.UNKNOWN, f"can't be judged: {passed.why}", self.fix.fill(values))
        if passed is True:
            return Evidence(self.id, Outcome.PASSED, self.what)
        missing = self.missing.evaluate(values)
        keys = () if isinstance(missing, Unknown) else tuple(missing)
        return Evidence(self.id, Outcome.FAILED, self.finding.fill(values), self.fix.fill(values), keys)

    def reviewers(self, values: Mapping[str, Any]) -> int | Unknown:
        """How many reviewers the rule takes for these facts."""
        applies = self.applies.evaluate(values)
        if applies is not True:
            return applies if isinstance(applies, Unknown) else 0
        needed = self.approvals.evaluate(values) if self.approvals else 0
        return needed if isinstance(needed, Unknown) else max(0, int(needed))


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, compiled.

    Args:
        name: Its name.
        digest: SHA-256 over its content, 64 hex digits.
        source: Its text, as it was applied.
        given: Its own constants.
        rules: Its rules, in order.
    """

    name: str
    digest: str
    source: str
    applies_expression: Expression
    given: Mapping[str, Any]
    rules: tuple[Rule, ...]

    def values(self, facts: Facts) -> dict[str, Any]:
        """The facts as the policy's expressions see them."""
        return {**facts.as_rules_see_them(), "given": self.given}

    def applies(self, facts: Facts) -> bool:
        """Whether this policy judges that version. Where that can't be known, it does."""
        return self.applies_expression.evaluate(self.values(facts)) is not False


def policy_for(facts: Facts, policies: Sequence[Policy]) -> Policy:
    """The policy that judges a version: the first that applies by name, and the one named default last.

    Raises:
        Invalid: none applies.
    """
    ordered = sorted(policies, key=lambda policy: (policy.name == DEFAULT, policy.name))
    for policy in ordered:
        if policy.applies(facts):
            return policy
    raise Invalid(f"no policy applies to {facts.label}", fix="apply a policy named default")


def parse(text: str, *, place: str = "policy") -> Policy:
    """Read a policy and compile every expression in it.

    Args:
        text: YAML or JSON.
        place: What to call it in errors, such as a file's name.

    Raises:
        Invalid: it isn't a policy; `where` says which part.
    """
    root = documents.load(text, place)
    root.only("name", "what", "applies", "given", "rules")
    rules = [_rule(rule) for rule in root.list_of_mappings("rules")]
    if not rules:
        raise Invalid("a policy without rules would approve everything", where=f"{place}: rules")
    _unique(rules, place)
    digest = hashlib.sha256(_canonical(root.content, place).encode()).hexdigest()
    return Policy(
        name=root.name("name"),
        digest=digest,
        source=text,
        applies_expression=_expression(root, "applies", "bool", default="true"),
        given=root.mapping("given"),
        rules=tuple(rules),
    )


def _rule(rule: documents.Part) -> Rule:
    rule.only("id", "what", "applies", "passes", "approvals", "finding", "missing", "fix")
    if ("passes" in rule.content) == ("approvals" in rule.content):
        raise Invalid("a rule has either passes or approvals", where=rule.where)
    judges = "passes" in rule.content
    return Rule(
        id=rule.name("id"),
        what=rule.text("what"),
        applies=_expression(rule, "applies", "bool", default="true"),
        passes=_expression(rule, "passes", "bool") if judges else None,
        approvals=None if judges else _expression(rule, "approvals", "int"),
        finding=Sentence(rule.text("finding", default=None if judges else ""), where=rule.at("finding")),
        missing=_expression(rule, "missing", "list", default="[]"),
        fix=Sentence(rule.text("fix", default=""), where=rule.at("fix")),
    )


def _expression(part: documents.Part, key: str, returns: str, *, default: str = "") -> Expression:
    return Expression(part.text(key, default=default), returns=returns, where=part.at(key))


def _unique(rules: Sequence[Rule], place: str) -> None:
    ids = [rule.id for rule in rules]
    for index, rule in enumerate(ids):
        if rule in ids[:index]:
            raise Invalid(f"two rules are called {rule}", where=f"{place}: rules[{index}].id")


def _canonical(content: Mapping[str, Any], place: str) -> str:
    try:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Invalid(f"it holds something that JSON has no word for: {error}", where=place) from None
