"""Server processes. The row comes before the process, so that one whose start was interrupted is found again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from services.deployer.domain.deployment import Place, Role
from services.deployer.domain.routing import Address
from services.deployer.runtimes import Endpoint, Process

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row


@dataclass(frozen=True, slots=True)
class Deaths:
    """Servers of a version that died in a row, since one of them got ready.

    Args:
        times: How many.
        last_words: What the last one said last; empty where it said nothing.
    """

    times: int
    last_words: str


NO_DEATHS = Deaths(0, "")


class Endpoints:
    """The tables of server processes, and of those that died."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, endpoint: Endpoint) -> None:
        """A process is about to be started."""
        await self._connection.execute(
            """INSERT INTO endpoints (id, model, environment, version, digest, http_address, grpc_address)
               VALUES ($1, $2, $3, $4, $5, $6, $7)""",
            endpoint.id,
            endpoint.place.model,
            endpoint.place.environment,
            endpoint.version,
            endpoint.digest,
            endpoint.address.http,
            endpoint.address.grpc,
        )

    async def started(self, endpoint: UUID, process: Process) -> None:
        """The process runs."""
        await self._connection.execute(
            "UPDATE endpoints SET pid = $2, started_at = $3 WHERE id = $1", endpoint, process.pid, process.started_at
        )

    async def answers(self, endpoint: Endpoint) -> None:
        """The process is warm, and takes requests: its version's servers don't die in a row any more."""
        await self._connection.execute("UPDATE endpoints SET ready = true WHERE id = $1 AND NOT leaving", endpoint.id)
        await self._connection.execute(
            "DELETE FROM deaths WHERE model = $1 AND environment = $2 AND version = $3",
            endpoint.place.model,
            endpoint.place.environment,
            endpoint.version,
        )

    async def leave(self, endpoint: UUID) -> None:
        """The process is to end: nothing new is sent to it, whatever becomes of its version."""
        await self._connection.execute("UPDATE endpoints SET ready = false, leaving = true WHERE id = $1", endpoint)

    async def remove(self, endpoint: UUID) -> None:
        """The process is gone."""
        await self._connection.execute("DELETE FROM endpoints WHERE id = $1", endpoint)

    async def died(self, endpoint: Endpoint, last_words: str) -> int:
        """The process is gone, and nobody asked it to end; how many of its version's died in a row with it."""
        await self.remove(endpoint.id)
        times: int = await self._connection.fetchval(
            """INSERT INTO deaths AS had VALUES ($1, $2, $3, 1, $4)
               ON CONFLICT (model, environment, version)
               DO UPDATE SET times = had.times + 1, last_words = excluded.last_words RETURNING times""",
            endpoint.place.model,
            endpoint.place.environment,
            endpoint.version,
            last_words,
        )
        return times

    async def deaths(self, place: Place) -> Mapping[int, Deaths]:
        """By version of a deployment, the servers that died in a row."""
        rows = await self._connection.fetch(
            "SELECT version, times, last_words FROM deaths WHERE model = $1 AND environment = $2",
            place.model,
            place.environment,
        )
        return {row["version"]: Deaths(row["times"], row["last_words"]) for row in rows}

    async def lend(self, place: Place, version: int, until: datetime) -> None:
        """Keep a process of a version for somebody's questions, whatever its role, until then, or a minute less.

        Many questions come at once: each needn't write the row, and wake the jobs.
        """
        await self._connection.execute(
            """INSERT INTO loans (model, environment, version, until) VALUES ($1, $2, $3, $4)
               ON CONFLICT (model, environment, version) DO UPDATE SET until = excluded.until
               WHERE loans.until < excluded.until - interval '1 minute'""",
            place.model,
            place.environment,
            version,
            until,
        )

    async def lent(self, now: datetime) -> list[tuple[Place, Role]]:
        """The versions of which a process is kept for questions."""
        rows = await self._connection.fetch(
            """SELECT model, environment, version, digest FROM loans JOIN versions USING (model, environment, version)
               WHERE until > $1""",
            now,
        )
        return [(Place(row["model"], row["environment"]), Role(row["version"], row["digest"])) for row in rows]

    async def all(self) -> list[Endpoint]:
        """Every process, oldest first."""
        return [_endpoint(row) for row in await self._connection.fetch("SELECT * FROM endpoints ORDER BY made_at, id")]

    async def of(self, place: Place, version: int | None = None) -> list[Endpoint]:
        """A deployment's processes, or those of one of its versions."""
        rows = await self._connection.fetch(
            """SELECT * FROM endpoints WHERE model = $1 AND environment = $2 AND ($3::integer IS NULL OR version = $3)
               ORDER BY made_at, id""",
            place.model,
            place.environment,
            version,
        )
        return [_endpoint(row) for row in rows]


def _endpoint(row: Row) -> Endpoint:
    process = Process(row["pid"], row["started_at"]) if row["pid"] is not None else None
    return Endpoint(
        row["id"],
        Place(row["model"], row["environment"]),
        row["version"],
        row["digest"],
        Address(row["http_address"], row["grpc_address"]),
        process=process,
        ready=row["ready"],
        leaving=row["leaving"],
    )
