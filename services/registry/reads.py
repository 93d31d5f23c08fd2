"""The registry's tables, as a query sees them: functions over a connection, shared by queries and handlers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.chassis.database import Connection
from services.chassis.errors import NotFound
from services.registry import rows
from services.registry.domain.aliases import Pointing
from services.registry.domain.datasets import Dataset
from services.registry.domain.models import Model
from services.registry.domain.versions import Version

VERSIONS: Final = """
    SELECT v.*, m.kind, m.risk_tier, m.owner, m.use_case,
           (SELECT coalesce(json_agg(json_build_array(d.name, d.version, d.digest) ORDER BY d.name, d.version), '[]')
            FROM version_datasets AS vd JOIN datasets AS d ON (d.name, d.version) = (vd.dataset, vd.dataset_version)
            WHERE (vd.model, vd.number) = (v.model, v.number)) AS refs
    FROM versions AS v JOIN models AS m ON m.name = v.model
"""
DATASETS: Final = "SELECT d.*, s.* FROM datasets AS d JOIN datasheets AS s USING (name, version, revision)"
_FITTING: Final = """
    WHERE v.id < $1 AND ($2 = '' OR v.model = $2) AND ($3 = '' OR strpos(lower(m.owner), lower($3)) > 0)
      AND ($4 = '' OR v.artifact_digest = $4)
      AND ($5 = '' OR EXISTS (SELECT 1 FROM version_datasets AS vd
                              WHERE (vd.model, vd.number) = (v.model, v.number) AND vd.dataset = $5))
      AND ($6 = '' OR EXISTS (SELECT 1 FROM version_features AS vf
                              WHERE (vf.model, vf.number) = (v.model, v.number) AND vf.view = $6))
    ORDER BY v.id DESC LIMIT $7
"""


async def get_version(connection: Connection, model: str, number: int) -> Version:
    """A version; number 0 is the newest.

    Raises:
        NotFound: there is none.
    """
    row = await connection.fetchrow(
        f"{VERSIONS} WHERE v.model = $1 AND ($2 = 0 OR v.number = $2) ORDER BY v.number DESC LIMIT 1", model, number
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
    connection: Connection,
    *,
    model: str,
    owner: str,
    dataset: str,
    digest: str,
    view: str,
    before: int,
    limit: int,
) -> list[tuple[int, Version]]:
    """Versions with their ids, newest first, below an id; an empty criterion fits everything."""
    found = await connection.fetch(
        f"{VERSIONS} {_FITTING}",
        before,
        model,
        owner,
        digest,
        dataset,
        view,
        limit,
    )
    return [(row["id"], rows.version_of(row)) for row in found]


async def newest_id(connection: Connection) -> int:
    """The id of the version that was registered last; 0 where there is none."""
    return await connection.fetchval("SELECT coalesce(max(id), 0) FROM versions") or 0


async def versions_since(connection: Connection, after: int, *, model: str, limit: int) -> list[tuple[int, Version]]:
    """Versions with their ids, oldest first, above an id."""
    found = await connection.fetch(
        f"{VERSIONS} WHERE v.id > $1 AND ($2 = '' OR v.model = $2) ORDER BY v.id LIMIT $3", after, model, limit
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
        f"{DATASETS} WHERE d.name = $1 AND ($2 = 0 OR d.version = $2) ORDER BY d.version DESC LIMIT 1", name, version
    )
    if row is None:
        wanted = f"{name}@{version}" if version else name
        raise NotFound(f"the registry doesn't know the dataset {wanted}")
    return rows.dataset_of(row)


async def list_datasets(connection: Connection, *, after: tuple[str, int] | None, limit: int) -> list[Dataset]:
    """Datasets by name, newest version first, after one of them."""
    name, version = after or ("", 0)
    found = await connection.fetch(
        f"""{DATASETS} WHERE d.name > $1 OR (d.name = $1 AND d.version < $2)
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
