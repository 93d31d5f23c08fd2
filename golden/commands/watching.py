"""Watching: a deployment against its reference, live, and what the monitor found."""

from __future__ import annotations

from typing import Annotated

import typer

from golden.commands.deployments import Environment, Model, Version, show_deployment
from golden.output import Json, console, escape, moment, print_json, table
from golden.references import model_of, reference
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.monitor.v1 import events_pb2 as events
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor

_SHOWN = 8  # features in a report; the rest is in --json
Why = Annotated[bool, typer.Option("--why", help="Show bounds and evidence.")]


def report(version: Version, *, env: Environment = "production", why: Why = False, json: Json = False) -> None:
    """Say how a deployment stands against its reference now."""
    named = reference(version)
    asked = monitor.GetReportRequest(model=named.model, version=named.version, environment=env)
    answer = connect().monitor.GetReport(asked)
    if json:
        print_json(answer)
        return
    console.print(f"[bold]{answer.model}@{answer.version}[/bold]   {answer.role}   {escape(answer.sentence)}")
    console.print(f"[dim]{answer.rows_seen:,} records seen, {answer.rows_dropped:,} dropped by servers[/dim]\n")
    show_features(answer.features[:_SHOWN], why=why)


def show_features(features: list[events.FeatureEffect], *, why: bool) -> None:
    """Print features by their effect."""
    if why:
        rows = [
            (
                f.feature,
                f"{f.effect:.3f}",
                f"{f.lower:.3f} … {f.upper:.3f}",
                f"{f.tolerance:g}",
                f"{f.log_evidence:.1f}",
            )
            for f in features
        ]
        table("feature", "effect", "bounds", "tolerance", "log e-value", rows=rows)
    else:
        short = [(f.feature, f"{f.effect:.3f}", "beyond tolerance" if f.lower > f.tolerance else "") for f in features]
        table("feature", "effect", "", rows=short)


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
