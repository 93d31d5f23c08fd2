"""`golden retrain` and `golden trainer`: a request, the project's own command, a real MLflow store, a version."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from golden import project as projects
from golden.retraining import REQUEST, Trainer
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as events
from goldenpath.registry.v1 import events_pb2 as made
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import Denied, Invalid, NotFound
from tests.golden.test_cli_register import DATASHEET, PROJECT

pytestmark = [
    pytest.mark.usefixtures("golden"),  # forgets which platform was connected to
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # MLflow's own
]

TRAINS = """\
import os, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
found = client.get_experiment_by_name("credit")
experiment = found.experiment_id if found else client.create_experiment("credit")
run = client.create_run(experiment, tags={"reason": os.environ["GOLDEN_TRAINING_REASON"]})
client.set_terminated(run.info.run_id)
"""
ASKED = events.TrainingRequested(id="9f0c", reason="both versions are beaten")


def write(folder: Path, program: str, *, within: str = "1m") -> None:
    (folder / "train.py").write_text(program)
    command = f"{shlex.quote(sys.executable)} train.py"
    (folder / "golden.yaml").write_text(f"{PROJECT}retrain: {{command: {command!r}, within: {within}}}\n")
    (folder / "datasheet.md").write_text(DATASHEET.read_text())
    (folder / "rows.csv").write_text("age\n41\n")


@pytest.fixture
def tracking(platform: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    answer = registry.Version(registered=made.ModelRegistered(model="credit", version=3))
    platform.answers["RegisterVersion"] = registry.RegisterVersionResponse(version=answer, created=True)
    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def trainer(folder: Path) -> Trainer:
    return Trainer(projects.load(folder), connect(), "production", lambda _: None)


def answer(folder: Path) -> registry.Version:
    one = trainer(folder)
    assert one.project.retrain is not None
    return one.answer(ASKED, one.project.retrain)


def runs_of(tracking: MlflowClient) -> list[Any]:
    found = tracking.get_experiment_by_name("credit")
    return list(tracking.search_runs([found.experiment_id])) if found else []


def test_a_request_is_answered_with_the_run_that_the_command_made(
    platform: Any, tracking: MlflowClient, tmp_path: Path
) -> None:
    write(tmp_path, TRAINS)
    assert answer(tmp_path).registered.version == 3
    (run,) = runs_of(tracking)
    asked = platform.request("RegisterVersion")
    assert (asked.model, asked.mlflow_run, asked.training_request) == ("credit", run.info.run_id, "9f0c")
    assert run.data.tags[REQUEST] == "9f0c"
    assert run.data.tags["reason"] == "both versions are beaten"


def test_a_trainer_that_was_killed_before_it_registered_does_not_train_again(
    platform: Any, tracking: MlflowClient, tmp_path: Path
) -> None:
    write(tmp_path, TRAINS)
    registers = platform.answers["RegisterVersion"]
    platform.answers["RegisterVersion"] = Denied("not now")
    with pytest.raises(Denied):
        answer(tmp_path)
    platform.answers["RegisterVersion"] = registers
    answer(tmp_path)
    assert len(runs_of(tracking)) == 1


@pytest.mark.parametrize(
    ("program", "within", "words"),
    [
        pytest.param("raise SystemExit('no data today')", "1m", "ended with 1:\nno data today", id="fails"),
        pytest.param("import time; time.sleep(60)", "0.2s", "longer than 0:00:00.2", id="takes too long"),
        pytest.param("", "1m", "no finished run", id="makes no run"),
    ],
)
def test_a_command_that_trains_nothing_registers_nothing(
    platform: Any, tracking: MlflowClient, tmp_path: Path, program: str, within: str, words: str
) -> None:
    write(tmp_path, program, within=within)
    with pytest.raises((Invalid, NotFound), match=words):
        answer(tmp_path)
    assert "RegisterVersion" not in [method for method, _ in platform.asked]
    assert runs_of(tracking) == []


def test_an_older_run_is_not_taken_for_the_commands(platform: Any, tracking: MlflowClient, tmp_path: Path) -> None:
    older = tracking.create_run(tracking.create_experiment("credit"))
    tracking.set_terminated(older.info.run_id)
    write(tmp_path, "")
    with pytest.raises(NotFound, match="no finished run"):
        answer(tmp_path)
    assert "RegisterVersion" not in [method for method, _ in platform.asked]


def test_a_project_that_does_not_say_how_is_refused_at_once(platform: Any, golden: Any, tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "golden.yaml").write_text(PROJECT)
    ended = golden("trainer", str(tmp_path))
    assert ended.status == 1
    assert "doesn't say how to train again" in ended.err
    assert "retrain:" in ended.err
    assert platform.asked == []


@pytest.mark.parametrize(
    ("created", "words"), [(True, "Asked for a new version"), (False, "asked for already: beaten")]
)
def test_a_person_asks_for_a_new_version(platform: Any, golden: Any, created: bool, words: str) -> None:  # noqa: FBT001 - parametrized
    standing = events.TrainingRequested(id="9f0c", reason="beaten")
    platform.answers["RequestTraining"] = deployer.RequestTrainingResponse(training=standing, created=created)
    ended = golden("retrain", "credit", "-m", "new data came")
    assert (ended.status, words in ended.out) == (0, True), ended.err
    assert platform.request("RequestTraining").reason == "new data came"


def test_status_shows_what_is_asked_for(platform: Any, golden: Any) -> None:
    state = deployer.Deployment(training=ASKED)
    state.position.model, state.position.environment, state.position.stable_version = "credit", "production", 2
    platform.answers["WatchDeployment"] = [deployer.WatchDeploymentResponse(deployment=state)]
    ended = golden("watch", "credit")
    assert "both versions are beaten" in ended.out
    assert "golden trainer" in ended.out
