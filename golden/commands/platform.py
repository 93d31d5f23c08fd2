"""The platform on this machine: set it up, start it, look at it, find out what is wrong, stop it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from golden.commands.deployments import show_deployment
from golden.output import Json, as_dict, console, escape, print_json, table
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from services.chassis.errors import Invalid

if TYPE_CHECKING:
    from golden.checkup import Finding
    from golden.connection import Connection

Only = Annotated[str, typer.Option("--only", help="Only these services, separated by commas, such as registry.")]
Features = Annotated[
    Path | None,
    typer.Option(
        "--features", metavar="FOLDER", help="A feature repository: its views are filled and served from now on."
    ),
]
Wipe = Annotated[bool, typer.Option("--wipe", help="Also forget everything: models, records, verdicts, traces.")]


def setup() -> None:
    """Fetch what can't come as a Python package: Kafka's jars. From then on everything works offline."""
    from golden.embedded import jars, java

    with console.status("Kafka's jars and a Java runtime …") as status:
        runtime = java.java()
        jars.class_path(say=status.update)
    console.print(f"[green]✓[/green] Kafka and Java are there   [dim]{runtime}[/dim]")


def up(*, only: Only = "", features: Features = None, json: Json = False) -> None:
    """Start the platform, or attach to the one that runs; dead parts start again."""
    from golden.connection import SERVICES
    from golden.embedded import platform

    wanted = frozenset(name for name in only.split(",") if name) or None
    unknown = (wanted or frozenset()) - set(SERVICES)
    if unknown:
        raise Invalid(f"there is no service {min(unknown)!r}", where="--only", fix=f"one of {', '.join(SERVICES)}")
    if features is not None:
        _check_features(features)
    with console.status("starting …") as status:
        running = platform.up(
            platform.default_home(),
            only=wanted,
            ports=platform.Ports.configured(),
            say=status.update,
            features=features.absolute() if features else None,
        )
    endpoints = running.endpoints()
    if json:
        print_json(
            {
                "grpc": endpoints.grpc,
                "http": endpoints.http,
                "gateway": endpoints.gateway,
                "kafka": endpoints.kafka.bootstrap,
            }
        )
        return
    rows = [(name, endpoints.http.get(name, "-"), address) for name, address in endpoints.grpc.items() if address]
    table("service", "http", "gRPC", rows=rows)
    console.print(f"\nPredictions  {endpoints.gateway}/v2/models/MODEL/infer\nKafka        {endpoints.kafka.bootstrap}")
    console.print("\n[dim]golden register   golden status   golden down[/dim]")


def _check_features(folder: Path) -> None:
    """A repository that can't be served is refused before anything is stopped for it."""
    with console.status("the feature repository …"):
        from services.features.writer import repo_of  # Feast costs seconds, so only where somebody names one

        repo_of(folder)


def down(*, wipe: Wipe = False) -> None:
    """Stop the platform. What it knows stays, unless --wipe."""
    from golden.embedded import platform

    with console.status("stopping …"):
        platform.down(platform.default_home(), wipe=wipe)
    console.print("Stopped, and everything forgotten." if wipe else "Stopped. golden up goes on where it was.")


def status(*, json: Json = False) -> None:
    """Show what runs and what serves."""
    platform = connect()
    health = _health(platform)
    deployments = _deployments(platform)
    if json:
        known = None if deployments is None else [as_dict(one) for one in deployments]
        print_json({"services": health, "deployments": known})
        return
    rows = [(name, Text("ready", "green") if word == "ok" else Text(word, "red")) for name, word in health.items()]
    table("service", "", rows=rows)
    console.print()
    for one in deployments or ():
        show_deployment(one)
    if deployments is None:
        console.print("What serves isn't known: the deployer doesn't say. golden doctor")
    elif not deployments:
        console.print("Nothing is deployed yet: golden register")


def doctor(*, json: Json = False) -> None:
    """Name what is wrong, in words, with what to do. Ends with status 1 where anything is."""
    from golden.checkup import examine

    findings = examine(connect())
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    if findings:
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    if not findings:
        console.print("[green]✓[/green] Nothing is wrong.")
    for finding in findings:
        console.print(f"[red]✗[/red] [bold]{escape(finding.where)}[/bold]  {escape(finding.what)}")
        console.print(f"  [dim]{escape(finding.fix)}[/dim]")


def _health(platform: Connection) -> dict[str, str]:
    from golden.checkup import readiness

    names = [name for name, url in platform.endpoints.http.items() if url]
    with ThreadPoolExecutor(max_workers=len(names) or 1) as pool:
        answers = pool.map(lambda name: readiness(platform.endpoints.http[name]), names)
        return {name: _word(answer) for name, answer in zip(names, answers, strict=True)}


def _word(answer: dict[str, str]) -> str:
    wrong = [f"{name}: {text}" for name, text in answer.items() if text != "ok"]
    return "; ".join(wrong) or "ok"


def _deployments(platform: Connection) -> list[deployer.Deployment] | None:
    """What serves; None where the deployer doesn't say: its siblings' health is worth showing then."""
    from grpc import RpcError

    if not platform.endpoints.grpc.get("deployer"):
        return []
    try:
        return list(platform.deployer.ListDeployments(deployer.ListDeploymentsRequest()).deployments)
    except RpcError:
        return None
