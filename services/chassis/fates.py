"""What becomes of an event whose handling failed: the error's type says it, and a limit guards the topic.

    Invalid, Denied      dead letter at once; on others' topics the publisher is told (event.rejected)
    NotFound, Conflict   parked, with its key behind it, and retried with back-off
    Unavailable          the partition pauses and starts again from this event, with back-off; polling goes on
    anything else        the same, a bounded number of times, then dead letter

The dead-letter limit: when too many of the last events died, the consumer stops and says so on /readyz. A release
that can't read anything must not empty a topic into the dead letters. On others' topics an event counts only where
it could be read (a CloudEvent of a type that we handle, whose body is of its schema) and failed nevertheless: what
anybody writes there must not stop the consumer, so garbage is neither a death nor a life to the limit.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from services.chassis.errors import Conflict, Denied, Invalid, NotFound, Unavailable

UNKNOWN_TRIES: Final = 5  # of an error that nobody foresaw: about four seconds with the pauses between
_WINDOW: Final = 200  # events that the dead-letter limit looks back on
_SHARE: Final = 0.5
_FLOOR: Final = 20  # so many may die before the share counts: a bad publisher isn't a bad release


class Fate(Enum):
    """What becomes of an event whose handling failed."""

    DEAD = "dead letter"
    PARK = "parked"
    PAUSE = "partition paused"
    RETRY = "tried again, then dead letter"


FATES: Final[dict[type[Exception], Fate]] = {
    Invalid: Fate.DEAD,
    Denied: Fate.DEAD,
    NotFound: Fate.PARK,
    Conflict: Fate.PARK,
    Unavailable: Fate.PAUSE,
}


def fate_of(error: Exception) -> Fate:
    """An error's fate by its type; the unknown is tried again."""
    return next((FATES[kind] for kind in type(error).__mro__ if kind in FATES), Fate.RETRY)


class DeadLetterLimit:
    """Looks back on what became of the last events, and says when too many died."""

    def __init__(self) -> None:
        self._died: deque[bool] = deque(maxlen=_WINDOW)

    def remember(self, *, died: bool) -> None:
        """Count one event."""
        self._died.append(died)

    def exceeded(self) -> str:
        """How far the limit is exceeded, in words; empty while it isn't."""
        dead = sum(self._died)
        if dead < _FLOOR or dead < _SHARE * len(self._died):
            return ""
        return f"{dead} of its last {len(self._died)} events became dead letters"
