# ruff: noqa: N802, ARG002 - the methods have the names and the shape that the contract gives them
"""The registry over gRPC: each method is one command or query, with the caller that the server has verified."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from goldenpath.registry.v1 import registry_service_pb2 as pb
from goldenpath.registry.v1 import registry_service_pb2_grpc as pb_grpc
from services.chassis.identity import caller
from services.registry.commands import Commands
from services.registry.queries import Queries

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
SERVICE = "goldenpath.registry.v1.RegistryService"


class RegistryApi(pb_grpc.RegistryServiceServicer):
    """The service that the contract describes.

    Args:
        commands: What changes something.
        queries: What doesn't.
    """

    def __init__(self, commands: Commands, queries: Queries) -> None:
        self._commands = commands
        self._queries = queries

    async def RegisterVersion(
        self, request: pb.RegisterVersionRequest, context: _Context
    ) -> pb.RegisterVersionResponse:
        """Register a version from an MLflow run."""
        return await self._commands.register_version(request, caller())

    async def RegisterDataset(
        self, request: pb.RegisterDatasetRequest, context: _Context
    ) -> pb.RegisterDatasetResponse:
        """Register a dataset, or a new revision of its datasheet."""
        return await self._commands.register_dataset(request, caller())

    async def RetireVersion(self, request: pb.RetireVersionRequest, context: _Context) -> pb.RetireVersionResponse:
        """Take a version out of use for good."""
        return await self._commands.retire_version(request, caller())

    async def GetModel(self, request: pb.GetModelRequest, context: _Context) -> pb.GetModelResponse:
        """One model with its aliases."""
        return await self._queries.get_model(request)

    async def ListModels(self, request: pb.ListModelsRequest, context: _Context) -> pb.ListModelsResponse:
        """A page of models, by name."""
        return await self._queries.list_models(request)

    async def GetVersion(self, request: pb.GetVersionRequest, context: _Context) -> pb.GetVersionResponse:
        """One version, and its model."""
        return await self._queries.get_version(request)

    async def SearchVersions(self, request: pb.SearchVersionsRequest, context: _Context) -> pb.SearchVersionsResponse:
        """A page of the versions that fit, newest first."""
        return await self._queries.search_versions(request)

    async def ResolveAlias(self, request: pb.ResolveAliasRequest, context: _Context) -> pb.ResolveAliasResponse:
        """The version behind an alias."""
        return await self._queries.resolve_alias(request)

    async def ListAliasHistory(
        self, request: pb.ListAliasHistoryRequest, context: _Context
    ) -> pb.ListAliasHistoryResponse:
        """A page of what a model's aliases pointed to, newest first."""
        return await self._queries.list_alias_history(request)

    async def GetLineage(self, request: pb.GetLineageRequest, context: _Context) -> pb.GetLineageResponse:
        """What a version came from, and where it went."""
        return await self._queries.get_lineage(request)

    async def GetProfile(self, request: pb.GetProfileRequest, context: _Context) -> pb.GetProfileResponse:
        """The bytes of a version's reference profile."""
        return await self._queries.get_profile(request)

    async def GetDataset(self, request: pb.GetDatasetRequest, context: _Context) -> pb.GetDatasetResponse:
        """One dataset with its datasheet."""
        return await self._queries.get_dataset(request)

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: _Context) -> pb.ListDatasetsResponse:
        """A page of datasets, by name, newest version first."""
        return await self._queries.list_datasets(request)

    async def WatchVersions(
        self, request: pb.WatchVersionsRequest, context: _Context
    ) -> AsyncIterator[pb.WatchVersionsResponse]:
        """Versions as they are registered, from now on."""
        async for response in self._queries.watch_versions(request):
            yield response
