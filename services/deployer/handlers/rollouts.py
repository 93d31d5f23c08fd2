"""Rollouts: they begin, get traffic, advance, and end."""

from __future__ import annotations

from uuid import UUID, uuid4

from goldenpath.deployer.v1 import events_pb2
from services.chassis.errors import Conflict
from services.chassis.telemetry import current_traceparent
from services.deployer import events
from services.deployer.domain.deployment import Deployment, Place
from services.deployer.domain.rollout import WITH_TRAFFIC, Rollout, State
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.rollouts import Kept
from services.deployer.store.versions import Known


async def admit_version(place: Place, version: int, uow: DeployerUnitOfWork, *, commanded: bool = False) -> None:
    """A version may serve: its rollout begins, or waits. What isn't newer than all before needs a person's command."""
    deployment = await uow.deployments.lock(place)
    waiting = [kept.rollout.version for kept in await uow.rollouts.open(place)]
    if commanded and deployment.stable is not None and deployment.stable.version == version:
        raise Conflict(f"version {version} serves {place} already")
    if version in waiting or (not commanded and version <= await uow.rollouts.newest_version(place)):
        return
    rollout = Rollout(uuid4(), place, version, commanded=commanded)
    await uow.rollouts.add(rollout, traceparent=current_traceparent())


async def begin_rollout(rollout_id: UUID, known: Known, uow: DeployerUnitOfWork) -> None:
    """Governance admits it: it becomes the candidate, and its server is started."""
    deployment = await uow.deployments.lock(known.place)
    rollout = (await uow.rollouts.get(rollout_id)).rollout
    if rollout.state is not State.ADMITTED or deployment.hold is not None:
        return
    active = await uow.rollouts.active(known.place)
    if active is not None and active.rollout.state in WITH_TRAFFIC:
        return
    for other in await uow.rollouts.open(known.place):
        if other.rollout.id != rollout_id:
            await uow.rollouts.save(other.rollout.supersede(rollout.version))
    await uow.versions.put(known)
    begun = rollout.provision(digest=known.digest, verdict_id=known.verdict_id, policy=known.policy)
    await uow.rollouts.save(begun)
    await uow.deployments.save(deployment.with_candidate(known.version, known.digest, acts=known.policy.acts))


async def give_traffic(rollout_id: UUID, place: Place, uow: DeployerUnitOfWork) -> None:
    """The candidate's server is ready: it gets its first share; a first version gets all."""
    deployment, kept = await _going_on(rollout_id, place, uow)
    if kept.rollout.state is not State.PROVISIONING or deployment.hold is not None:
        return
    moved = kept.rollout.provisioned(first=deployment.stable is None)
    begun = await _move(deployment, moved, uow)
    body = events_pb2.DeploymentStarted(
        position=events.position_of(begun, moved.id), verdict_id=moved.verdict_id, artifact_digest=moved.digest
    )
    share = f"{moved.weight} %" if moved.weight else "a copy"
    sentence = f"version {moved.version} began with {share} of the traffic"
    await events.tell_once_effective(uow, place, events.STARTED, body, sentence)
    if moved.state is State.PROMOTED:
        await _tell_promoted(deployment, begun, moved, uow)


async def advance(
    rollout_id: UUID, place: Place, judgement: str, uow: DeployerUnitOfWork, *, verdict_id: str, to_all: bool = False
) -> None:
    """A judge is satisfied, or a person wants it: more traffic, and in the end all of it."""
    before, kept = await _going_on(rollout_id, place, uow)
    if kept.rollout.over or (before.hold is not None and not to_all):
        return
    moved = kept.rollout.promote(judgement) if to_all else kept.rollout.advance(judgement, verdict_id=verdict_id)
    after = await _move(before, moved, uow)
    if moved.state is State.PROMOTED:
        await _tell_promoted(before, after, moved, uow)
        return
    body = events_pb2.DeploymentAdvanced(position=events.position_of(after, moved.id), verdict_id=moved.verdict_id)
    sentence = f"version {moved.version} got {moved.weight} % of the traffic: {judgement}"
    await events.tell_once_effective(uow, place, events.ADVANCED, body, sentence)


async def abort_rollout(
    rollout_id: UUID, place: Place, reason: str, uow: DeployerUnitOfWork, *, decision: events_pb2.Decision | None = None
) -> None:
    """The candidate loses its traffic, and the stable stays."""
    deployment, kept = await _going_on(rollout_id, place, uow)
    if kept.rollout.over:
        return
    await uow.rollouts.save(kept.rollout.abort(reason))
    if deployment.candidate is None or kept.rollout.state is State.ADMITTED:
        return
    after = deployment.without_candidate()
    await uow.deployments.save(after)
    body = events_pb2.DeploymentRolledBack(
        position=events.position_of(after, rollout_id),
        from_version=kept.rollout.version,
        to_version=after.stable.version if after.stable else 0,
        decision=decision,
        reason=reason,
        aborted=True,
    )
    sentence = f"version {kept.rollout.version} lost its traffic: {reason}"
    await events.tell_once_effective(uow, place, events.ROLLED_BACK, body, sentence)


async def fail_rollout(rollout_id: UUID, place: Place, reason: str, uow: DeployerUnitOfWork, *, fix: str = "") -> None:
    """It can't go on, and never had traffic."""
    deployment, kept = await _going_on(rollout_id, place, uow)
    if kept.rollout.state not in {State.ADMITTED, State.PROVISIONING}:
        return
    await uow.rollouts.save(kept.rollout.fail(reason))
    after = deployment
    if kept.rollout.state is State.PROVISIONING:
        after = deployment.without_candidate()
        await uow.deployments.save(after)
    version = kept.rollout.version
    body = events_pb2.DeploymentFailed(
        position=events.position_of(after, rollout_id), version=version, reason=reason, fix=fix
    )
    await events.tell(uow, place, events.FAILED, body, f"version {version} could not go on: {reason}")


async def _going_on(rollout_id: UUID, place: Place, uow: DeployerUnitOfWork) -> tuple[Deployment, Kept]:
    return await uow.deployments.lock(place), await uow.rollouts.get(rollout_id)


async def _move(deployment: Deployment, rollout: Rollout, uow: DeployerUnitOfWork) -> Deployment:
    await uow.rollouts.save(rollout)
    if rollout.state is State.PROMOTED:
        after = deployment.promoted(holdback=rollout.policy.holdback)
        if deployment.stable is not None and await uow.stays.may_not_serve(rollout.place, deployment.stable):
            after = after.without_warm()
        if after.stable is not None:
            await uow.stays.begin(rollout.place, after.stable)
        await uow.trainings.answer_by_promotion(rollout.place, rollout.version)
    else:
        after = deployment.with_share(rollout.weight, mirrored=rollout.state is State.SHADOW)
    await uow.deployments.save(after)
    return after


async def _tell_promoted(before: Deployment, after: Deployment, rollout: Rollout, uow: DeployerUnitOfWork) -> None:
    body = events_pb2.DeploymentPromoted(
        position=events.position_of(after, rollout.id),
        previous_version=before.stable.version if before.stable else 0,
        verdict_id=rollout.verdict_id,
        artifact_digest=rollout.digest,
    )
    sentence = f"version {rollout.version} serves: {rollout.judgement}"
    await events.tell_once_effective(uow, rollout.place, events.PROMOTED, body, sentence)
