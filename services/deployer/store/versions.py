"""Versions as this installation knows them, and their stays as a stable: all that going back needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from services.chassis.errors import NotFound
from services.deployer.domain import policy as policies
from services.deployer.domain.comparison import Reference
from services.deployer.domain.deployment import Place, Role
from services.deployer.domain.going_back import Served
from services.deployer.domain.policy import Policy

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row


@dataclass(frozen=True, slots=True)
class Known:
    """A version as it was admitted.

    Args:
        place: Where.
        version: Its number.
        digest: Its bytes.
        environment_digest: Its pinned requirements' digest.
        input_example: Its registered input example as an inference request in JSON; empty where it has none.
        policy: The model's policy.
        reference: How its scores were distributed; None where its profile doesn't say.
        verdict_id: The verdict that admitted it.
        features: Its feature settings as JSON, as a model server is told them; empty where it has none.
    """

    place: Place
    version: int
    digest: str
    environment_digest: str
    input_example: str
    policy: Policy
    reference: Reference | None
    verdict_id: str
    features: str = ""


class Versions:
    """The table of versions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, known: Known) -> None:
        """Keep what was just asked; an earlier revocation is over, since governance admits it now."""
        await self._connection.execute(
            """INSERT INTO versions (model, environment, version, digest, environment_digest, input_example, policy,
                                     reference, verdict_id, features)
               VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8::text::jsonb, $9, $10)
               ON CONFLICT (model, environment, version) DO UPDATE SET
                   policy = excluded.policy, reference = excluded.reference, verdict_id = excluded.verdict_id,
                   revoked = false, unusable = false""",
            known.place.model,
            known.place.environment,
            known.version,
            known.digest,
            known.environment_digest,
            known.input_example,
            json.dumps(policies.to_json(known.policy)),
            _reference_body(known.reference),
            known.verdict_id,
            known.features,
        )

    async def get(self, place: Place, version: int) -> Known:
        """One version.

        Raises:
            NotFound: it was never admitted here.
        """
        row = await self._connection.fetchrow(
            "SELECT * FROM versions WHERE model = $1 AND environment = $2 AND version = $3",
            place.model,
            place.environment,
            version,
        )
        if row is None:
            raise NotFound(f"version {version} was never deployed at {place}")
        return _known(row)

    async def revoke(self, place: Place, version: int) -> None:
        """Its approval was taken back: it is nothing to go back to."""
        await self._mark(place, version, "revoked")

    async def give_up(self, place: Place, version: int) -> None:
        """Its bytes don't verify any more, or its server doesn't start: it is nothing to go back to."""
        await self._mark(place, version, "unusable")

    async def _mark(self, place: Place, version: int, column: str) -> None:
        await self._connection.execute(
            f"UPDATE versions SET {column} = true WHERE model = $1 AND environment = $2 AND version = $3",  # noqa: S608 - a column of ours
            place.model,
            place.environment,
            version,
        )


class Stays:
    """The table of stays as a stable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def begin(self, place: Place, role: Role) -> None:
        """A version becomes the stable."""
        await self._connection.execute(
            "INSERT INTO stays (model, environment, version, digest, epoch) VALUES ($1, $2, $3, $4, $5)",
            place.model,
            place.environment,
            role.version,
            role.digest,
            role.epoch,
        )

    async def all(self, place: Place) -> list[Served]:
        """Every stay at a place, oldest first, the present one included."""
        rows = await self._connection.fetch(
            """SELECT stays.*, versions.revoked, versions.unusable
               FROM stays JOIN versions USING (model, environment, version)
               WHERE model = $1 AND environment = $2 ORDER BY id""",
            place.model,
            place.environment,
        )
        return [_served(row) for row in rows]

    async def may_not_serve(self, place: Place, role: Role) -> bool:
        """True of a version whose approval was taken back, or whose server doesn't start."""
        return any(stay.revoked or stay.unusable for stay in await self.all(place) if stay.role.version == role.version)

    async def count(self, readings: Sequence[tuple[Place, Role, int]]) -> None:
        """Raise stays' requests by what the proxy counted since the last time; it counts from 0 when it restarts."""
        await self._connection.execute(
            """UPDATE stays
               SET requests = requests + CASE WHEN now.reading >= stays.reading THEN now.reading - stays.reading
                                              ELSE now.reading END,
                   reading = now.reading
               FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
                    AS now(model, environment, epoch, reading)
               WHERE stays.model = now.model AND stays.environment = now.environment AND stays.epoch = now.epoch
                 AND stays.reading <> now.reading""",
            [place.model for place, _, _ in readings],
            [place.environment for place, _, _ in readings],
            [role.epoch for _, role, _ in readings],
            [reading for _, _, reading in readings],
        )

    async def forget(self, place: Place) -> None:
        """The deployment is over: no version of it is there to go back to."""
        await self._connection.execute(
            "DELETE FROM stays WHERE model = $1 AND environment = $2", place.model, place.environment
        )

    async def signalled(self, place: Place, version: int) -> None:
        """A signal was raised about the present stay of a version."""
        await self._connection.execute(
            """UPDATE stays SET signalled = true WHERE id =
               (SELECT max(id) FROM stays WHERE model = $1 AND environment = $2 AND version = $3)""",
            place.model,
            place.environment,
            version,
        )

    async def left_for_cause(self, place: Place, version: int) -> None:
        """A version was taken back."""
        await self._connection.execute(
            "UPDATE stays SET left_for_cause = true WHERE model = $1 AND environment = $2 AND version = $3",
            place.model,
            place.environment,
            version,
        )


def _known(row: Row) -> Known:
    return Known(
        Place(row["model"], row["environment"]),
        row["version"],
        row["digest"],
        row["environment_digest"],
        row["input_example"],
        policies.from_json(json.loads(row["policy"])),
        _reference(row["reference"]),
        row["verdict_id"],
        row["features"],
    )


def _served(row: Row) -> Served:
    return Served(
        Role(row["version"], row["digest"], row["epoch"]),
        requests=row["requests"],
        signalled=row["signalled"],
        left_for_cause=row["left_for_cause"],
        revoked=row["revoked"],
        unusable=row["unusable"],
    )


def _reference_body(reference: Reference | None) -> str | None:
    if reference is None:
        return None
    return json.dumps({"edges": reference.edges.tolist(), "counts": reference.counts.tolist()})


def _reference(kept: str | None) -> Reference | None:
    if kept is None:
        return None
    body: dict[str, Any] = json.loads(kept)
    return Reference(np.array(body["edges"], dtype=np.float64), np.array(body["counts"], dtype=np.float64))
