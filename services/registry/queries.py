"""What the registry answers: each a read of the newest committed state, converted for whoever asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.database import Connection, Database
from services.chassis.errors import NotFound
from services.chassis.grpc_server import page_size
from services.chassis.rebuilding import check_whole
from services.chassis.watching import Changes
from services.registry import messages, reads
from services.registry.domain import names
from services.registry.domain.pages import page_of
from services.registry.domain.versions import Version
from services.registry.store import RegistryUnitOfWork

_BEYOND: Final = 2**63 - 1  # above every id
_WATCHED_AT_ONCE: Final = 100


class Queries:
    """Reads of one database.

    Args:
        database: The registry's.
        changes: Wakes watchers.
    """

    def __init__(self, database: Database[RegistryUnitOfWork], changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def get_model(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        """One model with its aliases."""
        async with self._database.read() as connection:
            model = await reads.get_model(connection, names.model_name(request.model))
            aliases = await reads.current_pointings(connection, [model.name])
        return pb.GetModelResponse(model=messages.model_message(model, aliases))

    async def list_models(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        """A page of models, by name."""
        page = page_of(page_size(request.page_size), request.page_token, question="models", key=(str,))
        async with self._database.read() as connection:
            found = await reads.list_models(connection, after=page.after[0] if page.after else "", limit=page.size + 1)
            aliases = await reads.current_pointings(connection, [model.name for model in found])
        shown = found[: page.size]
        return pb.ListModelsResponse(
            models=[
                messages.model_message(model, [alias for alias in aliases if alias.model == model.name])
                for model in shown
            ],
            next_page_token=page.token((shown[-1].name,)) if len(found) > page.size else "",
        )

    async def get_version(self, request: pb.GetVersionRequest) -> pb.GetVersionResponse:
        """One version, and its model."""
        async with self._database.read() as connection:
            version = await _version(connection, request.model, request.version)
            model = await reads.get_model(connection, request.model)
            aliases = await reads.current_pointings(connection, [request.model])
        return pb.GetVersionResponse(
            version=messages.version_message(version), model=messages.model_message(model, aliases)
        )

    async def search_versions(self, request: pb.SearchVersionsRequest) -> pb.SearchVersionsResponse:
        """A page of the versions that fit, newest first."""
        asked = (request.model, request.owner, request.dataset, request.artifact_digest, request.feature_view)
        page = page_of(page_size(request.page_size), request.page_token, question=f"versions {asked!r}", key=(int,))
        async with self._database.read() as connection:
            found = await reads.search_versions(
                connection,
                model=names.text(request.model, where="model"),
                owner=names.text(request.owner, where="owner"),
                dataset=names.text(request.dataset, where="dataset"),
                digest=names.text(request.artifact_digest, where="artifact_digest"),
                view=names.text(request.feature_view, where="feature_view"),
                before=page.after[0] if page.after else _BEYOND,
                limit=page.size + 1,
            )
        shown = found[: page.size]
        return pb.SearchVersionsResponse(
            versions=[messages.version_message(version) for _, version in shown],
            next_page_token=page.token((shown[-1][0],)) if len(found) > page.size else "",
        )

    async def resolve_alias(self, request: pb.ResolveAliasRequest) -> pb.ResolveAliasResponse:
        """The version behind an alias."""
        async with self._database.read() as connection:
            await check_whole(connection)
            model = await reads.get_model(connection, names.model_name(request.model))
            aliases = await reads.current_pointings(connection, [model.name])
            pointing = next((one for one in aliases if one.alias == request.alias), None)
            if pointing is None:
                known = ", ".join(one.alias for one in aliases) or "none"
                raise NotFound(f"{model.name} has no alias {request.alias!r}; it has: {known}", where="alias")
            version = await reads.get_version(connection, model.name, pointing.version)
        return pb.ResolveAliasResponse(version=messages.version_message(version), since=messages.stamp(pointing.since))

    async def list_alias_history(self, request: pb.ListAliasHistoryRequest) -> pb.ListAliasHistoryResponse:
        """A page of what a model's aliases pointed to, newest first."""
        page = page_of(
            page_size(request.page_size), request.page_token, question=f"aliases {request.model}", key=(int,)
        )
        async with self._database.read() as connection:
            await check_whole(connection)
            await reads.get_model(connection, names.model_name(request.model))
            before = page.after[0] if page.after else _BEYOND
            found = await reads.pointings(connection, request.model, before=before, limit=page.size + 1)
        shown = found[: page.size]
        return pb.ListAliasHistoryResponse(
            aliases=[messages.alias_message(pointing) for _, pointing in shown],
            next_page_token=page.token((shown[-1][0],)) if len(found) > page.size else "",
        )

    async def get_lineage(self, request: pb.GetLineageRequest) -> pb.GetLineageResponse:
        """What a version came from, and where it went."""
        async with self._database.read() as connection:
            await check_whole(connection)
            version = await _version(connection, request.model, request.version)
            datasets = [await reads.get_dataset(connection, ref.name, ref.version) for ref in version.datasets]
            pointings = await reads.pointings_to(connection, version.model, version.number)
            started_at = await reads.project_started_at(connection, version.project)
        return pb.GetLineageResponse(
            project=version.project,
            project_started_at=messages.stamp(started_at),
            datasets=[messages.dataset_message(dataset) for dataset in datasets],
            mlflow_run=version.mlflow_run,
            version=messages.version_message(version),
            deployments=[messages.deployment_message(one) for one in pointings if one.environment],
        )

    async def get_profile(self, request: pb.GetProfileRequest) -> pb.GetProfileResponse:
        """The bytes of a version's reference profile."""
        async with self._database.read() as connection:
            version = await _version(connection, request.model, request.version)
            digest = version.brought.profile_digest
            profile = await reads.get_profile(connection, digest) if digest else b""
        if not profile:
            raise NotFound(
                f"{version.model}@{version.number} has no reference profile",
                fix="log the reference rows with the run, and register it again",
            )
        return pb.GetProfileResponse(profile=profile, digest=digest)

    async def get_dataset(self, request: pb.GetDatasetRequest) -> pb.GetDatasetResponse:
        """One dataset with its datasheet."""
        async with self._database.read() as connection:
            dataset = await reads.get_dataset(
                connection, names.dataset_name(request.name), names.version_number(request.version)
            )
        return pb.GetDatasetResponse(dataset=messages.dataset_message(dataset))

    async def list_datasets(self, request: pb.ListDatasetsRequest) -> pb.ListDatasetsResponse:
        """A page of datasets, by name, newest version first."""
        page = page_of(page_size(request.page_size), request.page_token, question="datasets", key=(str, int))
        after = (str(page.after[0]), int(page.after[1])) if page.after else None
        async with self._database.read() as connection:
            found = await reads.list_datasets(connection, after=after, limit=page.size + 1)
        shown = found[: page.size]
        return pb.ListDatasetsResponse(
            datasets=[messages.dataset_message(dataset) for dataset in shown],
            next_page_token=page.token((shown[-1].name, shown[-1].version)) if len(found) > page.size else "",
        )

    async def watch_versions(self, request: pb.WatchVersionsRequest) -> AsyncIterator[pb.WatchVersionsResponse]:
        """Versions as they are registered, from now on."""
        model = names.text(request.model, where="model")
        async with self._database.read() as connection:
            seen = await reads.newest_id(connection)
        while True:
            woken = self._changes.begin()
            async with self._database.read() as connection:
                found = await reads.versions_since(connection, seen, model=model, limit=_WATCHED_AT_ONCE)
            for place, version in found:
                seen = place
                yield pb.WatchVersionsResponse(version=messages.version_message(version))
            if not found:
                await woken.wait()


async def _version(connection: Connection, model: str, number: int) -> Version:
    return await reads.get_version(connection, names.model_name(model), names.version_number(number))
