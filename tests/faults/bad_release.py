"""A release whose every handler fails: python -m tests.faults.bad_release SERVICE.

Everything else of the service works, so that nothing but the dead-letter limit notices.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from services.chassis.errors import Invalid
from services.chassis.handling import Handling
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


if __name__ == "__main__":
    break_handlers()
    skewed.run(sys.argv[1])
