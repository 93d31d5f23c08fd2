"""Events that nobody could handle: look at them, try them again, or give them up; both are written down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from golden.operations import ask
from golden.output import Json, console, print_json, table
from golden.session import connect
from services.chassis.errors import Invalid

app = typer.Typer(no_args_is_help=True, help="Events that nobody could handle.")

Letter = Annotated[str, typer.Argument(metavar="SERVICE/ID", help="Such as registry/12, as the list shows it.")]
Letters = Annotated[list[str], typer.Argument(metavar="SERVICE/ID …", help="Such as registry/12 registry/13.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, in your words; it stands in the record.")]


@app.command("list")
def list_letters(*, json: Json = False) -> None:
    """List the dead letters of every service, oldest first."""
    from golden.connection import OPERATED

    found = [
        letter | {"id": f"{service}/{letter['id']}", "service": service}
        for service in connect().endpoints.http or OPERATED
        for letter in _all(service)
    ]
    found.sort(key=lambda letter: str(letter.get("since", "")))
    if json:
        print_json(found)
    elif not found:
        console.print("No dead letters.")
    else:
        rows = [(one["id"], one["topic"], one["error"], one["what"]) for one in found]
        table("letter", "topic", "error", "what", rows=rows)


@app.command()
def parked(*, json: Json = False) -> None:
    """List why events are parked: they are tried again by themselves, or wait behind a dead letter of their key."""
    from golden.connection import OPERATED

    found = [
        reason | {"id": f"{service}/{reason['id']}"}
        for service in connect().endpoints.http or OPERATED
        for reason in _call(service, "GET", "/v1/parked")
    ]
    if json:
        print_json(found)
    elif not found:
        console.print("Nothing is parked.")
    else:
        rows = [(one["id"], str(one["events"]), one["error"], one["what"]) for one in found]
        table("oldest", "events", "error", "what", rows=rows)


@app.command()
def show(letter: Letter) -> None:
    """Show one dead letter, or parked event: its headers, its body, why, and where it stood."""
    service, number = _split(letter)
    print_json(_call(service, "GET", f"/v1/deadletters/{number}"))


@app.command()
def replay(letters: Letters, *, reason: Reason) -> None:
    """Handle dead letters again, each in its key's order."""
    for letter, (service, number) in [(one, _split(one)) for one in letters]:
        _call(service, "POST", f"/v1/deadletters/{number}/replay", {"reason": reason})
        console.print(f"{letter} is tried again.")


@app.command()
def drop(letters: Letters, *, reason: Reason) -> None:
    """Give dead letters up, so that their keys go on."""
    for letter, (service, number) in [(one, _split(one)) for one in letters]:
        _call(service, "POST", f"/v1/deadletters/{number}/drop", {"reason": reason})
        console.print(f"{letter} is given up; its topic keeps it.")


def _split(letter: str) -> tuple[str, int]:
    from golden.connection import OPERATED

    service, _, number = letter.partition("/")
    if service not in OPERATED or not number.isdigit():
        raise Invalid(f"{letter!r} names no dead letter", fix="write SERVICE/ID, such as registry/12")
    return service, int(number)


def _call(service: str, method: str, path: str, body: dict[str, str] | None = None) -> Any:
    return ask(connect(), service, method, path, body)


def _all(service: str) -> Iterator[dict[str, Any]]:
    after: int | None = 0
    while after is not None:
        page = _call(service, "GET", f"/v1/deadletters?after={after}")
        yield from page["letters"]
        after = page.get("next_after")
