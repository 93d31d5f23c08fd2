"""Training again: somebody asks for a new version, and a trainer makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golden.commands.deployments import Environment, Model, Reason
from golden.output import Json, console, escape, print_json
from golden.references import model_of
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder with golden.yaml, or the file.")]


def retrain(model: Model, *, reason: Reason, env: Environment = "production", json: Json = False) -> None:
    """Ask for a new version of a model; whoever trains it hears of it."""
    request = deployer.RequestTrainingRequest(model=model_of(model), environment=env, reason=reason)
    answer = connect().deployer.RequestTraining(request)
    if json:
        print_json(answer)
    elif answer.created:
        console.print(f"Asked for a new version of {model}. A trainer takes it up: golden trainer FOLDER")
    else:
        console.print(f"One is asked for already: {escape(answer.training.reason)}")


def trainer(folder: Folder = Path(), *, env: Environment = "production") -> None:
    """Wait for requests for a new version, and run the command that golden.yaml gives, until Ctrl-C."""
    from golden import project as projects
    from golden.retraining import Trainer

    project = projects.load(folder)
    made = Trainer(project, connect(), env, lambda line: console.print(escape(line), soft_wrap=True))
    console.print(f"Waiting for requests to train {project.model} again")
    made.run()
