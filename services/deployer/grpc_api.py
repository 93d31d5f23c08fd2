"""DeployerService: converts, opens the unit of work, delegates, converts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import grpc

from goldenpath.deployer.v1 import deployer_service_pb2 as pb2
from goldenpath.deployer.v1 import deployer_service_pb2_grpc as pb2_grpc
from services.chassis.database import Database
from services.chassis.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from services.chassis.grpc_server import page_size
from services.chassis.identity import Role, caller
from services.chassis.watching import Changes
from services.deployer import queries
from services.deployer.asking import Asking, columns_of
from services.deployer.clients import Admission, Governance, Registry
from services.deployer.domain.deployment import Deployment, Place
from services.deployer.domain.rollout import WITH_TRAFFIC, Rollout
from services.deployer.events import Asked
from services.deployer.handlers import going_back, holds, retirement, rollouts, training
from services.deployer.store import DeployerUnitOfWork

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Command = Callable[[DeployerUnitOfWork], Awaitable[None]]


class DeployerApi(pb2_grpc.DeployerServiceServicer):
    """The deployer's gRPC edge.

    Args:
        database: Where everything is.
        governance: Asked before a person deploys or promotes.
        registry: Asked before a person deploys.
        asking: Asks versions for scores.
        changes: Wakes watchers.
        url: Where clients reach the models.
    """

    def __init__(
        self,
        database: Database[DeployerUnitOfWork],
        *,
        governance: Governance,
        registry: Registry,
        asking: Asking,
        changes: Changes,
        url: str,
    ) -> None:
        self._database = database
        self._asking = asking
        self._governance = governance
        self._registry = registry
        self._changes = changes
        self._url = url

    async def GetDeployment(self, request: pb2.GetDeploymentRequest, context: Context) -> pb2.GetDeploymentResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """One deployment."""
        return pb2.GetDeploymentResponse(deployment=await self._get(Place.named(request.model, request.environment)))

    async def ListDeployments(  # noqa: N802 - gRPC's name
        self,
        request: pb2.ListDeploymentsRequest,
        context: Context,  # noqa: ARG002 - gRPC's shape
    ) -> pb2.ListDeploymentsResponse:
        """A page of deployments."""
        async with self._reading() as uow:
            found, token = await queries.list_deployments(
                request.page_token, page_size(request.page_size), uow, url=self._url
            )
        return pb2.ListDeploymentsResponse(deployments=found, next_page_token=token)

    async def ListHistory(self, request: pb2.ListHistoryRequest, context: Context) -> pb2.ListHistoryResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """A page of what happened."""
        place = Place.named(request.model, request.environment)
        async with self._reading() as uow:
            found, token = await queries.list_history(place, request.page_token, page_size(request.page_size), uow)
        return pb2.ListHistoryResponse(entries=found, next_page_token=token)

    async def GetDecision(self, request: pb2.GetDecisionRequest, context: Context) -> pb2.GetDecisionResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """One decision with its numbers."""
        if not request.id or not request.id.isprintable():
            raise Invalid("which decision? Its id, or its signal's", where="id")
        async with self._reading() as uow:
            return pb2.GetDecisionResponse(decision=await queries.get_decision(request.id, uow))

    async def ListDecisions(self, request: pb2.ListDecisionsRequest, context: Context) -> pb2.ListDecisionsResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """A page of decisions."""
        size = page_size(request.page_size)
        if request.model or request.environment:
            Place.named(request.model or "any", request.environment)
        async with self._reading() as uow:
            found, token = await queries.list_decisions(
                request.model, request.environment, request.page_token, size, uow
            )
        return pb2.ListDecisionsResponse(decisions=found, next_page_token=token)

    async def WatchDeployment(  # noqa: N802 - gRPC's name
        self,
        request: pb2.WatchDeploymentRequest,
        context: Context,  # noqa: ARG002 - gRPC's shape
    ) -> AsyncIterator[pb2.WatchDeploymentResponse]:
        """A deployment's state whenever it changes."""
        place = Place.named(request.model, request.environment)
        told: pb2.Deployment | None = None
        while True:
            changed = self._changes.begin()
            found = await self._get(place)
            if found != told:
                yield pb2.WatchDeploymentResponse(deployment=found)
                told = found
            await changed.wait()

    async def Deploy(self, request: pb2.DeployRequest, context: Context) -> pb2.DeployResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """Starts a rollout of an approved version."""
        caller().require(Role.SCIENTIST, Role.OPERATOR)
        place = Place.named(request.model, request.environment)
        # The rollout asks both again when it begins; asking now tells the caller at once what is wrong.
        with _asking("governance"):
            version = request.version or await self._governance.newest_approved(place.model)
        with _asking("the registry"):
            known = await self._registry.version(place, version)
        await self._admitted(place, version, known.digest)

        async def command(uow: DeployerUnitOfWork) -> None:
            await rollouts.admit_version(place, version, uow, commanded=True)

        return pb2.DeployResponse(deployment=await self._do(place, command))

    async def Hold(self, request: pb2.HoldRequest, context: Context) -> pb2.HoldResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """Holds a deployment."""
        place, reason = _command(request)

        async def command(uow: DeployerUnitOfWork) -> None:
            (await _locked(place, uow)).check_epoch(request.epoch)
            await holds.hold(place, reason, uow)

        return pb2.HoldResponse(deployment=await self._do(place, command))

    async def Release(self, request: pb2.ReleaseRequest, context: Context) -> pb2.ReleaseResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """Lifts a hold."""
        caller().require(Role.OPERATOR)
        place = Place.named(request.model, request.environment)

        async def command(uow: DeployerUnitOfWork) -> None:
            deployment = await _locked(place, uow)
            deployment.check_epoch(request.epoch)
            if deployment.hold is None:
                raise Conflict(f"{place} isn't held")
            await holds.release(place, request.reason or "released by a person", uow)

        return pb2.ReleaseResponse(deployment=await self._do(place, command))

    async def Promote(self, request: pb2.PromoteRequest, context: Context) -> pb2.PromoteResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """Gives the candidate all the traffic now; governance is asked all the same."""
        actor = caller().require(Role.OPERATOR)
        place = Place.named(request.model, request.environment)
        async with self._reading() as uow:
            rollout = await _with_traffic(place, uow)
        admission = await self._admitted(place, rollout.version, rollout.digest)

        async def command(uow: DeployerUnitOfWork) -> None:
            (await _locked(place, uow)).check_epoch(request.epoch)
            words = f"{actor.subject} promoted it"
            await rollouts.advance(rollout.id, place, words, uow, verdict_id=admission.verdict_id, to_all=True)

        return pb2.PromoteResponse(deployment=await self._do(place, command))

    async def Abort(self, request: pb2.AbortRequest, context: Context) -> pb2.AbortResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """Takes the candidate's traffic away."""
        place, reason = _command(request)

        async def command(uow: DeployerUnitOfWork) -> None:
            (await _locked(place, uow)).check_epoch(request.epoch)
            active = await uow.rollouts.active(place)
            if active is None:
                raise NotFound(f"no rollout goes on at {place}", fix="golden status shows where it stands")
            await rollouts.abort_rollout(active.rollout.id, place, reason, uow)

        return pb2.AbortResponse(deployment=await self._do(place, command))

    async def RollBack(self, request: pb2.RollBackRequest, context: Context) -> pb2.RollBackResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """Goes back to an earlier version. It asks no other service."""
        place, reason = _command(request)
        actor = caller().subject
        async with self._database.begin(actor=actor) as uow:
            deployment = await _locked(place, uow)
            deployment.check_epoch(request.epoch)
            if deployment.stable is not None and deployment.stable.version == request.version:
                raise Conflict(f"version {request.version} serves {place} already")
            target = await going_back.rollback_target(deployment, uow, version=request.version)
            if target is None:
                raise going_back.nowhere(place, request.version)
            decision = await going_back.go_back(place, target, reason, Asked(uuid4(), uow.now, actor=actor), uow)
        return pb2.RollBackResponse(deployment=await self._get(place), decision=decision)

    async def RequestTraining(  # noqa: N802 - gRPC's name
        self,
        request: pb2.RequestTrainingRequest,
        context: Context,  # noqa: ARG002 - gRPC's shape
    ) -> pb2.RequestTrainingResponse:
        """Asks for a new version."""
        place, reason = _command(request, Role.SCIENTIST)
        async with self._database.begin(actor=caller().subject) as uow:
            await _locked(place, uow)
            asked, created = await training.request(place, reason, uow)
        return pb2.RequestTrainingResponse(training=asked, created=created)

    async def ScoreRows(self, request: pb2.ScoreRowsRequest, context: Context) -> pb2.ScoreRowsResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """What a version says of rows."""
        caller().require(Role.AUDITOR, Role.REVIEWER, Role.OPERATOR, Role.SCIENTIST)
        place = Place.named(request.model, request.environment)
        known, scores = await self._asking.scores(place, request.version, columns_of(request.inputs))
        return pb2.ScoreRowsResponse(scores=scores.tolist(), artifact_digest=known.digest)

    async def Retire(self, request: pb2.RetireRequest, context: Context) -> pb2.RetireResponse:  # noqa: N802, ARG002 - gRPC's name and shape
        """Ends a deployment. It asks no other service."""
        place, reason = _command(request)

        async def command(uow: DeployerUnitOfWork) -> None:
            (await _locked(place, uow)).check_epoch(request.epoch)
            await retirement.retire(place, reason, uow)

        return pb2.RetireResponse(deployment=await self._do(place, command))

    async def _admitted(self, place: Place, version: int, digest: str) -> Admission:
        """Governance's yes.

        Raises:
            Denied: it says no.
            Unavailable: it says nothing.
        """
        with _asking("governance"):
            admission = await self._governance.check(place, version, digest)
        if not admission.admitted:
            fix = f"golden explain {place.model}@{version}"
            raise Denied(f"version {version} of {place} may not serve: {admission.reason}", fix=fix)
        return admission

    async def _do(self, place: Place, command: Command) -> pb2.Deployment:
        async with self._database.begin(actor=caller().subject) as uow:
            await command(uow)
        return await self._get(place)

    async def _get(self, place: Place) -> pb2.Deployment:
        async with self._reading() as uow:
            return await queries.get_deployment(place, uow, url=self._url)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[DeployerUnitOfWork]:
        async with self._database.begin() as uow:
            yield uow


