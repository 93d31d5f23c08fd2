"""Runs a service: starts its parts in order, and stops them in the opposite order on SIGTERM or SIGINT.

A part is something with `start` and `stop`; `Background` makes one of a coroutine that runs for ever. When a
background part dies, the whole process ends with status 1: half a service must not look alive.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from services.chassis.errors import GoldenpathError

_log = structlog.get_logger()
_DONE: Final = 0
_FAILED: Final = 1


class Part(Protocol):
    """A part of a service."""

    async def start(self) -> None:
        """Begin; when it returns, the part works."""
        ...

    async def stop(self) -> None:
        """End, after what is in flight."""
        ...


class Background:
    """A part that runs for ever beside the others.

    Args:
        name: Its name, for the log.
        run: What runs; it is cancelled at the end.
    """

    def __init__(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._run = run
        self.task: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Set it going."""
        self.task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Cancel it, and wait for its end."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


async def to_the_end(closing: Coroutine[Any, Any, None]) -> None:
    """Close something, all of it, even where one is cancelled meanwhile; the cancellation comes afterwards."""
    task, cancelled = asyncio.ensure_future(closing), False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()


class Closing:
    """A part that only needs closing, such as a connection that opens when it is first used.

    Args:
        close: What closes it.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        """Close it."""
        await self._close()


async def serve(parts: Sequence[Part]) -> int:
    """Run until a signal comes or a background part dies; the process's exit status."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    started: list[Part] = []
    telling = asyncio.ensure_future(told.wait())
    try:
        starting = asyncio.ensure_future(_start(parts, started))
        if not await _first(starting, telling):
            return _DONE
        _log.info("ready")
        return await _until(telling, [part for part in started if isinstance(part, Background)])
    except GoldenpathError as error:
        _log.error("can't start", reason=str(error))
        return _FAILED
    finally:
        telling.cancel()
        await _stop(started)


async def _start(parts: Sequence[Part], started: list[Part]) -> None:
    for part in parts:
        await part.start()
        started.append(part)


async def _first(starting: asyncio.Future[None], telling: asyncio.Future[Any]) -> bool:
    """True once everything has started; False where the signal came before."""
    await asyncio.wait({starting, telling}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return False
    starting.result()
    return True


async def _stop(started: Sequence[Part]) -> None:
    for part in reversed(started):
        try:
            await part.stop()
        except Exception as error:  # noqa: BLE001 - the other parts have something in flight too
            _log.error("a part didn't stop well", part=type(part).__name__, exc_info=error)


async def _until(telling: asyncio.Future[Any], background: Sequence[Background]) -> int:
    tasks = {part.task: part.name for part in background if part.task is not None}
    done, _ = await asyncio.wait({telling, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if telling in done:
        return _DONE
    for task in done:
        _log.error("a part died", part=tasks[task], exc_info=task.exception())
    return _FAILED


def main(service: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run a service's `app.run` as a process.

    On asyncio's own loop: uvloop gains nothing clear for grpc.aio, and starts child processes by a bare fork, in which
    gRPC's handlers broke the child (seen with the registry's reader of MLflow).
    """
    try:
        sys.exit(asyncio.run(service()))
    except GoldenpathError as error:
        sys.exit(f"can't start: {error}")
