"""A development token, for programs that ask this machine's platform."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from golden.output import Json, print_json
from golden.session import ACTING_AS, embedded, identity

_LONGEST_H = 24 * 7.0  # a week: a development token isn't to be forgotten in a file
ActingAs = Annotated[str, typer.Option("--as", metavar="NAME[:ROLE,…]", help="Whom it is for; without it: you.")]
Hours = Annotated[float, typer.Option("--hours", help="How long it is good for.", min=0.01, max=_LONGEST_H)]


def token(*, acting_as: ActingAs = "", hours: Hours = 1.0, json: Json = False) -> None:
    """Print a token of this machine's platform, for a program to send. Elsewhere, the identity provider gives them."""
    subject, roles = identity(acting_as or ACTING_AS.get())
    made = embedded().token(subject, roles, timedelta(hours=hours))
    if json:
        print_json({"token": made, "subject": subject, "roles": roles, "hours": hours})
    else:
        typer.echo(made)
