"""Whoever changes something wakes the jobs that make it so: polling would add its period to every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from services.chassis.database import Connection

CHANNEL: Final = "deployer"


async def wake(connection: Connection) -> None:
    """Wake the jobs and the watchers once the transaction commits."""
    await connection.execute(f"SELECT pg_notify('{CHANNEL}', '')")