def _command(
    request: pb2.HoldRequest | pb2.AbortRequest | pb2.RollBackRequest | pb2.RetireRequest | pb2.RequestTrainingRequest,
    *others: Role,
) -> tuple[Place, str]:
    """A command of an operator, or of others who may give it too: where, and why."""
    caller().require(*others, Role.OPERATOR)
    if not request.reason.strip():
        raise Invalid("say why, in a sentence", where="reason")
    return Place.named(request.model, request.environment), request.reason


async def _locked(place: Place, uow: DeployerUnitOfWork) -> Deployment:
    await uow.deployments.get(place)  # a command about nothing must not make a row
    return await uow.deployments.lock(place)


async def _with_traffic(place: Place, uow: DeployerUnitOfWork) -> Rollout:
    await uow.deployments.get(place)
    active = await uow.rollouts.active(place)
    if active is None or active.rollout.state not in WITH_TRAFFIC:
        raise Conflict(
            f"{place} has no candidate with traffic to promote", fix="golden status shows where its rollout stands"
        )
    return active.rollout


@contextmanager
def _asking(whom: str) -> Iterator[None]:
    try:
        yield
    except Unavailable:
        raise Unavailable(
            f"{whom} doesn't answer, and without its word nothing gets more traffic",
            fix="golden doctor; to take traffic away nobody is asked: golden abort, golden rollback",
        ) from None
