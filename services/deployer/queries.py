"""What the deployer answers: where deployments stand, what happened, what was decided. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from goldenpath.deployer.v1 import deployer_service_pb2 as service_pb2
from goldenpath.deployer.v1 import events_pb2
from services.chassis.errors import Invalid
from services.deployer.domain.deployment import Deployment, Place
from services.deployer.domain.rollout import State
from services.deployer.domain.servers import servers_needed
from services.deployer.events import position_of, timestamp
from services.deployer.runtimes import Endpoint
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.endpoints import NO_DEATHS
from services.deployer.store.history import Entry
from services.deployer.store.rollouts import Kept

_STATES: Final = {
    State.ADMITTED: service_pb2.ROLLOUT_STATE_ADMITTED,
    State.PROVISIONING: service_pb2.ROLLOUT_STATE_PROVISIONING,
    State.SHADOW: service_pb2.ROLLOUT_STATE_SHADOW,
    State.CANARY: service_pb2.ROLLOUT_STATE_CANARY,
    State.PROMOTED: service_pb2.ROLLOUT_STATE_PROMOTED,
    State.ROLLED_BACK: service_pb2.ROLLOUT_STATE_ROLLED_BACK,
    State.FAILED: service_pb2.ROLLOUT_STATE_FAILED,
    State.SUPERSEDED: service_pb2.ROLLOUT_STATE_SUPERSEDED,
}


async def get_deployment(place: Place, uow: DeployerUnitOfWork, *, url: str) -> service_pb2.Deployment:
    """Where a deployment stands."""
    return await _described(await uow.deployments.get(place), uow, url=url)


async def list_deployments(
    after: str, limit: int, uow: DeployerUnitOfWork, *, url: str
) -> tuple[list[service_pb2.Deployment], str]:
    """A page of deployments, and where the next one begins."""
    found = await uow.deployments.page(after=_place_of(after), limit=limit + 1)
    described = [await _described(one, uow, url=url) for one in found[:limit]]
    return described, str(found[limit - 1].place) if len(found) > limit else ""


async def list_history(
    place: Place, before: str, limit: int, uow: DeployerUnitOfWork
) -> tuple[list[service_pb2.HistoryEntry], str]:
    """A page of what happened, newest first, and where the next one begins."""
    await uow.deployments.get(place)
    found = await uow.history.page(place, before=_number_of(before), limit=limit + 1)
    return [_entry(one) for one in found[:limit]], str(found[limit - 1].id) if len(found) > limit else ""


async def get_decision(decision: str, uow: DeployerUnitOfWork) -> events_pb2.Decision:
    """A decision, by its id or its signal's."""
    return events_pb2.Decision.FromString(await uow.decisions.body(decision))


async def list_decisions(
    model: str, environment: str, before: str, limit: int, uow: DeployerUnitOfWork
) -> tuple[list[events_pb2.Decision], str]:
    """A page of decisions, newest first, and where the next one begins."""
    found = await uow.decisions.page(model=model, environment=environment, before=_number_of(before), limit=limit + 1)
    decisions = [events_pb2.Decision.FromString(body) for _, body in found[:limit]]
    return decisions, str(found[limit - 1][0]) if len(found) > limit else ""


async def _described(deployment: Deployment, uow: DeployerUnitOfWork, *, url: str) -> service_pb2.Deployment:
    place, hold = deployment.place, deployment.hold
    latest = await uow.rollouts.latest(place)
    waiting = [kept.rollout.version for kept in await uow.rollouts.open(place) if kept.rollout.state is State.ADMITTED]
    going_on = latest.rollout.id if latest is not None and latest.ended_at is None else None
    endpoints = await uow.endpoints.of(place)
    made = service_pb2.Deployment(
        position=position_of(deployment, going_on),
        held=hold is not None,
        held_reason=hold.reason if hold else "",
        held_for_signal=hold.signal_id if hold else "",
        rollout=_rollout(latest) if latest is not None else None,
        endpoints=map(_endpoint, endpoints),
        effective=not await uow.history.is_pending(place),
        url=f"{url.rstrip('/')}/v2/models/{place.model}/infer",
        warm_version=deployment.warm.version if deployment.warm else 0,
        queued_version=max(waiting, default=0),
        servers=await _servers(deployment, endpoints, uow),
    )
    asked = await uow.trainings.open(place)
    if asked is not None:
        made.training.ParseFromString(asked)
    effective_at = await uow.deployments.effective_at(place)
    if effective_at is not None:
        made.effective_at.CopyFrom(timestamp(effective_at))
    return made


