"""Answers requests for a new version: runs the command in golden.yaml, and registers what came of it.

A trainer follows the deployment's state and remembers nothing. What it has trained is known by a tag of the MLflow run,
so one that was killed registers what was finished, and trains again what wasn't. A training that fails is tried again,
later and later; the request stays open meanwhile, and anybody can see that. The version goes through the same gates as
any other.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from golden import registration, training
from golden.connection import error_of
from golden.project_parts import Retrain
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as events
from services.chassis import telemetry
from services.chassis.errors import GoldenpathError, Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from golden.connection import Connection
    from golden.project import Project
    from goldenpath.registry.v1 import registry_service_pb2 as registry

REQUEST: Final = "goldenpath.training_request"
"""The run's tag that names the request which it answers."""

_LAST_LINES: Final = 12  # of a command that failed
_LOOK_AGAIN: Final = timedelta(seconds=5)  # where the platform doesn't answer, or nothing was ever deployed
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)  # after a training that failed


@dataclass(frozen=True)
class Trainer:
    """Trains one project's model whenever it is asked for.

    Args:
        project: The project; its golden.yaml says how.
        platform: The platform that asks.
        environment: Where the model is deployed.
        say: Told what goes on, a line each.
    """

    project: Project
    platform: Connection
    environment: str
    say: Callable[[str], None]

    def run(self) -> None:
        """Work for ever.

        Raises:
            Invalid: golden.yaml doesn't say how to train.
        """
        how = self._how()
        wait, answered = _FIRST_WAIT, ""
        while True:
            try:
                asked = self._asked(other_than=answered)
                self.answer(asked, how)
                wait, answered = _FIRST_WAIT, asked.id
            except (NotFound, Unavailable):
                time.sleep(_LOOK_AGAIN.total_seconds())
            except GoldenpathError as error:
                self.say(f"it didn't work, and is tried again in {wait}: {error}")
                time.sleep(wait.total_seconds())
                wait = min(2 * wait, _LONGEST_WAIT)

    def answer(self, asked: events.TrainingRequested, how: Retrain) -> registry.Version:
        """Train, unless that was done before, and register what came of it.

        Raises:
            Invalid: the command failed, took too long or made no run; or the registry refuses the version.
        """
        with telemetry.span("retrain", parent=asked.traceparent):
            telemetry.about(self.project.model)
            run = self._trained(asked.id) or self._train(asked, how)
            request = registration.request_of(self.project, run, training_request=asked.id)
            try:
                answered = self.platform.registry.RegisterVersion(request)
            except grpc.RpcError as failure:
                raise error_of(failure) from None
        made = answered.version.registered
        self.say(f"registered {made.model}@{made.version}; governance judges it")
        return answered.version

    def _how(self) -> Retrain:
        if self.project.retrain is None:
            example = 'retrain: { command: "papermill train.ipynb /dev/null" }'
            raise Invalid("it doesn't say how to train again", where=str(self.project.file), fix=f"add  {example}")
        if not self.platform.endpoints.tracking:
            raise Unavailable("nobody said where MLflow is", fix="set MLFLOW_TRACKING_URI")
        return self.project.retrain

    def _asked(self, *, other_than: str) -> events.TrainingRequested:
        """Wait until a new version is asked for by another request."""
        watched = deployer.WatchDeploymentRequest(model=self.project.model, environment=self.environment)
        try:
            for state in self.platform.deployer.WatchDeployment(watched):
                if state.deployment.training.id not in {"", other_than}:
                    return state.deployment.training
        except grpc.RpcError as failure:
            raise error_of(failure) from None
        raise Unavailable("the deployer ended the watch")

    def _trained(self, request: str) -> str:
        """The finished run of a request; empty where there is none yet."""
        with suppress(NotFound):
            return self._run_where(f"tags.`{REQUEST}` = '{request}'")
        return ""

    def _train(self, asked: events.TrainingRequested, how: Retrain) -> str:
        self.say(f"asked for a new version: {asked.reason}")
        began = int(time.time() * 1000)
        _execute(how, self.project.file.parent, self._environment(asked))
        run = self._run_where(f"attributes.start_time >= {began}")
        from mlflow.tracking import MlflowClient

        MlflowClient(self.platform.endpoints.tracking).set_tag(run, REQUEST, asked.id)
        return run

    def _run_where(self, condition: str) -> str:
        return registration.newest_run(self.project, self.platform.endpoints.tracking, condition=condition)

    def _environment(self, asked: events.TrainingRequested) -> dict[str, str]:
        """Where MLflow is, what is asked, and this Python's own programs before all others."""
        at = self.platform.endpoints
        made = training.environment(at.tracking, at.artifacts)
        programs = f"{Path(sys.executable).parent}:{made.get('PATH', '')}"
        return made | {"PATH": programs, "GOLDEN_TRAINING_REQUEST": asked.id, "GOLDEN_TRAINING_REASON": asked.reason}


def _execute(how: Retrain, folder: Path, environment: dict[str, str]) -> None:
    where = "retrain.command"
    try:
        ended = subprocess.run(  # noqa: S603 - the command is the project's own
            shlex.split(how.command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=how.within.total_seconds(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"it took longer than {how.within}", where=where, fix="raise retrain.within") from None
    except (OSError, ValueError) as error:
        raise Invalid(f"it can't be run: {error}", where=where) from None
    if ended.returncode:
        lines = "\n".join(ended.stdout.splitlines()[-_LAST_LINES:])
        raise Invalid(f"it ended with {ended.returncode}:\n{lines}", where=where)
