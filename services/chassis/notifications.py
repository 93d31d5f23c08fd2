"""Being woken by PostgreSQL, so that nothing that should be done at once waits for a poll."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from services.chassis.database import Database


class Notifications:
    """Wakes whoever waits when PostgreSQL notifies a channel; a lost connection wakes them too, and is mended.

    Args:
        database: Whose channels.
        channel: The channel's name.
    """

    def __init__(self, database: Database[Any], channel: str) -> None:
        self._database = database
        self._channel = channel
        self._woken = asyncio.Event()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def wait(self, *, at_most: timedelta) -> None:
        """Wait for a notification since the last wait, or until the time is over (a poll, should one get lost)."""
        if await self._listens_anew():
            return  # what was told before is to be looked for
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()

    def wake(self) -> None:
        """Wake whoever waits, as a notification would."""
        self._woken.set()

    async def close(self) -> None:
        """Stop listening."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()

    async def _listens_anew(self) -> bool:
        if self._connection is not None and not self._connection.is_closed():
            return False
        try:
            self._connection = await self._database.connect()
            self._connection.add_termination_listener(lambda *_: self._woken.set())
            await self._connection.add_listener(self._channel, lambda *_: self._woken.set())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._connection = None  # the poll goes on meanwhile
            return False
        return True
