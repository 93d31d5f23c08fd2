"""golden.yaml's features as they are registered, and `golden features`: who is at risk when a view breaks."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from golden import project, registration
from goldenpath.registry.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry
from tests.features.repository import REPOSITORY

PROJECT = """\
model: credit
risk_tier: high
dataset: {name: census, datasheet: datasheet.md, data: [rows.csv]}
promise: {metric: log_loss, margin: 0.03}
features: {repo: feature_repo, service: fraud, deadline: 80ms, fallback: fail}
"""
DATASHEET = Path(__file__).parents[2] / "examples" / "credit" / "data" / "datasheet.md"


def test_the_views_of_a_service_go_along_with_a_registration(tmp_path: Path) -> None:
    (tmp_path / "golden.yaml").write_text(PROJECT)
    (tmp_path / "datasheet.md").write_text(DATASHEET.read_text())
    (tmp_path / "rows.csv").write_text("age\n41\n")
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo" / "definitions.py").write_text(REPOSITORY)
    asked = registration.request_of(project.load(tmp_path), "run-1").features
    assert (asked.service, asked.fallback) == ("fraud", events.FEATURE_FALLBACK_FAIL)
    assert asked.deadline.ToTimedelta() == timedelta(milliseconds=80)
    (customers, terminals) = asked.views
    assert (customers.name, list(customers.inputs), list(customers.keys)) == (
        "customer_windows",
        ["count_7d", "mean_7d"],
        ["customer"],
    )
    assert customers.ttl.ToTimedelta() == timedelta(days=2)
    assert (terminals.name, list(terminals.inputs), terminals.HasField("ttl")) == ("terminal_windows", ["risk"], False)
    assert len(customers.digest) == len(terminals.digest) == 64
    assert customers.digest != terminals.digest


def readers(platform: Any) -> None:
    view = events.FeatureView(name="customer_windows", digest="ab" * 32, inputs=["count_7d", "mean_7d"])
    platform.answers["SearchVersions"] = registry.SearchVersionsResponse(
        versions=[
            registry.Version(
                registered=events.ModelRegistered(
                    model="card-fraud", version=number, owner="payments-risk", feature_views=[view]
                )
            )
            for number in (3, 2)
        ]
    )
    platform.answers["GetModel"] = registry.GetModelResponse(
        model=registry.Model(name="card-fraud", aliases=[registry.Alias(name="champion@production", version=2)])
    )


def test_a_view_names_the_versions_that_read_it_and_where_they_serve(platform: Any, golden: Any) -> None:
    readers(platform)
    shown = golden("features", "customer_windows").out
    assert platform.request("SearchVersions").feature_view == "customer_windows"
    lines = [line.split() for line in shown.splitlines()]
    assert ["card-fraud@3", "nowhere", "payments-risk", "count_7d,", "mean_7d", "abababababab"] in lines
    assert ["card-fraud@2", "champion@production", "payments-risk", "count_7d,", "mean_7d", "abababababab"] in lines


def test_a_program_gets_the_versions_whole(platform: Any, golden: Any) -> None:
    readers(platform)
    document = json.loads(golden("features", "customer_windows", "--json").out)
    assert [one["registered"]["version"] for one in document["versions"]] == [3, 2]


def test_a_view_that_nobody_reads_is_said(platform: Any, golden: Any) -> None:
    platform.answers["SearchVersions"] = registry.SearchVersionsResponse()
    assert golden("features", "customer_windows").out == "No version reads customer_windows.\n"