def _endpoint(one: Endpoint) -> service_pb2.Endpoint:
    return service_pb2.Endpoint(
        version=one.version,
        http_address=one.address.http,
        grpc_address=one.address.grpc,
        ready=one.ready,
        pid=one.process.pid if one.process else 0,
    )


async def _servers(
    deployment: Deployment, endpoints: Sequence[Endpoint], uow: DeployerUnitOfWork
) -> list[service_pb2.Servers]:
    ready = Counter(one.version for one in endpoints if one.ready)
    deaths = await uow.endpoints.deaths(deployment.place)
    return [
        service_pb2.Servers(
            version=version,
            wanted=needed.count,
            ready=ready[version],
            deaths=deaths.get(version, NO_DEATHS).times,
            last_words=deaths.get(version, NO_DEATHS).last_words,
        )
        for (_, version), needed in servers_needed([deployment]).items()
    ]


def _rollout(kept: Kept) -> service_pb2.Rollout:
    rollout = kept.rollout
    made = service_pb2.Rollout(
        id=str(rollout.id),
        version=rollout.version,
        state=_STATES[rollout.state],
        weight=rollout.weight,
        judgement=rollout.judgement,
        started_at=timestamp(kept.started_at),
    )
    if kept.ended_at is not None:
        made.ended_at.CopyFrom(timestamp(kept.ended_at))
    return made


def _entry(entry: Entry) -> service_pb2.HistoryEntry:
    body = _with_position(entry.type).FromString(entry.body)
    at: datetime = entry.effective_at or entry.decided_at
    return service_pb2.HistoryEntry(
        type=entry.type,
        position=body.decision.position if isinstance(body, events_pb2.DeploymentRollbackDecided) else body.position,
        at=timestamp(at),
        sentence=entry.sentence,
        trace_id=entry.traceparent.split("-")[1] if entry.traceparent else "",
    )


_Body = (
    events_pb2.DeploymentStarted
    | events_pb2.DeploymentAdvanced
    | events_pb2.DeploymentPromoted
    | events_pb2.DeploymentRollbackDecided
    | events_pb2.DeploymentRolledBack
    | events_pb2.DeploymentHeld
    | events_pb2.DeploymentReleased
    | events_pb2.DeploymentFailed
    | events_pb2.DeploymentRetired
    | events_pb2.TrainingRequested
)


def _with_position(type_name: str) -> type[_Body]:
    kinds: dict[str, type[_Body]] = {
        "deployment.started": events_pb2.DeploymentStarted,
        "deployment.advanced": events_pb2.DeploymentAdvanced,
        "deployment.promoted": events_pb2.DeploymentPromoted,
        "deployment.rollback_decided": events_pb2.DeploymentRollbackDecided,
        "deployment.rolled_back": events_pb2.DeploymentRolledBack,
        "deployment.held": events_pb2.DeploymentHeld,
        "deployment.released": events_pb2.DeploymentReleased,
        "deployment.failed": events_pb2.DeploymentFailed,
        "deployment.retired": events_pb2.DeploymentRetired,
        "training.requested": events_pb2.TrainingRequested,
    }
    return kinds[type_name]


def _place_of(token: str) -> Place | None:
    model, _, environment = token.partition("/")
    if token and not (model and environment):
        raise Invalid("that is no page token of ours", where="page_token", fix="begin with an empty one")
    return Place.named(model, environment) if token else None


def _number_of(token: str) -> int | None:
    # A bigint's 19 digits; anything longer was never ours.
    if token and not (token.isascii() and token.isdigit() and len(token) < 19):  # noqa: PLR2004 - see above
        raise Invalid("that is no page token of ours", where="page_token", fix="begin with an empty one")
    return int(token) if token else None
