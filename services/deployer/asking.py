"""Asks a version what it says of rows, whether it serves or not.

Its own server answers, which loaded bytes that it checked. Where none runs, one is lent: a row says until when, and the
servers' job keeps a process for it, so that one which nobody asks any more ends by itself, whoever dies meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from goldenpath.modelserver.v1 import events_pb2 as records_pb2
from services.chassis.database import Database
from services.chassis.errors import Invalid, Unavailable
from services.chassis.watching import Changes
from services.deployer.clients import Servers, values_of
from services.deployer.domain.deployment import Place
from services.deployer.domain.losses import Values
from services.deployer.domain.routing import Address
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.versions import Known

MOST_ROWS: Final = 5_000
_LENT_FOR: Final = timedelta(minutes=5)
_STARTS_WITHIN: Final = timedelta(seconds=20)  # within a call's own deadline; whoever asks again finds it started


class Asking:
    """Asks versions for scores.

    Args:
        database: Which servers there are.
        servers: Model servers.
        changes: Wakes whoever waits for one.
    """

    def __init__(self, database: Database[DeployerUnitOfWork], servers: Servers, changes: Changes) -> None:
        self._database = database
        self._servers = servers
        self._changes = changes

    async def scores(self, place: Place, version: int, columns: Mapping[str, Sequence[Any]]) -> tuple[Known, Values]:
        """The scores of rows, and what is known of the version.

        Raises:
            NotFound: the version was never admitted here.
            Conflict: it refuses the rows.
            Unavailable: no server of it answers in time.
        """
        async with self._database.begin() as uow:
            known = await uow.versions.get(place, version)
            await uow.endpoints.lend(place, version, uow.now + _LENT_FOR)
        try:
            async with asyncio.timeout(_STARTS_WITHIN.total_seconds()):
                address = await self._ready(place, version)
        except TimeoutError:
            raise Unavailable(
                f"no server of version {version} of {place} came up in time", fix=f"golden status {place.model}"
            ) from None
        return known, await self._servers.scores(place.model, address, columns)

    async def _ready(self, place: Place, version: int) -> Address:
        while True:
            changed = self._changes.begin()
            async with self._database.begin() as uow:
                ready = [one for one in await uow.endpoints.of(place, version) if one.ready and not one.leaving]
            if ready:
                return ready[0].address
            await changed.wait()


def columns_of(inputs: Iterable[records_pb2.Column]) -> dict[str, list[Any]]:
    """Rows by column.

    Raises:
        Invalid: they aren't all as long, there are none, or too many; or a code names no text.
    """
    found = {column.name: values_of(column) for column in inputs}
    lengths = {len(values) for values in found.values()}
    if len(lengths) != 1 or not 0 < max(lengths) <= MOST_ROWS:
        raise Invalid(f"columns of the same 1 to {MOST_ROWS:,} rows, not of {sorted(lengths)}", where="inputs")
    return found
