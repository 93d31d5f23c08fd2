"""Rebuilding: a service's copies of others' facts, emptied and made again from the topics."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer

from golden.connection import SERVICES
from golden.output import Json, console, print_json
from golden.session import connect
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, Unavailable

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Whose copies, such as registry.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, in your words; it stands in the record.")]
_ERRORS: dict[int, type[GoldenpathError]] = {400: Invalid, 401: Denied, 403: Denied, 409: Conflict}


def rebuild(service: Service, *, reason: Reason, json: Json = False) -> None:
    """Empty what a service copies from others' events and make it again from the topics; nothing is told twice."""
    if service not in SERVICES:
        raise Invalid(f"{service!r} is no service", fix=f"one of {', '.join(SERVICES)}")
    begun = _order(service, reason)
    if json:
        print_json(begun)
    else:
        made_from = ", ".join(begun["topics"])
        console.print(f"The {service} makes {', '.join(begun['tables'])} again from {made_from}.")


def _order(service: str, reason: str) -> Any:
    platform = connect()
    headers = {"authorization": f"Bearer {platform.token()}"}
    try:
        url = platform.endpoints.http[service] + "/v1/rebuild"
        answer = httpx.post(url, json={"reason": reason}, headers=headers, timeout=30)
    except (KeyError, httpx.HTTPError) as error:
        raise Unavailable(f"the {service} doesn't answer: {error}", fix="golden status") from None
    if answer.is_error:
        problem = answer.json()
        kind = _ERRORS.get(answer.status_code, Unavailable)
        raise kind(problem["detail"], where=problem.get("where", ""), fix=problem.get("fix", ""))
    return answer.json()
