"""How people and systems around a platform ask: again and again, until they have an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from aiokafka.errors import KafkaError

from services.chassis.errors import GoldenpathError, Unavailable

T = TypeVar("T")
_PATIENCE: Final = timedelta(minutes=5)
_AGAIN: Final = timedelta(milliseconds=300)


async def persist(attempt: Callable[[], Awaitable[T]]) -> T | None:
    """Try until there is an answer; None where it is no."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
    while True:
        try:
            return await attempt()
        except (Unavailable, OSError, KafkaError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"nobody answered for {_PATIENCE}: {error}") from error
            await asyncio.sleep(_AGAIN.total_seconds())
        except GoldenpathError:
            return None
