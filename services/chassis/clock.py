"""Time, injected: nothing in the suite reads the machine's clock but through here.

A deadline inside one process is measured on `monotonic`; a moment that is stored or sent is `now`, always UTC.
Leases use neither: they expire by the database's clock.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where a service gets the time from, and how it waits."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait for a duration; not at all when it is zero or negative."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since the machine started, or so."""
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(max(duration.total_seconds(), 0.0))


class ManualClock:
    """A clock that stands still until a test moves it; whoever sleeps on it wakes when it has moved far enough."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = timedelta()
        self._sleepers: list[tuple[timedelta, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The start, and what a test added."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds that a test added."""
        return self._elapsed.total_seconds()

    async def sleep(self, duration: timedelta) -> None:
        """Wait until a test has moved the time that far."""
        if duration <= timedelta():
            await asyncio.sleep(0)
            return
        wakes = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + duration, wakes))
        await wakes

    def advance(self, duration: timedelta) -> None:
        """Move time forward, and wake whoever's time has come."""
        self._elapsed += duration
        due = [wakes for at, wakes in self._sleepers if at <= self._elapsed]
        self._sleepers = [(at, wakes) for at, wakes in self._sleepers if at > self._elapsed]
        for wakes in due:
            if not wakes.done():
                wakes.set_result(None)
