"""The deployer over HTTP: where deployments stand. Commands are gRPC's, and the CLI's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from google.protobuf.json_format import MessageToDict

from services.chassis.database import Database
from services.chassis.http_server import signed_in
from services.chassis.identity import Caller
from services.deployer import queries
from services.deployer.domain.deployment import PRODUCTION, Place
from services.deployer.store import DeployerUnitOfWork

SignedIn = Annotated[Caller, Depends(signed_in)]


def router(database: Database[DeployerUnitOfWork], *, url: str) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/deployments", tags=["deployments"])

    @routes.get("/{model}")
    async def get_deployment(model: str, _: SignedIn, environment: str = PRODUCTION) -> dict[str, Any]:
        """Where a deployment stands; the JSON mapping of goldenpath.deployer.v1.Deployment."""
        async with database.begin() as uow:
            found = await queries.get_deployment(Place.named(model, environment), uow, url=url)
        return dict(MessageToDict(found, preserving_proto_field_name=True))

    @routes.get("/{model}/decisions/{decision}")
    async def get_decision(model: str, decision: str, _: SignedIn) -> dict[str, Any]:
        """A decision with its numbers; the JSON mapping of goldenpath.deployer.v1.Decision."""
        Place.named(model)
        async with database.begin() as uow:
            found = await queries.get_decision(decision, uow)
        return dict(MessageToDict(found, preserving_proto_field_name=True))

    return routes
