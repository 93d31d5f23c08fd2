"""The alert rules: Prometheus can read them, they name only metrics that somebody records, and say what to do."""

from __future__ import annotations

import re
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from typer.main import get_command

from golden.__main__ import build
from services.chassis import instruments
from services.modelserver import instruments as modelserver
from tests.architecture.tree import ROOT

FILE = ROOT / "deploy" / "alerts" / "goldenpath.yaml"
GROUPS = yaml.safe_load(FILE.read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
TARGET_LABELS = {"job", "instance"}  # Prometheus gives them to whatever it scrapes
EVERY_RULE = pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in RULES])


def exposed() -> dict[str, set[str]]:
    """The names under which metrics are scraped, with their labels."""
    found = {}
    for registry in (instruments, modelserver):
        for one in vars(registry).values():
            if isinstance(one, MetricWrapperBase):
                described = next(iter(one.describe()))
                name = f"{described.name}_total" if described.type == "counter" else described.name
                found[name] = set(one._labelnames)
    return found


def selectors(expression: Any) -> list[promql_parser.VectorSelector]:
    """Every selector of an expression."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(expression, visit)
    return found


def test_the_file_is_one_of_rules() -> None:
    assert [set(group) for group in GROUPS] == [{"name", "rules"}] * len(GROUPS)
    names = [group["name"] for group in GROUPS] + [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))


@EVERY_RULE
def test_a_rule_has_the_parts_of_one(rule: dict[str, Any]) -> None:
    assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert promql_parser.parse_duration(rule.get("for", "1m"))


@EVERY_RULE
def test_a_rule_asks_for_metrics_and_labels_that_somebody_records(rule: dict[str, Any]) -> None:
    recorded = exposed()
    asked = selectors(promql_parser.parse(rule["expr"]))
    assert asked
    for one in asked:
        assert one.name in recorded, f"{one.name} is recorded nowhere"
        labels = recorded[str(one.name)] | TARGET_LABELS
        assert {matcher.name for matcher in one.matchers.matchers} <= labels
        grouped = re.findall(r"by \((\w+)\)", rule["expr"])
        assert set(grouped) <= labels
        told = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
        assert set(told) <= set(grouped)


@EVERY_RULE
def test_a_rule_says_what_to_do_with_commands_that_exist(rule: dict[str, Any]) -> None:
    said = " ".join(rule["annotations"]["description"].split())
    commands = re.findall(r"golden ([a-z]+)(?: ([a-z]+))?", said)
    assert commands
    root: Any = get_command(build())
    for command, sub in commands:
        assert command in root.commands
        assert sub in getattr(root.commands[command], "commands", [sub])


def test_what_waits_for_an_operator_has_an_alert() -> None:
    asked = {str(one.name) for rule in RULES for one in selectors(promql_parser.parse(rule["expr"]))}
    assert asked >= {
        "goldenpath_consumer_stopped",
        "goldenpath_dead_letter_events",
        "goldenpath_parked_events",
        "goldenpath_outbox_oldest_seconds",
    }
