"""Requests for a new version, of which a deployment has at most one that is open."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from services.deployer.domain.deployment import Place

if TYPE_CHECKING:
    from services.chassis.database import Connection


class Trainings:
    """The table of requests for training."""

    def __init__(self, connection: Connection, *, now: datetime) -> None:
        self._connection = connection
        self._now = now

    async def open(self, place: Place) -> bytes | None:
        """The request that nobody has answered yet, as a message's bytes; None where there is none."""
        found: bytes | None = await self._connection.fetchval(
            "SELECT body FROM trainings WHERE model = $1 AND environment = $2 AND answered_at IS NULL",
            place.model,
            place.environment,
        )
        return found

    async def add(self, request: UUID, place: Place, body: bytes) -> None:
        """Keep a request; the deployment is locked, and has no open one."""
        await self._connection.execute(
            "INSERT INTO trainings (id, model, environment, body, requested_at) VALUES ($1, $2, $3, $4, $5)",
            request,
            place.model,
            place.environment,
            body,
            self._now,
        )

    async def answer(self, request: UUID, model: str, version: int) -> None:
        """A version was registered that names the request; nothing where there is no such open one of the model."""
        await self._connection.execute(
            """UPDATE trainings SET answered_at = $4, version = $3
               WHERE id = $1 AND model = $2 AND answered_at IS NULL""",
            request,
            model,
            version,
            self._now,
        )

    async def answer_by_promotion(self, place: Place, version: int) -> None:
        """A version took over: whatever was asked for before is answered."""
        await self._connection.execute(
            """UPDATE trainings SET answered_at = $4, version = $3
               WHERE model = $1 AND environment = $2 AND answered_at IS NULL""",
            place.model,
            place.environment,
            version,
            self._now,
        )
