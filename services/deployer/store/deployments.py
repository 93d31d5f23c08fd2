"""Deployments: one row each, locked by whoever changes anything about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from services.chassis.errors import NotFound
from services.deployer.domain.deployment import Deployment, Hold, Place, Role

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row

_LOCK: Final = "SELECT * FROM deployments WHERE model = $1 AND environment = $2 FOR UPDATE"


class Deployments:
    """The table of deployments."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self, place: Place) -> Deployment:
        """A deployment, locked until the commit; a new one where there is none yet."""
        row = await self._connection.fetchrow(_LOCK, place.model, place.environment)
        if row is None:
            await self._connection.execute(
                "INSERT INTO deployments (model, environment, state) VALUES ($1, $2, '{}') ON CONFLICT DO NOTHING",
                place.model,
                place.environment,
            )
            row = await self._connection.fetchrow(_LOCK, place.model, place.environment)
        return _deployment(row) if row else Deployment(place)

    async def get(self, place: Place) -> Deployment:
        """A deployment.

        Raises:
            NotFound: there is none.
        """
        row = await self._connection.fetchrow(
            "SELECT * FROM deployments WHERE model = $1 AND environment = $2", place.model, place.environment
        )
        if row is None:
            raise NotFound(f"nothing was ever deployed at {place}", fix=f"golden deploy {place.model}")
        return _deployment(row)

    async def all(self) -> list[Deployment]:
        """Every deployment, by place."""
        rows = await self._connection.fetch("SELECT * FROM deployments ORDER BY model, environment")
        return [_deployment(row) for row in rows]

    async def page(self, *, after: Place | None, limit: int) -> list[Deployment]:
        """Deployments that follow a place, by place."""
        rows = await self._connection.fetch(
            """SELECT * FROM deployments WHERE (model, environment) > ($1, $2)
               ORDER BY model, environment LIMIT $3""",
            after.model if after else "",
            after.environment if after else "",
            limit,
        )
        return [_deployment(row) for row in rows]

    async def of_model(self, model: str) -> list[Place]:
        """Where a model is deployed."""
        rows = await self._connection.fetch("SELECT model, environment FROM deployments WHERE model = $1", model)
        return [Place(row["model"], row["environment"]) for row in rows]

    async def save(self, deployment: Deployment) -> None:
        """Write a deployment that is locked."""
        body = asdict(deployment)
        del body["place"]
        await self._connection.execute(
            "UPDATE deployments SET state = $3::text::jsonb WHERE model = $1 AND environment = $2",
            deployment.place.model,
            deployment.place.environment,
            json.dumps(body),
        )

    async def effective_at(self, place: Place) -> datetime | None:
        """When the proxy last showed what was decided."""
        found: datetime | None = await self._connection.fetchval(
            "SELECT effective_at FROM deployments WHERE model = $1 AND environment = $2", place.model, place.environment
        )
        return found

    async def shown(self, place: Place, at: datetime) -> None:
        """The proxy shows what was decided."""
        await self._connection.execute(
            "UPDATE deployments SET effective_at = $3 WHERE model = $1 AND environment = $2",
            place.model,
            place.environment,
            at,
        )


def _deployment(row: Row) -> Deployment:
    body: dict[str, Any] = json.loads(row["state"])
    roles = {name: Role(**body[name]) if body.get(name) else None for name in ("stable", "candidate", "warm")}
    hold = Hold(**body["hold"]) if body.get("hold") else None
    return Deployment(
        Place(row["model"], row["environment"]),
        epoch=body.get("epoch", 0),
        weight=body.get("weight", 0),
        mirrored=body.get("mirrored", False),
        holdback=body.get("holdback", 0),
        went_back=body.get("went_back", False),
        acts=body.get("acts", False),
        hold=hold,
        **roles,
    )
