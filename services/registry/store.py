"""The registry's tables: the only SQL of the service.

Writes belong to a unit of work and are methods of `Store`; reads are functions over a connection, so that queries and
handlers share them. Registrations take turns (`Store.take_turn`): a version's or dataset's number is then simply the
next one, and ids rise in the order of commits, which is what watching and paging stand on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

from services.chassis.database import Connection, UnitOfWork
from services.chassis.errors import NotFound
from services.registry import rows
from services.registry.domain.aliases import Pointing
from services.registry.domain.datasets import Dataset, DatasetRef
from services.registry.domain.models import Model
from services.registry.domain.versions import Version

CHANNEL: Final = "versions"
_TURN: Final = 5_170_823  # any number, the same in all replicas

_VERSIONS: Final = """
    SELECT v.*, m.kind, m.risk_tier, m.owner, m.use_case,
           (SELECT coalesce(json_agg(json_build_array(d.name, d.version, d.digest) ORDER BY d.name, d.version), '[]')
            FROM version_datasets AS vd JOIN datasets AS d ON (d.name, d.version) = (vd.dataset, vd.dataset_version)
            WHERE (vd.model, vd.number) = (v.model, v.number)) AS refs
    FROM versions AS v JOIN models AS m ON m.name = v.model
"""
_DATASETS: Final = "SELECT d.*, s.* FROM datasets AS d JOIN datasheets AS s USING (name, version, revision)"


class RegistryUnitOfWork(UnitOfWork):
    """One transaction of the registry."""

    @cached_property
    def store(self) -> Store:
        """The tables."""
        return Store(self.connection)


class Store:
    """What a transaction changes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take_turn(self) -> None:
        """Wait until no other registration is under way; the turn ends with the transaction."""
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", _TURN)

    async def model(self, name: str) -> Model | None:
        """A model, locked; None where there is none."""
        row = await self._connection.fetchrow("SELECT * FROM models WHERE name = $1 FOR UPDATE", name)
        return None if row is None else rows.model_of(row)

    async def save_model(self, model: Model) -> None:
        """Keep a model as it is now."""
        await self._connection.execute(
            """INSERT INTO models VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (name) DO UPDATE SET risk_tier = $3, owner = $4, use_case = $5, latest_version = $6""",
            model.name,
            model.facts.kind.value,
            model.facts.risk_tier.value,
            model.facts.owner,
            model.facts.use_case,
            model.latest_version,
            model.created_at,
        )

    async def version_of_bytes(self, model: str, digest: str) -> Version | None:
        """The version that these bytes are; None where they are new."""
        row = await self._connection.fetchrow(
            f"{_VERSIONS} WHERE v.model = $1 AND v.artifact_digest = $2", model, digest
        )
        return None if row is None else rows.version_of(row)

    async def add_version(self, version: Version, profile: bytes) -> None:
        """Keep a new version with its profile, and wake whoever watches."""
        if profile:
            await self._connection.execute(
                "INSERT INTO profiles VALUES ($1, $2) ON CONFLICT DO NOTHING", version.brought.profile_digest, profile
            )
        await self._connection.execute(
            """INSERT INTO versions (model, number, artifact_digest, project, mlflow_run, profile_digest,
                                     reference_log_loss, body, registered_by, verified, registered_at, traceparent)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)""",
            version.model,
            version.number,
            version.brought.artifact_digest,
            version.project,
            version.mlflow_run,
            version.brought.profile_digest,
            version.brought.reference_log_loss,
            rows.body_of(version),
            version.registered_by.subject,
            version.registered_by.verified,
            version.registered_at,
            version.traceparent,
        )
        await self.add_refs(version, version.datasets)
        await self._connection.execute("SELECT pg_notify($1, '')", CHANNEL)

    async def add_refs(self, version: Version, refs: Sequence[DatasetRef]) -> None:
        """Note datasets that a version was made from."""
        await self._connection.executemany(
            "INSERT INTO version_datasets VALUES ($1, $2, $3, $4)",
            [(version.model, version.number, ref.name, ref.version) for ref in refs],
        )

    async def retire(self, version: Version) -> None:
        """Take a version out of use."""
        await self._connection.execute(
            "UPDATE versions SET retired = true WHERE model = $1 AND number = $2", version.model, version.number
        )

    async def dataset_of_bytes(self, name: str, digest: str) -> Dataset | None:
        """The dataset's version that these bytes are; None where they are new."""
        row = await self._connection.fetchrow(f"{_DATASETS} WHERE d.name = $1 AND d.digest = $2", name, digest)
        return None if row is None else rows.dataset_of(row)

    async def next_dataset_version(self, name: str) -> int:
        """The number of a dataset's next version."""
        newest = await self._connection.fetchval("SELECT max(version) FROM datasets WHERE name = $1", name)
        return (newest or 0) + 1

    async def save_dataset(self, dataset: Dataset, now: datetime) -> None:
        """Keep a dataset's new revision."""
        await self._connection.execute(
            """INSERT INTO datasets VALUES ($1, $2, $3, $4)
               ON CONFLICT (name, version) DO UPDATE SET revision = $4""",
            dataset.name,
            dataset.version,
            dataset.digest,
            dataset.revision,
        )
        sheet = dataset.sheet
        await self._connection.execute(
            "INSERT INTO datasheets VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            dataset.name,
            dataset.version,
            dataset.revision,
            sheet.document,
            json.dumps(dict(sheet.answers)),
            sheet.owner,
            sheet.licence,
            sheet.personal_data,
            sheet.period_start,
            sheet.period_end,
            dataset.registered_by.subject,
            dataset.registered_by.verified,
            now,
        )

    async def newest_pointing(self, model: str, alias: str) -> Pointing | None:
        """Where an alias pointed last, locked; None where it is new."""
        row = await self._connection.fetchrow(
            "SELECT * FROM aliases WHERE model = $1 AND alias = $2 ORDER BY id DESC LIMIT 1 FOR UPDATE", model, alias
        )
        return None if row is None else rows.pointing_of(row)

    async def end_pointing(self, model: str, alias: str, until: datetime) -> None:
        """Note that an alias no longer points where it did."""
        await self._connection.execute(
            "UPDATE aliases SET until = $3 WHERE model = $1 AND alias = $2 AND until IS NULL", model, alias, until
        )

    async def add_pointing(self, pointing: Pointing) -> None:
        """Note where an alias points from now on."""
        await self._connection.execute(
            "INSERT INTO aliases (model, alias, version, epoch, since) VALUES ($1, $2, $3, $4, $5)",
            pointing.model,
            pointing.alias,
            pointing.version,
            pointing.epoch,
            pointing.since,
        )

    async def start_project(self, name: str, model: str, owner: str, started_at: datetime) -> None:
        """Note a project; of several beginnings the earliest counts."""
        await self._connection.execute(
            """INSERT INTO projects VALUES ($1, $2, $3, $4)
               ON CONFLICT (name) DO UPDATE SET started_at = least(projects.started_at, $4)""",
            name,
            model,
            owner,
            started_at,
        )


