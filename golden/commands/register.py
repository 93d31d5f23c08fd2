"""`golden register`: a trained model becomes a version, and governance says at once what it thinks of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from golden.commands.approvals import show_verdict
from golden.output import Json, as_dict, console, errors, escape, print_json
from golden.session import connect
from goldenpath.governance.v1 import events_pb2 as events
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from golden.connection import Connection
    from golden.project import Project

_VERDICT_WITHIN_S: Final = 10.0
_POLL_S: Final = 0.1
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder with golden.yaml, or the file.")]
Run = Annotated[str, typer.Option("--run", help="The MLflow run. Without it: the project's newest finished one.")]


def register(folder: Folder = Path(), *, run: Run = "", json: Json = False) -> None:
    """Register a trained model, and show what governance thinks of it."""
    from golden import project as projects
    from golden import registration
    from services.chassis import telemetry

    project = projects.load(folder)
    platform = connect()
    with errors.status("looking for the run …") as status:
        wanted = run or registration.newest_run(project, platform.endpoints.tracking)
        status.update("the registry copies and profiles it …")
        with telemetry.span("register", attributes={"goldenpath.model": project.model}):
            asked = registration.request_of(project, wanted)
            answer = _registered(asked, project, platform)
            telemetry.about(project.model, answer.version.registered.version)
        status.update("governance judges it …")
        verdict = _verdict(platform, answer)
    unheard = [] if answer.created else registration.unheard(asked, answer.version)
    if json:
        print_json(as_dict(answer) | {"verdict": as_dict(verdict) if verdict else None, "unheard": unheard})
    else:
        _show(answer, verdict, project, unheard)
    if verdict is not None and verdict.state == events.VERDICT_STATE_REJECTED:
        raise typer.Exit(1)


def _registered(
    asked: registry.RegisterVersionRequest, project: Project, platform: Connection
) -> registry.RegisterVersionResponse:
    from grpc import RpcError

    from golden.connection import error_of

    try:
        return platform.registry.RegisterVersion(asked)
    except RpcError as failure:
        error = error_of(failure)
        raise (project.placed(error) if isinstance(error, Invalid) else error) from None


def _verdict(platform: Connection, answer: registry.RegisterVersionResponse) -> events.Verdict | None:
    """Governance's word on the facts as they stand; None where this platform has no governance, or it takes long.

    A new version is judged when governance hears of it. One that was known has a verdict, which may be of what its
    datasheet said before.
    """
    from grpc import RpcError

    from golden.connection import error_of

    version = answer.version.registered
    asked = governance.GetVerdictRequest(model=version.model, version=version.version, look_again=not answer.created)
    until = time.monotonic() + _VERDICT_WITHIN_S
    while time.monotonic() < until:
        try:
            return platform.governance.GetVerdict(asked).verdict
        except Unavailable:
            return None
        except RpcError as failure:
            if not isinstance(error_of(failure), NotFound):
                return None
        time.sleep(_POLL_S)
    return None


def _show(
    answer: registry.RegisterVersionResponse, verdict: events.Verdict | None, project: Project, unheard: list[str]
) -> None:
    made = answer.version.registered
    name = f"{made.model}@{made.version}"
    news = "registered" if answer.created else "known already: the same bytes"
    console.print(f"[bold]{name}[/bold] {news}   [dim]{made.artifact_digest[:12]}[/dim]\n")
    if unheard:
        console.print(
            f"  [yellow]golden.yaml says otherwise of {', '.join(unheard)} than when it was registered, and it keeps "
            "that[/yellow]\n  [dim]train it again: another run makes another version[/dim]\n"
        )
    if verdict is None:
        console.print(f"Governance hasn't judged it yet: golden explain {name}")
        return
    show_verdict(verdict, "")
    missing = {key for row in verdict.evidence for key in row.missing}
    point_at(project, missing, console)
    again = "     Try again: golden register" if verdict.state == events.VERDICT_STATE_REJECTED else ""
    console.print(f"\n  See it all: golden explain {name} --why{again}")


def point_at(project: Project, missing: set[str], console: Console) -> None:
    """Name the datasheet's lines that wait for an answer."""
    from golden import datasheet

    sheet = project.dataset.datasheet
    lines = datasheet.read(project.at(sheet)).lines
    waiting = sorted(lines[key] for key in missing if key in lines)
    if waiting:
        console.print(f"\n  [dim]write them in {escape(str(sheet))}, at line {' and '.join(map(str, waiting))}[/dim]")
