"""What the pusher does with rows: kept, and pushed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from services.features.shapes import Row, Shape
from services.pusher.store import PusherUnitOfWork


class Online(Protocol):
    """The online store."""

    def write(self, view: str, rows: Sequence[Row]) -> None:
        """Push rows, where nothing newer is there."""
        ...


async def push_rows(shape: Shape, rows: Sequence[Row], online: Online, uow: PusherUnitOfWork) -> None:
    """Keep rows in the view's history, and push them online."""
    await uow.keep(shape, rows)
    await asyncio.to_thread(online.write, shape.view, rows)
