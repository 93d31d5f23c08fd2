"""How far each promotion with a holdback has been guarded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from services.deployer.domain import traffic as readings
from services.deployer.domain.deployment import Place
from services.deployer.domain.guard import Watched

if TYPE_CHECKING:
    from services.chassis.database import Connection


class Guards:
    """The table of guards: one row per deployment, of its present promotion."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, place: Place, epoch: int) -> Watched | None:
        """How far a promotion has been guarded; None before it was."""
        row = await self._connection.fetchrow(
            "SELECT * FROM guards WHERE model = $1 AND environment = $2 AND epoch = $3",
            place.model,
            place.environment,
            epoch,
        )
        if row is None:
            return None
        stable, holdback = (readings.from_json(json.loads(row[name])) for name in ("stable", "holdback"))
        return Watched(row["epoch"], row["look"], stable, holdback)

    async def put(self, place: Place, watched: Watched) -> None:
        """The promotion was looked at."""
        await self._connection.execute(
            """INSERT INTO guards (model, environment, epoch, look, stable, holdback)
               VALUES ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb)
               ON CONFLICT (model, environment) DO UPDATE SET epoch = excluded.epoch, look = excluded.look,
                                                              stable = excluded.stable, holdback = excluded.holdback""",
            place.model,
            place.environment,
            watched.epoch,
            watched.look,
            json.dumps(readings.to_json(watched.stable)),
            json.dumps(readings.to_json(watched.holdback)),
        )
