"""What becomes of an event whose handling failed: the error's type says it, and a limit guards the topic.

    Invalid, Denied      dead letter at once; on others' topics the publisher is told (event.rejected)
    NotFound, Conflict   parked, with its key behind it, and retried with back-off
    Unavailable          the partition pauses and starts again from this event, with back-off; polling goes on
    anything else        the same, a bounded number of times, then dead letter

The dead-letter limit: when too many of a topic's last events died, the consumer stops and says so on /readyz. A
release that can't read anything, or fails whatever it reads, must not empty a topic into the dead letters. Only what
says something about the release counts: an event that a handler had (a life), and one that died of us (a death). What
was skipped, had before or parked is neither; nor is what an operator replays; nor, since what anybody writes must not
stop the consumer, garbage of whoever never wrote anything else (publishers.py).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from enum import Enum
from typing import Final

from services.chassis import instruments
from services.chassis.errors import Conflict, Denied, Invalid, NotFound, Unavailable

UNKNOWN_TRIES: Final = 5  # of an error that nobody foresaw: about four seconds with the pauses between
_WINDOW: Final = 200  # events of a topic that the dead-letter limit looks back on
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
    """Looks back on what became of each topic's last events, and says when too many died; it stays exceeded then.

    Args:
        consumer: The consumer's name, as its gauge has it.
    """

    def __init__(self, consumer: str) -> None:
        self._stopped = instruments.STOPPED.labels(consumer)
        self._stopped.set(0)
        self._died: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=_WINDOW))
        self._exceeded = ""

    def remember(self, topic: str, *, died: bool, events: int = 1) -> None:
        """Count events of a topic that were handled, or that died."""
        last = self._died[topic]
        last.extend([died] * events)
        if not died or self._exceeded:  # what lives never makes the dead more, nor their share larger
            return
        dead = sum(last)
        if dead >= _FLOOR and dead >= _SHARE * len(last):
            self._stopped.set(1)
            self._exceeded = f"{dead} of the last {len(last)} events on {topic} became dead letters"

    def remember_each(self, topic: str, died: Sequence[bool]) -> None:
        """Count events of a topic in their order, each of which died or not."""
        if True not in died:
            self.remember(topic, died=False, events=len(died))
            return
        for one in died:
            self.remember(topic, died=one)

    def exceeded(self) -> str:
        """How far the limit was exceeded, in words; empty while it wasn't."""
        return self._exceeded
