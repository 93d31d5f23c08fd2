"""`golden rebuild SERVICE`: a read model that was lost or damaged is made again from the events.

The service does it by itself, and goes on when it is restarted, or when this command is stopped.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from golden.operations import ask
from golden.output import Json, console, errors, escape, print_json
from golden.session import connect
from services.chassis.errors import Invalid

if TYPE_CHECKING:
    from golden.connection import Connection

_POLL_S: Final = 0.2
_BEGINS_WITHIN_S: Final = 40.0  # it waits for whatever is being handled, each of three locks 10 s at the most
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="registry, governance or monitor.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, in your words; it stands in the record.")]


def rebuild(service: Service, *, reason: Reason, json: Json = False) -> None:
    """Make a service's read model again from the events: what it only keeps of what others told."""
    from golden.connection import SERVICES

    if service not in SERVICES:
        raise Invalid(f"there is no service {service!r}", where="SERVICE", fix=f"one of {', '.join(SERVICES)}")
    platform = connect()
    found = ask(platform, service, "POST", "/v1/rebuild", {"reason": reason}, timeout_s=_BEGINS_WITHIN_S)
    found = _followed(platform, service, found, quiet=json)
    if json:
        print_json({"service": service, **found})
    elif not found["failed"]:
        console.print(f"[green]✓[/green] the {service}'s read model is whole again: {found['of']:,} events were read")
    if found["failed"]:
        if not json:
            errors.print(f"[red]✗[/red] {found['failed']:,} of {found['of']:,} events couldn't be applied, the last at")
            errors.print(f"  {escape(found['problem'])}\n  [dim]to do:[/dim] mend what is wrong, and rebuild again")
        raise typer.Exit(1)


def _followed(platform: Connection, service: str, found: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Wait for the end, with a bar where a person waits."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        bar = progress.add_task(f"rebuilding {service}", total=found["of"])
        while found["under_way"]:
            progress.update(bar, completed=found["done"], total=found["of"])
            time.sleep(_POLL_S)
            found = ask(platform, service, "GET", "/v1/rebuild")
    return found
