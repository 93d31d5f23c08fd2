"""What a person sees, and what a program reads: every command has both.

Tables and colours go to standard output when a person looks, and obey NO_COLOR; `--json` prints one JSON document
(or one a line, for what never ends). Errors go to standard error, with what to do next.

What other people wrote (a reason, a finding, a name) goes through `escape`: a bracket in it is a bracket, no markup,
and what would move the cursor, colour the screen or turn a line around is shown as a sign. Tables do so themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich import markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.chassis.errors import GoldenpathError

__all__ = ["Json", "ago", "as_dict", "console", "errors", "escape", "moment", "print_json", "show_error", "table"]

_SIGNS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    **dict.fromkeys((*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}  # control characters of ASCII have signs in Unicode; those of Latin-1, and what turns a line around, have none
_ENDLESS: Final = 10_000  # columns: in a file or a pipe a line stays one line, however long
console = Console(highlight=False, width=None if sys.stdout.isatty() else _ENDLESS)
errors = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _ENDLESS)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _plain(text: str) -> str:
    """Text as a terminal may show it."""
    return text.translate(_SIGNS)


def escape(text: str) -> str:
    """Text as it is, in a line that may have markup."""
    return markup.escape(_plain(text))


def as_dict(message: Message) -> dict[str, Any]:
    """A message as plain data: proto field names, absent fields included, so that a program can rely on them."""
    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def print_json(document: Any) -> None:
    """Print one JSON document; a message is turned into plain data first."""
    plain = as_dict(document) if isinstance(document, Message) else document
    sys.stdout.write(json.dumps(plain, indent=None if not sys.stdout.isatty() else 2, default=str) + "\n")
    sys.stdout.flush()


def table(*columns: str, rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Print rows under headings, without lines around them; a cell that is no Text is shown as it is."""
    made = Table(box=None, title=title or None, title_justify="left", header_style="dim", pad_edge=False)
    for column in columns:
        made.add_column(_cell(column))
    for row in rows:
        made.add_row(*map(_cell, row))
    console.print(made)


def _cell(value: Any) -> Text:
    made = value.copy() if isinstance(value, Text) else Text(str(value))
    made.plain = _plain(made.plain)
    return made


def show_error(error: GoldenpathError) -> None:
    """Say what is wrong, where, and what to do."""
    place = f"{error.where}: " if error.where else ""
    errors.print(f"[red]✗[/red] {escape(place + error.what)}")
    if error.fix:
        errors.print(f"  [dim]to do:[/dim] {escape(error.fix)}")


def moment(stamp: Timestamp) -> str:
    """A moment as a person reads it, in local time; a hyphen where there is none."""
    if not stamp.seconds:
        return "-"
    return stamp.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(stamp: Timestamp, now: datetime) -> str:
    """How long ago a moment was, in its largest unit."""
    if not stamp.seconds:
        return "-"
    seconds = max((now - stamp.ToDatetime(UTC)).total_seconds(), 0.0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
