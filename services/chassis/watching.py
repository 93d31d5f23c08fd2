"""Tells a service's watchers that something changed: one connection to the database for all of their streams."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from services.chassis.database import Database
from services.chassis.notifications import Notifications

_POLL: Final = timedelta(seconds=2)  # should a notification get lost


class Changes:
    """Wakes everybody who waits, at every change.

    Args:
        database: The service's own.
        channel: The channel that PostgreSQL notifies when something that is watched has changed.
    """

    def __init__(self, database: Database[Any], channel: str) -> None:
        self._notifications = Notifications(database, channel)
        self._next: asyncio.Event = asyncio.Event()

    async def run(self) -> None:
        """Listen for ever."""
        try:
            while True:
                await self._notifications.wait(at_most=_POLL)
                woken, self._next = self._next, asyncio.Event()
                woken.set()
        finally:
            await self._notifications.close()

    def begin(self) -> asyncio.Event:
        """What is set at the next change: taken before looking, so that none is missed between looking and waiting."""
        return self._next