async def get_version(connection: Connection, model: str, number: int) -> Version:
    """A version; number 0 is the newest.

    Raises:
        NotFound: there is none.
    """
    row = await connection.fetchrow(
        f"{_VERSIONS} WHERE v.model = $1 AND ($2 = 0 OR v.number = $2) ORDER BY v.number DESC LIMIT 1", model, number
    )
    if row is None:
        wanted = f"{model}@{number}" if number else f"a version of {model}"
        raise NotFound(f"the registry doesn't know {wanted}", fix="golden status lists the models")
    return rows.version_of(row)


async def get_model(connection: Connection, name: str) -> Model:
    """A model.

    Raises:
        NotFound: there is none.
    """
    row = await connection.fetchrow("SELECT * FROM models WHERE name = $1", name)
    if row is None:
        raise NotFound(f"the registry doesn't know the model {name}", fix="golden status lists the models")
    return rows.model_of(row)


async def list_models(connection: Connection, *, after: str, limit: int) -> list[Model]:
    """Models by name, after a name."""
    found = await connection.fetch("SELECT * FROM models WHERE name > $1 ORDER BY name LIMIT $2", after, limit)
    return [rows.model_of(row) for row in found]


async def search_versions(
    connection: Connection, *, model: str, owner: str, dataset: str, digest: str, before: int, limit: int
) -> list[tuple[int, Version]]:
    """Versions with their ids, newest first, below an id; an empty criterion fits everything."""
    found = await connection.fetch(
        f"""{_VERSIONS}
            WHERE v.id < $1 AND ($2 = '' OR v.model = $2) AND ($3 = '' OR strpos(lower(m.owner), lower($3)) > 0)
              AND ($4 = '' OR v.artifact_digest = $4)
              AND ($5 = '' OR EXISTS (SELECT 1 FROM version_datasets AS vd
                                      WHERE (vd.model, vd.number) = (v.model, v.number) AND vd.dataset = $5))
            ORDER BY v.id DESC LIMIT $6""",
        before,
        model,
        owner,
        digest,
        dataset,
        limit,
    )
    return [(row["id"], rows.version_of(row)) for row in found]


