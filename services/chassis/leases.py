"""Leases: one holder at a time for a piece of work, by rows in the service's own database.

A lease has a holder, a token that rises with every change of holder, and an expiry by the database's clock. Whoever
writes under a lease checks the token in the same transaction: a holder that was stopped and comes back late finds
its token gone, and its write undone. No lease stands on our own clock; but what happened when does, so a service says
on /readyz where its clock differs from the one that all replicas share.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from services.chassis.clock import Clock
from services.chassis.errors import GoldenpathError, Unavailable

if TYPE_CHECKING:
    from services.chassis.database import Connection, Database

_RENEWALS_PER_LEASE: Final = 3  # two may fail before the lease is lost
_MAY_DIFFER: Final = timedelta(seconds=5)  # of two clocks; a slow answer, of at most 2 s, makes two seem to
_log = structlog.get_logger()

# Its own lease is renewed under the same token; a free or expired one changes hands under a higher token. Somebody
# else's is left out before the insert: a conflict locks its row, even where the WHERE then changes nothing.
_ACQUIRE: Final = """
    INSERT INTO leases AS held (name, holder, token, expires_at)
    SELECT name, $2, 1, now() + $3::interval FROM unnest($1::text[]) AS name
    WHERE NOT EXISTS (SELECT 1 FROM leases AS theirs
                      WHERE theirs.name = name.name AND theirs.holder <> $2 AND theirs.expires_at > now())
    ORDER BY name
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        token = held.token + CASE WHEN held.holder = excluded.holder AND held.expires_at > now() THEN 0 ELSE 1 END,
        expires_at = excluded.expires_at
    WHERE held.holder = excluded.holder OR held.expires_at <= now()
    RETURNING name, token
"""
# In the order of names, as they are acquired, so that two replicas never wait for each other's rows.
_CHECK: Final = """
    SELECT held.name FROM leases AS held JOIN unnest($1::text[], $2::bigint[]) AS ours(name, token)
      ON held.name = ours.name AND held.token = ours.token
    WHERE held.expires_at > now() ORDER BY held.name FOR SHARE OF held
"""


def on_time(database: Database[Any], clock: Clock) -> Callable[[], Awaitable[None]]:
    """A readiness check of our own clock.

    Raises:
        Unavailable: it differs from the database's; or the database doesn't answer.
    """

    async def check() -> None:
        async with database.read() as connection:
            there: datetime = await connection.fetchval("SELECT clock_timestamp()")
        ahead = clock.now() - there
        if abs(ahead) > _MAY_DIFFER:
            way = "ahead of" if ahead > timedelta() else "behind"
            raise Unavailable(f"our clock is {abs(ahead).total_seconds():,.0f} s {way} the database's")

    return check


class LeaseLost(Unavailable):
    """Somebody else does this work now; what was about to be written is undone."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is, or was, ours.

    Args:
        name: What it is about.
        token: The fence: it rises with every change of holder, from 1.
    """

    name: str
    token: int

    async def check(self, connection: Connection) -> None:
        """Make sure, inside the present transaction, that the lease is still ours; it stays so until the commit.

        Raises:
            LeaseLost: it isn't.
        """
        await check_all(connection, [self])


async def check_all(connection: Connection, leases: Sequence[Lease]) -> None:
    """Make sure, inside the present transaction, that all of these leases are still ours until the commit.

    Raises:
        LeaseLost: one isn't.
    """
    rows = await connection.fetch(_CHECK, [lease.name for lease in leases], [lease.token for lease in leases])
    lost = {lease.name for lease in leases} - {row["name"] for row in rows}
    if lost:
        raise LeaseLost(f"the lease {', '.join(sorted(lost))} has gone to another replica")


class Leases:
    """A process's leases.

    Args:
        database: Where the rows are.
        duration: How long a lease outlives its holder.
    """

    def __init__(self, database: Database[Any], *, duration: timedelta) -> None:
        self._database = database
        self._duration = duration
        self.renew_every = duration / _RENEWALS_PER_LEASE
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"

    async def acquire_all(self, names: Sequence[str]) -> list[Lease]:
        """Take or renew those of these leases that are free, expired, or ours already."""
        async with self._database.read() as connection:
            rows = await connection.fetch(_ACQUIRE, list(names), self.holder, self._duration)
        return [Lease(row["name"], row["token"]) for row in rows]

    async def acquire(self, name: str) -> Lease | None:
        """Take or renew one lease; None while it is somebody else's."""
        held = await self.acquire_all([name])
        return held[0] if held else None

    async def release(self, lease: Lease) -> None:
        """Give a lease back, so that the next holder needn't wait for its expiry."""
        await self.release_all([lease])

    async def release_all(self, leases: Sequence[Lease]) -> None:
        """Give leases back; those that are somebody else's by now stay theirs."""
        async with self._database.read() as connection:
            await connection.execute(
                """UPDATE leases SET expires_at = now()
                   WHERE (name, token) IN (SELECT * FROM unnest($1::text[], $2::bigint[]))""",
                [lease.name for lease in leases],
                [lease.token for lease in leases],
            )

    async def run(self, name: str, work: Callable[[Lease], Awaitable[None]]) -> None:
        """Do some work for ever, whenever its lease is ours; it is cancelled once the lease is lost."""
        while True:
            with suppress(GoldenpathError):
                lease = await self.acquire(name)
                if lease is not None:
                    await self._work_under(lease, work)
            await asyncio.sleep(self.renew_every.total_seconds())

    async def _work_under(self, lease: Lease, work: Callable[[Lease], Awaitable[None]]) -> None:
        working = asyncio.ensure_future(work(lease))
        renewing = asyncio.ensure_future(self._renew(lease))
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, renewing):
                task.cancel()
            results = await asyncio.gather(working, renewing, return_exceptions=True)
            with suppress(GoldenpathError):
                await self.release(lease)
        for result in results:
            if isinstance(result, GoldenpathError):
                _log.warning("leased work ended", lease=lease.name, reason=str(result))
            elif isinstance(result, Exception):
                _log.error("leased work failed", lease=lease.name, exc_info=result)

    async def _renew(self, lease: Lease) -> None:
        """Keep the lease; ends with LeaseLost once it is somebody else's, or couldn't be renewed for its whole time."""
        loop = asyncio.get_running_loop()
        expires = loop.time() + self._duration.total_seconds()
        while True:
            await asyncio.sleep(self.renew_every.total_seconds())
            asked = loop.time()
            try:
                held = await self.acquire(lease.name)
            except GoldenpathError:
                if loop.time() >= expires:
                    raise LeaseLost(f"the lease {lease.name} couldn't be renewed in time") from None
                continue
            if held != lease:
                raise LeaseLost(f"the lease {lease.name} has gone to another replica")
            expires = asked + self._duration.total_seconds()
