"""The registry's tables, as a transaction changes them.

What changes them, and what a change has to look at first; `reads` has what only answers. Registrations take turns
(`Store.take_turn`): a version's or dataset's number is then simply the next one, and ids rise in the order of commits,
which is what watching and paging stand on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

from services.chassis.database import Connection, UnitOfWork
from services.registry import rows
from services.registry.domain.aliases import Pointing
from services.registry.domain.datasets import Dataset, DatasetRef
from services.registry.domain.models import Model
from services.registry.domain.versions import Version
from services.registry.reads import DATASETS, VERSIONS

CHANNEL: Final = "versions"
_TURN: Final = 5_170_823  # any number, the same in all replicas


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
        self.took_turn = False

    async def take_turn(self) -> None:
        """Wait until no other registration is under way; the turn ends with the transaction."""
        self.took_turn = True
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
            f"{VERSIONS} WHERE v.model = $1 AND v.artifact_digest = $2", model, digest
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
        await self._add_views(version)
        await self._connection.execute("SELECT pg_notify($1, '')", CHANNEL)

    async def add_refs(self, version: Version, refs: Sequence[DatasetRef]) -> None:
        """Note datasets that a version was made from."""
        await self._connection.executemany(
            "INSERT INTO version_datasets VALUES ($1, $2, $3, $4)",
            [(version.model, version.number, ref.name, ref.version) for ref in refs],
        )

    async def _add_views(self, version: Version) -> None:
        views = version.features.views if version.features else ()
        await self._connection.executemany(
            "INSERT INTO version_features VALUES ($1, $2, $3, $4)",
            [(version.model, version.number, view.name, view.digest) for view in views],
        )

    async def retire(self, version: Version) -> None:
        """Take a version out of use."""
        await self._connection.execute(
            "UPDATE versions SET retired = true WHERE model = $1 AND number = $2", version.model, version.number
        )

    async def dataset_of_bytes(self, name: str, digest: str) -> Dataset | None:
        """The dataset's version that these bytes are; None where they are new."""
        row = await self._connection.fetchrow(f"{DATASETS} WHERE d.name = $1 AND d.digest = $2", name, digest)
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

    async def forget_aliases(self) -> None:
        """Forget where aliases point and pointed."""
        await self._connection.execute("DELETE FROM aliases")

    async def forget_projects(self) -> None:
        """Forget when projects began."""
        await self._connection.execute("DELETE FROM projects")

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
