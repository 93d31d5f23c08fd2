"""Who runs the command, and against which platform.

An organisation's platform comes from environment variables; else it is the embedded one of this machine, which makes
development tokens by itself: for the person at the keyboard with every role, or for whoever `--as NAME:ROLE` names.
"""

from __future__ import annotations

import getpass
from contextvars import ContextVar
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from services.chassis.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from golden.connection import Connection
    from golden.embedded.platform import Platform

ACTING_AS: ContextVar[str] = ContextVar("acting_as", default="")
"""NAME or NAME:ROLE,ROLE of the root option --as; empty: the person at the keyboard."""

_LIFETIME = timedelta(hours=1)


@cache
def connect() -> Connection:
    """The platform.

    Raises:
        Unavailable: none is running and none is named.
        Invalid: somebody else is to act on a platform that makes no tokens here.
    """
    from services.chassis import telemetry

    found = _named() or _embedded()
    telemetry.configure("golden", traces_folder=found.endpoints.traces)
    return found


def embedded() -> Platform:
    """This machine's own platform.

    Raises:
        Unavailable: it isn't running.
    """
    from golden.embedded import platform

    running = platform.attach_quietly()
    if running is None:
        raise Unavailable("no platform is running here", fix="golden up")
    return running


def identity(text: str) -> tuple[str, list[str]]:
    """Read NAME or NAME:ROLE,ROLE.

    Raises:
        Invalid: a role that there isn't.
    """
    from services.chassis.identity import Role

    name, _, roles = text.partition(":")
    asked = [role for role in roles.split(",") if role] or [str(role) for role in Role if role is not Role.SERVICE]
    unknown = [role for role in asked if role not in set(Role)]
    if unknown:
        raise Invalid(f"there is no role {unknown[0]!r}", where="--as", fix=f"one of {', '.join(Role)}")
    return name or getpass.getuser(), asked


def _named() -> Connection | None:
    from golden import connection

    found = connection.from_environment()
    if found is not None and ACTING_AS.get():
        raise Invalid(
            "the platform that GOLDEN_… variables name makes no tokens here",
            where="--as",
            fix="set GOLDEN_TOKEN to a token of whoever acts",
        )
    return found


def _embedded() -> Connection:
    from golden.connection import Connection

    subject, roles = identity(ACTING_AS.get())
    running = embedded()
    return Connection(running.endpoints(), lambda: running.token(subject, roles, _LIFETIME))
