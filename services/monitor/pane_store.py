"""The table of panes: what each watch saw, by event time."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from services.chassis.database import Connection, Row
from services.monitor.domain.panes import MOST, Pane, added, thinned
from services.profile import ReferenceProfile, Window

_LARGEST: Final = 64 * 2**20  # bytes of a window: beyond any profile that a registry takes


class Panes:
    """What each watch saw. Whoever adds holds the deployment's lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, watch: int, more: Sequence[Pane]) -> None:
        """Add records to the panes of their time; where there are too many panes, older ones are joined."""
        profile = more[0].window.profile
        first, last = min(pane.began for pane in more), max(pane.until for pane in more)
        rows = await self._connection.fetch(
            "SELECT * FROM panes WHERE watch = $1 AND until > $2 AND began < $3", watch, first, last
        )
        await self._write(watch, added([_pane(row, profile) for row in rows], more))
        if await self._connection.fetchval("SELECT count(*) FROM panes WHERE watch = $1", watch) > MOST:
            panes = await self.all(watch, profile)
            await self._connection.execute("DELETE FROM panes WHERE watch = $1", watch)
            await self._write(watch, thinned(panes))

    async def all(self, watch: int, profile: ReferenceProfile) -> list[Pane]:
        """All panes of a watch, oldest first."""
        rows = await self._connection.fetch("SELECT * FROM panes WHERE watch = $1 ORDER BY began", watch)
        return [_pane(row, profile) for row in rows]

    async def _write(self, watch: int, panes: Sequence[Pane]) -> None:
        await self._connection.executemany(
            """INSERT INTO panes (watch, began, until, counts) VALUES ($1, $2, $3, $4)
               ON CONFLICT (watch, began) DO UPDATE SET counts = excluded.counts""",
            [(watch, pane.began, pane.until, zlib.compress(pane.window.to_bytes(), level=1)) for pane in panes],
        )


def _pane(row: Row, profile: ReferenceProfile) -> Pane:
    counts = zlib.decompressobj().decompress(row["counts"], _LARGEST)
    return Pane(row["began"], row["until"], Window.from_bytes(counts, profile))
