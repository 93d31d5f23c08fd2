"""`golden register`: what the registry is asked, and what a person and a pipeline are told of governance's verdict."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from golden import load_project, registration
from goldenpath.governance.v1 import events_pb2 as judged
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.registry.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import Conflict, Invalid, Unavailable

PROJECT = """\
model: credit
risk_tier: high
owner: credit-risk
dataset: {name: census, datasheet: datasheet.md, data: [rows.csv]}
promise: {metric: log_loss, margin: 0.03}
rollout: {steps: [5, 100], maximum_step: 2m}
"""
DATASHEET = Path(__file__).parents[2] / "examples" / "credit" / "data" / "datasheet.md"


@pytest.fixture
def project(tmp_path: Path) -> str:
    (tmp_path / "golden.yaml").write_text(PROJECT)
    (tmp_path / "datasheet.md").write_text(DATASHEET.read_text())
    (tmp_path / "rows.csv").write_text("age\n41\n")
    return str(tmp_path)


def judge(platform: Any, state: judged.VerdictState.ValueType, *, created: bool = True) -> None:
    made = events.ModelRegistered(model="credit", version=2, artifact_digest="ab" * 32)
    platform.answers["RegisterVersion"] = registry.RegisterVersionResponse(
        version=registry.Version(registered=made), created=created
    )
    failed = judged.Evidence(
        rule="dataset-documented", outcome=judged.OUTCOME_FAILED, finding="no answer", missing=["known_gaps"]
    )
    verdict = judged.Verdict(model="credit", version=2, state=state, evidence=[failed])
    platform.answers["GetVerdict"] = governance.GetVerdictResponse(verdict=verdict)


def test_the_registry_is_asked_for_what_golden_yaml_says(platform: Any, golden: Any, project: str) -> None:
    judge(platform, judged.VERDICT_STATE_APPROVED)
    ended = golden("register", project, "--run", "f" * 32)
    assert ended.status == 0, ended.err
    assert "credit@2 registered   abababababab" in ended.out
    asked = platform.request("RegisterVersion")
    assert (asked.model, asked.owner, asked.mlflow_run) == ("credit", "credit-risk", "f" * 32)
    assert (asked.kind, asked.risk_tier) == (events.KIND_MODEL, events.RISK_TIER_HIGH)
    assert asked.datasets[0].digest == hashlib.sha256(b"age\n41\n").hexdigest()
    assert (list(asked.rollout.steps), asked.rollout.maximum_step_seconds) == ([5, 100], 120)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_refused_version_ends_with_status_1(platform: Any, golden: Any, project: str, words: list[str]) -> None:
    judge(platform, judged.VERDICT_STATE_REJECTED)
    ended = golden("register", project, "--run", "f" * 32, *words)
    assert ended.status == 1
    assert ended.err == ""
    assert "credit" in ended.out


def test_a_refusal_points_at_the_datasheet_s_lines(platform: Any, golden: Any, project: str) -> None:
    judge(platform, judged.VERDICT_STATE_REJECTED)
    ended = golden("register", project, "--run", "f" * 32)
    assert "credit@2  refused" in ended.out
    assert "write them in datasheet.md, at line " in ended.out
    assert "golden explain credit@2 --why" in ended.out


@pytest.mark.parametrize("created", [True, False])
def test_what_was_known_is_judged_by_what_was_registered_now(
    platform: Any, golden: Any, project: str, *, created: bool
) -> None:
    judge(platform, judged.VERDICT_STATE_APPROVED, created=created)
    assert golden("register", project, "--run", "f" * 32).status == 0
    asked = platform.request("GetVerdict")
    assert (asked.version, asked.look_again) == (2, not created)


def test_a_known_version_that_keeps_what_golden_yaml_no_longer_says_is_told(
    platform: Any, golden: Any, project: str
) -> None:
    """Somebody corrects the cost matrix and registers again: the bytes are the same, so nothing changes."""
    judge(platform, judged.VERDICT_STATE_APPROVED, created=False)
    kept = registration.request_of(load_project(project), "f" * 32)
    version = platform.answers["RegisterVersion"].version
    version.registered.promise.CopyFrom(kept.promise)
    version.registered.promise.value = 0.2  # the run's own
    version.drift.CopyFrom(kept.drift)
    version.rollout.CopyFrom(kept.rollout)
    version.outcomes.within.FromTimedelta(timedelta())
    assert golden("register", project, "--run", "f" * 32, "--json").json["unheard"] == []

    said = Path(project, "golden.yaml")
    said.write_text(said.read_text().replace("0.03", "0.04") + "outcomes: {within: 8d}\n")
    assert "says otherwise of promise, outcomes than" in golden("register", project, "--run", "f" * 32).out


def test_what_the_registry_finds_wrong_in_golden_yaml_has_its_line(platform: Any, golden: Any, project: str) -> None:
    platform.answers["RegisterVersion"] = Invalid("no number", where="promise.metric", fix="log it")
    ended = golden("register", project, "--run", "f" * 32)
    assert ended.err == f"✗ {project}/golden.yaml:5: promise.metric: no number\n  to do: log it\n"


def test_without_governance_s_word_it_says_so_and_succeeds(platform: Any, golden: Any, project: str) -> None:
    judge(platform, judged.VERDICT_STATE_APPROVED)
    platform.answers["GetVerdict"] = Unavailable("the database is down")
    ended = golden("register", project, "--run", "f" * 32)
    assert ended.status == 0
    assert "Governance hasn't judged it yet: golden explain credit@2" in ended.out
    assert golden("register", project, "--run", "f" * 32, "--json").json["verdict"] is None


def test_what_the_registry_refuses_is_told(platform: Any, golden: Any, project: str) -> None:
    platform.answers["RegisterVersion"] = Conflict("the run isn't finished", where="f" * 32, fix="finish it")
    ended = golden("register", project, "--run", "f" * 32)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"✗ {'f' * 32}: the run isn't finished\n  to do: finish it\n"


def test_a_folder_without_a_project_is_told_before_anybody_is_asked(platform: Any, golden: Any, tmp_path: Path) -> None:
    ended = golden("register", str(tmp_path))
    assert ended.status == 1
    assert "there is no golden.yaml here" in ended.err
    assert platform.asked == []


@pytest.mark.filterwarnings("ignore")  # MLflow's own store uses what SQLAlchemy gives up
def test_without_a_run_the_newest_finished_one_is_looked_for(
    platform: Any, golden: Any, project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    ended = golden("register", project)
    assert ended.status == 1
    assert "the experiment credit has no finished run" in ended.err
    assert platform.asked == []


def test_without_a_run_and_without_mlflow_it_asks_for_one_of_them(
    platform: Any, golden: Any, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ended = golden("register", project)
    assert (ended.status, ended.out) == (1, "")
    assert "set MLFLOW_TRACKING_URI" in ended.err
    assert platform.asked == []
