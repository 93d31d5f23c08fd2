"""Five leased jobs that make what was decided so. Each looks at what is, and may be killed anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

import structlog

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import GoldenpathError
from services.chassis.leases import Lease, LeaseLost
from services.chassis.notifications import Notifications
from services.deployer.store import CHANNEL

_log = structlog.get_logger()


def whenever_woken(
    database: Database[Any], name: str, work: Callable[[Lease], Awaitable[bool]], *, idle: timedelta, busy: timedelta
) -> Callable[[Lease], Awaitable[None]]:
    """Work under a lease, again whenever something changed.

    Args:
        database: Whose changes wake it.
        name: The job's name, for the log.
        work: One round; it gives True where something isn't as it should be yet.
        idle: The longest that it sleeps when all is well: a poll, should a notification get lost.
        busy: The longest that it sleeps otherwise.
    """

    async def run(lease: Lease) -> None:
        notifications = Notifications(database, CHANNEL)
        trouble = ""
        try:
            while True:
                unfinished, trouble = await _round(name, work, lease, trouble)
                await notifications.wait(at_most=busy if unfinished else idle)
        finally:
            await notifications.close()

    return run


def now_and_then(
    name: str, work: Callable[[Lease], Awaitable[bool]], *, every: timedelta, clock: Clock
) -> Callable[[Lease], Awaitable[None]]:
    """Work under a lease at a steady pace, whatever changes: what counts, and what no change makes urgent.

    Args:
        name: The job's name, for the log.
        work: One round.
        every: How long it sleeps after each.
        clock: Paces it.
    """

    async def run(lease: Lease) -> None:
        trouble = ""
        while True:
            _, trouble = await _round(name, work, lease, trouble)
            await clock.sleep(every)

    return run


async def side_by_side(works: Iterable[Awaitable[None]]) -> None:
    """Do all of these at once, each to its end, so that one that is slow or fails holds up no other.

    Raises:
        Exception: the first of what they raised.
    """
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _round(name: str, work: Callable[[Lease], Awaitable[bool]], lease: Lease, known: str) -> tuple[bool, str]:
    """One round: whether something is unfinished, and what stood in its way; known trouble isn't logged again."""
    try:
        return await work(lease), ""
    except LeaseLost:
        raise
    except GoldenpathError as error:
        if str(error) != known:
            _log.warning("a round is tried again", job=name, reason=str(error))
        return True, str(error)
    except Exception:  # noqa: BLE001 - a job must outlive what nobody foresaw; it is logged, and tried again
        _log.exception("a round failed", job=name)
        return True, ""
