"""Serving: what serves, what comes, what was decided, and the hand on the lever."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from golden.output import Json, ago, console, escape, moment, print_json, table
from golden.references import model_of, reference
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as events

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Version = Annotated[str, typer.Argument(metavar="MODEL[@N]", help="A model, or one of its versions.")]
Environment = Annotated[str, typer.Option("--env", help="The environment.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, in your words; it stands in the record.")]
Epoch = Annotated[int, typer.Option("--epoch", min=0, help="The epoch that you saw: once it is over, nothing changes.")]


def deploy(version: Version, *, env: Environment = "production", json: Json = False) -> None:
    """Start a rollout of an approved version."""
    asked = reference(version)
    request = deployer.DeployRequest(model=asked.model, version=asked.version, environment=env)
    show(connect().deployer.Deploy(request).deployment, json=json)


def promote(model: Model, *, env: Environment = "production", epoch: Epoch = 0, json: Json = False) -> None:
    """Give the candidate all the traffic now; governance is asked all the same."""
    request = deployer.PromoteRequest(model=model_of(model), environment=env, epoch=epoch)
    show(connect().deployer.Promote(request).deployment, json=json)


def abort(
    model: Model, *, reason: Reason, env: Environment = "production", epoch: Epoch = 0, json: Json = False
) -> None:
    """Take the candidate's traffic away; the stable version stays."""
    request = deployer.AbortRequest(model=model_of(model), environment=env, reason=reason, epoch=epoch)
    show(connect().deployer.Abort(request).deployment, json=json)


def rollback(
    version: Version, *, reason: Reason, env: Environment = "production", epoch: Epoch = 0, json: Json = False
) -> None:
    """Go back to an earlier version: the one named, or the one that the rules choose."""
    asked = reference(version)
    request = deployer.RollBackRequest(
        model=asked.model, version=asked.version, environment=env, reason=reason, epoch=epoch
    )
    answer = connect().deployer.RollBack(request)
    if json:
        print_json(answer)
        return
    console.print(decision_line(answer.decision))
    show_deployment(answer.deployment)


def hold(
    model: Model, *, reason: Reason, env: Environment = "production", epoch: Epoch = 0, json: Json = False
) -> None:
    """Hold a deployment: it serves on, and nothing automatic happens."""
    request = deployer.HoldRequest(model=model_of(model), environment=env, reason=reason, epoch=epoch)
    show(connect().deployer.Hold(request).deployment, json=json)


def release(
    model: Model, *, reason: Reason = "", env: Environment = "production", epoch: Epoch = 0, json: Json = False
) -> None:
    """Lift a hold."""
    request = deployer.ReleaseRequest(model=model_of(model), environment=env, reason=reason, epoch=epoch)
    show(connect().deployer.Release(request).deployment, json=json)


def history(model: Model, *, env: Environment = "production", json: Json = False) -> None:
    """Tell what happened to a deployment, newest first."""
    asked = deployer.ListHistoryRequest(model=model_of(model), environment=env)
    answer = connect().deployer.ListHistory(asked)
    if json:
        print_json(answer)
        return
    if not answer.entries:
        console.print(f"Nothing has happened to {model} in {escape(env)} yet.")
        return
    rows = [(moment(e.at), e.type, e.position.epoch, e.sentence, e.trace_id[:8]) for e in answer.entries]
    table("when", "what", "epoch", "", "trace", rows=rows)


def decisions(model: Model, *, json: Json = False) -> None:
    """List what was decided about a model, newest first, with the numbers."""
    answer = connect().deployer.ListDecisions(deployer.ListDecisionsRequest(model=model_of(model)))
    if json:
        print_json(answer)
        return
    if not answer.decisions:
        console.print(f"Nothing has been decided about {model} yet.")
    for decision in answer.decisions:
        console.print(f"{moment(decision.decided_at)}  {decision_line(decision)}")


def decision_line(decision: events.Decision) -> str:
    """A decision with its numbers, in a line."""
    verb = events.Verb.Name(decision.verb).removeprefix("VERB_").lower().replace("_", " ")
    numbers = ""
    if decision.HasField("comparison"):
        compared = decision.comparison
        numbers = (
            f"   {escape(compared.measure.replace('_', ' '))} {compared.current_loss:.3f} → {compared.target_loss:.3f}"
            f" on {compared.rows:,} records"
        )
    return f"[bold]{verb}[/bold]: {escape(decision.reason)}{numbers}"


def show_deployment(found: deployer.Deployment) -> None:
    """Print where a deployment stands."""
    at, now = found.position, datetime.now(UTC)
    console.print(f"[bold]{at.model}/{at.environment}[/bold]   epoch {at.epoch}   {escape(found.url)}")
    if at.stable_version:
        share = 100 - at.candidate_weight - at.holdback_weight
        console.print(f"  stable     version {at.stable_version}   {share} %   for {ago(found.effective_at, now)}")
    elif not at.candidate_version:
        console.print(f"  [dim]nothing serves; deploy a version:[/dim] golden deploy {at.model}")
    if at.candidate_version:
        state = deployer.RolloutState.Name(found.rollout.state).removeprefix("ROLLOUT_STATE_").lower()
        said = f"   [dim]{escape(found.rollout.judgement)}[/dim]" if found.rollout.judgement else ""
        console.print(f"  candidate  version {at.candidate_version}   {at.candidate_weight} %   {state}{said}")
    if at.holdback_version:
        console.print(
            f"  holdback   version {at.holdback_version}   {at.holdback_weight} %   to compare with, and go back to"
        )
    elif found.warm_version:
        console.print(f"  warm       version {found.warm_version}   to go back to")
    if found.queued_version:
        console.print(f"  queued     version {found.queued_version}")
    if found.HasField("training"):
        asked = found.training
        console.print(
            f"  [yellow]retrain[/yellow]    asked for {ago(asked.requested_at, now)} ago: {escape(asked.reason)}"
        )
        console.print("             [dim]answer it: golden trainer FOLDER[/dim]")
    if found.held:
        console.print(f"  [yellow]held[/yellow]       {escape(found.held_reason)}")
        console.print(f"             [dim]lift it: golden release {at.model}[/dim]")


def show(found: deployer.Deployment, *, json: bool) -> None:
    """Print where a deployment stands, for a person or a program."""
    if json:
        print_json(found)
    else:
        show_deployment(found)
