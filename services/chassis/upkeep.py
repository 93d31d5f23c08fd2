"""What goes on beside consuming: parked events are tried again, gauges tell what waits, and the inbox is kept small."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import structlog

from services.chassis import instruments
from services.chassis.database import Database
from services.chassis.errors import GoldenpathError
from services.chassis.handling import Handling
from services.chassis.parking import Parking

_RETRY_EVERY: Final = timedelta(milliseconds=200)  # while nothing is due
_COUNT_EVERY: Final = timedelta(seconds=5)  # the gauges of what waits; a scrape comes every 15 s
_PURGE_EVERY: Final = timedelta(hours=1)  # an hour's ids are one cheap statement
_log = structlog.get_logger()


async def retry_parked(handling: Handling[Any]) -> None:
    """Try what is due, for ever."""
    while True:
        try:
            tried = await handling.retry_one()
        except GoldenpathError:
            tried = False
        if not tried:
            await asyncio.sleep(_RETRY_EVERY.total_seconds())


async def count_waiting(consumer: str, database: Database[Any]) -> None:
    """Keep the gauges of what a consumer has put aside up to date, for ever."""
    while True:
        try:
            await tell_waiting(consumer, database)
        except GoldenpathError:
            _log.debug("the database doesn't answer; the gauges stand still", consumer=consumer)
        await asyncio.sleep(_COUNT_EVERY.total_seconds())


async def tell_waiting(consumer: str, database: Database[Any]) -> None:
    """Bring these gauges up to date."""
    async with database.read() as connection:
        parked, dead = await Parking(connection, consumer=consumer).count()
    instruments.PARKED.labels(consumer).set(parked)
    instruments.DEAD_LETTERS.labels(consumer).set(dead)


async def purge_inbox(handling: Handling[Any]) -> None:
    """Forget what no topic keeps any more, for ever."""
    while True:
        try:
            await handling.purge_inbox()
        except GoldenpathError as error:
            _log.warning("the inbox can't be purged now", consumer=handling.name, reason=str(error))
        await asyncio.sleep(_PURGE_EVERY.total_seconds())
