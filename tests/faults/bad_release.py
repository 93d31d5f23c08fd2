"""A release that is bad: python -m tests.faults.bad_release SERVICE handles|reads.

One `handles` nothing: every handler refuses whatever it is given. The other `reads` nothing: no body is of its schema
to it. Everything else of the service works, so that nothing but the dead-letter limit notices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from services.chassis import cloudevents
from services.chassis.errors import Invalid
from services.chassis.handling import Handling
from services.monitor import packed
from tests.faults import skewed

REASON: Final = "this release handles no event"


def break_handlers() -> None:
    """Let every handler refuse whatever it is given, from now on."""
    subscribe = Handling.on

    def on(self: Handling[Any], type_name: str, schema: type[Any], _: object, **more: Any) -> None:
        subscribe(self, type_name, schema, _refuse, **more)

    Handling.on = on  # type: ignore[method-assign, assignment] # that is what this module is for


async def _refuse(*_: object) -> None:
    raise Invalid(REASON)


def break_reading() -> None:
    """Let no body be readable, from now on."""

    def body(*_: object) -> Any:
        raise Invalid(REASON)

    cloudevents.body = body  # type: ignore[assignment] # that is what this module is for
    packed.whole = body  # type: ignore[assignment] # a batch of records has a reader of its own


_BREAK: Final[dict[str, Callable[[], None]]] = {"handles": break_handlers, "reads": break_reading}

if __name__ == "__main__":
    _BREAK[sys.argv[2]]()
    skewed.run(sys.argv[1])
