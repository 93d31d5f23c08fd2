"""Who runs the command, and against which platform.

An organisation's platform comes from environment variables; else it is the embedded one of this machine, which makes
development tokens by itself: for the person at the keyboard with every role, or for whoever `--as NAME:ROLE` names.
"""

from __future__ import annotations

import getpass
from contextvars import ContextVar
from datetime import timedelta
from functools import cache

from golden import connection
from golden.connection import Connection
from services.chassis import telemetry
from services.chassis.errors import Invalid, Unavailable
from services.chassis.identity import Role

ACTING_AS: ContextVar[str] = ContextVar("acting_as", default="")
"""NAME or NAME:ROLE,ROLE of the root option --as; empty: the person at the keyboard."""

_LIFETIME = timedelta(hours=1)


@cache
def connect() -> Connection:
    """The platform.

    Raises:
        Unavailable: none is running and none is named.
    """
    found = connection.from_environment() or _embedded()
    if found is None:
        raise Unavailable("no platform is running here", fix="golden up")
    telemetry.configure("golden", traces_folder=found.endpoints.traces)
    return found


def identity(text: str) -> tuple[str, list[str]]:
    """Read NAME or NAME:ROLE,ROLE.

    Raises:
        Invalid: a role that there isn't.
    """
    name, _, roles = text.partition(":")
    asked = [role for role in roles.split(",") if role] or [str(role) for role in Role if role is not Role.SERVICE]
    unknown = [role for role in asked if role not in set(Role)]
    if unknown:
        raise Invalid(f"there is no role {unknown[0]!r}", where="--as", fix=f"one of {', '.join(Role)}")
    return name or getpass.getuser(), asked


def _embedded() -> Connection | None:
    from golden.embedded import platform

    running = platform.attach_quietly()
    if running is None:
        return None
    subject, roles = identity(ACTING_AS.get())
    return Connection(running.endpoints(), lambda: running.token(subject, roles, _LIFETIME))