async def newest_id(connection: Connection) -> int:
    """The id of the version that was registered last; 0 where there is none."""
    return await connection.fetchval("SELECT coalesce(max(id), 0) FROM versions") or 0


async def versions_since(connection: Connection, after: int, *, model: str, limit: int) -> list[tuple[int, Version]]:
    """Versions with their ids, oldest first, above an id."""
    found = await connection.fetch(
        f"{_VERSIONS} WHERE v.id > $1 AND ($2 = '' OR v.model = $2) ORDER BY v.id LIMIT $3", after, model, limit
    )
    return [(row["id"], rows.version_of(row)) for row in found]


async def get_profile(connection: Connection, digest: str) -> bytes:
    """A profile's bytes; empty where there is none."""
    return await connection.fetchval("SELECT content FROM profiles WHERE digest = $1", digest) or b""


async def get_dataset(connection: Connection, name: str, version: int) -> Dataset:
    """A dataset with its newest datasheet; version 0 is the newest.

    Raises:
        NotFound: there is none.
    """
    row = await connection.fetchrow(
        f"{_DATASETS} WHERE d.name = $1 AND ($2 = 0 OR d.version = $2) ORDER BY d.version DESC LIMIT 1", name, version
    )
    if row is None:
        wanted = f"{name}@{version}" if version else name
        raise NotFound(f"the registry doesn't know the dataset {wanted}")
    return rows.dataset_of(row)


async def list_datasets(connection: Connection, *, after: tuple[str, int] | None, limit: int) -> list[Dataset]:
    """Datasets by name, newest version first, after one of them."""
    name, version = after or ("", 0)
    found = await connection.fetch(
        f"""{_DATASETS} WHERE d.name > $1 OR (d.name = $1 AND d.version < $2)
            ORDER BY d.name, d.version DESC LIMIT $3""",
        name,
        version,
        limit,
    )
    return [rows.dataset_of(row) for row in found]


async def pointings(connection: Connection, model: str, *, before: int, limit: int) -> list[tuple[int, Pointing]]:
    """Where a model's aliases point and pointed, with ids, newest first, below an id."""
    found = await connection.fetch(
        "SELECT * FROM aliases WHERE model = $1 AND id < $2 ORDER BY id DESC LIMIT $3", model, before, limit
    )
    return [(row["id"], rows.pointing_of(row)) for row in found]


async def current_pointings(connection: Connection, models: Sequence[str]) -> list[Pointing]:
    """Where the aliases of these models point now, by name."""
    found = await connection.fetch(
        "SELECT * FROM aliases WHERE model = ANY($1) AND until IS NULL ORDER BY model, alias", list(models)
    )
    return [rows.pointing_of(row) for row in found]


async def pointings_to(connection: Connection, model: str, version: int) -> list[Pointing]:
    """Every pointing of an alias to a version, oldest first."""
    found = await connection.fetch(
        "SELECT * FROM aliases WHERE model = $1 AND version = $2 ORDER BY id", model, version
    )
    return [rows.pointing_of(row) for row in found]


async def project_started_at(connection: Connection, project: str) -> datetime | None:
    """When a project started; None where nobody said."""
    found: datetime | None = await connection.fetchval("SELECT started_at FROM projects WHERE name = $1", project)
    return found
