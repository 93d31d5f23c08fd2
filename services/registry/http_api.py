"""The registry over HTTP: the same commands and queries as over gRPC, as JSON under /v1."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query
from fastapi.responses import JSONResponse

from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.errors import Invalid
from services.chassis.http_server import signed_in
from services.chassis.identity import Caller
from services.registry.commands import Commands
from services.registry.json_bodies import answers, message_of, response_of, takes
from services.registry.queries import Queries

_LARGEST = 2**32 - 1  # what the contract's uint32 holds

SignedIn = Annotated[Caller, Depends(signed_in)]
Json = Annotated[dict[str, Any], Body()]
Size = Annotated[int, Query(alias="page_size", ge=0, le=_LARGEST, description="1 to 1000; 0 means 100.")]
Token = Annotated[str, Query(alias="page_token", description="The page before gave it; empty: the first page.")]


def router(commands: Commands, queries: Queries) -> APIRouter:
    """Every route of the registry."""
    routes = APIRouter(prefix="/v1", tags=["registry"])
    _add_commands(routes, commands)
    _add_models(routes, queries)
    _add_versions(routes, queries)
    _add_datasets(routes, queries)
    return routes


def _add_commands(routes: APIRouter, commands: Commands) -> None:
    @routes.post(
        "/versions",
        responses=answers(pb.RegisterVersionResponse),
        openapi_extra=takes(pb.RegisterVersionRequest),
    )
    async def register_version(caller: SignedIn, body: Json) -> JSONResponse:
        """Register a version from an MLflow run. Role: scientist."""
        return response_of(await commands.register_version(message_of(body, pb.RegisterVersionRequest), caller))

    @routes.post(
        "/datasets",
        responses=answers(pb.RegisterDatasetResponse),
        openapi_extra=takes(pb.RegisterDatasetRequest),
    )
    async def register_dataset(caller: SignedIn, body: Json) -> JSONResponse:
        """Register a dataset, or a new revision of its datasheet. Role: scientist."""
        return response_of(await commands.register_dataset(message_of(body, pb.RegisterDatasetRequest), caller))

    @routes.post("/models/{model}/versions/{version}/retire", responses=answers(pb.RetireVersionResponse))
    async def retire_version(
        caller: SignedIn, model: str, version: str, reason: Annotated[str, Body(embed=True)]
    ) -> JSONResponse:
        """Take a version that serves nowhere out of use for good. Role: operator, or scientist and the owner."""
        request = pb.RetireVersionRequest(model=model, version=_number(version), reason=reason)
        return response_of(await commands.retire_version(request, caller))


def _add_models(routes: APIRouter, queries: Queries) -> None:
    @routes.get("/models", responses=answers(pb.ListModelsResponse))
    async def list_models(_: SignedIn, size: Size = 0, token: Token = "") -> JSONResponse:
        """A page of models, by name."""
        return response_of(await queries.list_models(pb.ListModelsRequest(page_size=size, page_token=token)))

    @routes.get("/models/{model}", responses=answers(pb.GetModelResponse))
    async def get_model(_: SignedIn, model: str) -> JSONResponse:
        """One model with its aliases."""
        return response_of(await queries.get_model(pb.GetModelRequest(model=model)))

    @routes.get("/models/{model}/aliases", responses=answers(pb.ListAliasHistoryResponse))
    async def list_alias_history(_: SignedIn, model: str, size: Size = 0, token: Token = "") -> JSONResponse:
        """A page of what the model's aliases pointed to, newest first."""
        request = pb.ListAliasHistoryRequest(model=model, page_size=size, page_token=token)
        return response_of(await queries.list_alias_history(request))

    @routes.get("/models/{model}/aliases/{alias}", responses=answers(pb.ResolveAliasResponse))
    async def resolve_alias(_: SignedIn, model: str, alias: str) -> JSONResponse:
        """The version behind an alias, such as champion@production."""
        return response_of(await queries.resolve_alias(pb.ResolveAliasRequest(model=model, alias=alias)))


def _add_versions(routes: APIRouter, queries: Queries) -> None:
    @routes.get("/versions", responses=answers(pb.SearchVersionsResponse))
    async def search_versions(
        _: SignedIn,
        model: str = "",
        owner: str = "",
        dataset: str = "",
        artifact_digest: str = "",
        feature_view: str = "",
        size: Size = 0,
        token: Token = "",
    ) -> JSONResponse:
        """A page of the versions that fit, newest first."""
        request = pb.SearchVersionsRequest(
            model=model,
            owner=owner,
            dataset=dataset,
            artifact_digest=artifact_digest,
            feature_view=feature_view,
            page_size=size,
            page_token=token,
        )
        return response_of(await queries.search_versions(request))

    @routes.get("/models/{model}/versions/{version}", responses=answers(pb.GetVersionResponse))
    async def get_version(_: SignedIn, model: str, version: str) -> JSONResponse:
        """One version by its number, or the `latest`."""
        return response_of(await queries.get_version(pb.GetVersionRequest(model=model, version=_number(version))))

    @routes.get("/models/{model}/versions/{version}/lineage", responses=answers(pb.GetLineageResponse))
    async def get_lineage(_: SignedIn, model: str, version: str) -> JSONResponse:
        """What a version came from, and where it went."""
        return response_of(await queries.get_lineage(pb.GetLineageRequest(model=model, version=_number(version))))

    @routes.get("/models/{model}/versions/{version}/profile", responses=answers(pb.GetProfileResponse))
    async def get_profile(_: SignedIn, model: str, version: str) -> JSONResponse:
        """A version's reference profile, in base64."""
        return response_of(await queries.get_profile(pb.GetProfileRequest(model=model, version=_number(version))))


def _add_datasets(routes: APIRouter, queries: Queries) -> None:
    @routes.get("/datasets", responses=answers(pb.ListDatasetsResponse))
    async def list_datasets(_: SignedIn, size: Size = 0, token: Token = "") -> JSONResponse:
        """A page of datasets, by name, newest version first."""
        return response_of(await queries.list_datasets(pb.ListDatasetsRequest(page_size=size, page_token=token)))

    @routes.get("/datasets/{name}/versions/{version}", responses=answers(pb.GetDatasetResponse))
    async def get_dataset(_: SignedIn, name: str, version: str) -> JSONResponse:
        """One dataset with its datasheet, by its number, or the `latest`."""
        return response_of(await queries.get_dataset(pb.GetDatasetRequest(name=name, version=_number(version))))


def _number(text: str) -> int:
    if text == "latest":
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST)) and 0 < int(text) <= _LARGEST):
        raise Invalid(f"{text[:20]!r} is no version: a number from 1, or latest", where="version")
    return int(text)
