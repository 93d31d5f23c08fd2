"""A circuit breaker: whoever hasn't answered several times in a row isn't asked for a while.

Each question to a sibling that hangs would cost its whole deadline, and hold a transaction or a partition meanwhile.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from services.chassis.errors import Unavailable

_FAILURES: Final = 5  # in a row; a sibling that restarts costs a caller two or three
_PAUSE: Final = timedelta(seconds=2)  # as long as the channel itself waits at the most before it connects again


class Breaker:
    """Counts failures in a row.

    Args:
        name: Whose, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0
        self._open_until = 0.0
        self._why = ""

    def check(self) -> None:
        """Let a question through.

        Raises:
            Unavailable: the last ones weren't answered, and the pause isn't over.
        """
        if self._failures >= _FAILURES and asyncio.get_running_loop().time() < self._open_until:
            raise Unavailable(f"the {self._name} hasn't answered {self._failures} times in a row: {self._why}")

    def failed(self, error: Unavailable) -> None:
        """A question wasn't answered."""
        self._failures += 1
        self._open_until = asyncio.get_running_loop().time() + _PAUSE.total_seconds()
        self._why = error.what

    def answered(self) -> None:
        """A question was answered, whatever the answer."""
        self._failures = 0
