"""Watching: a deployment live, and what the monitor found."""

from __future__ import annotations

from golden.commands.deployments import Environment, Model, show_deployment
from golden.output import Json, console, escape, moment, print_json
from golden.references import model_of
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor


def signals(model: Model, *, json: Json = False) -> None:
    """List what the monitor found about a model, newest first."""
    answer = connect().monitor.ListSignals(monitor.ListSignalsRequest(model=model_of(model)))
    if json:
        print_json(answer)
        return
    if not answer.records:
        console.print(f"The monitor has found nothing about {model}.")
    for record in answer.records:
        over = f"   cleared {moment(record.cleared_at)}" if record.HasField("cleared_at") else ""
        said = escape(record.signal.sentence)
        console.print(f"{moment(record.signal.raised_at)}  {record.level:<9} {said}{over}")


def watch(model: Model, *, env: Environment = "production", json: Json = False) -> None:
    """Follow a deployment as it changes, until Ctrl-C."""
    asked = deployer.WatchDeploymentRequest(model=model_of(model), environment=env)
    for answer in connect().deployer.WatchDeployment(asked):
        if json:
            print_json(answer.deployment)
        else:
            show_deployment(answer.deployment)
            console.print()
