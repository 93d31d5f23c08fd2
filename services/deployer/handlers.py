"""What changes a deployment. Each loads under the deployment's lock, lets the domain decide, writes, and tells.

Every one may be called again after a crash: what is done already is left as it is.
"""

from __future__ import annotations

from uuid import UUID, uuid4

from goldenpath.deployer.v1 import events_pb2
from services.chassis.errors import Conflict, NotFound
from services.chassis.telemetry import current_traceparent
from services.deployer import events
from services.deployer.domain.deployment import Arm, Deployment, Place, Role
from services.deployer.domain.going_back import Outcome, Signal, Verb, target_of
from services.deployer.domain.rollout import WITH_TRAFFIC, Rollout, State
from services.deployer.events import Asked
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.rollouts import Kept, Progress
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
    await uow.deployments.save(deployment.with_candidate(known.version, known.digest))


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
    sentence = f"version {moved.version} began with {moved.weight} % of the traffic"
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


async def hold(
    place: Place,
    reason: str,
    uow: DeployerUnitOfWork,
    *,
    signal_id: str = "",
    decision: events_pb2.Decision | None = None,
) -> None:
    """The deployment serves on, and nothing automatic happens."""
    deployment = await uow.deployments.lock(place)
    after = deployment.held(reason, signal_id=signal_id)
    if after == deployment:
        return
    await uow.deployments.save(after)
    body = events_pb2.DeploymentHeld(position=events.position_of(after), decision=decision, reason=reason)
    await events.tell(uow, place, events.HELD, body, f"held: {reason}")


async def release(place: Place, reason: str, uow: DeployerUnitOfWork, *, signal_id: str = "") -> None:
    """The hold is lifted; a step that was under way is judged on the traffic from now on."""
    deployment = await uow.deployments.lock(place)
    if deployment.hold is None:
        return
    after = deployment.released()
    await uow.deployments.save(after)
    active = await uow.rollouts.active(place)
    if active is not None:
        await uow.rollouts.note(active.rollout, Progress())
    body = events_pb2.DeploymentReleased(
        position=events.position_of(after), actor="" if signal_id else uow.actor, signal_id=signal_id, reason=reason
    )
    await events.tell(uow, place, events.RELEASED, body, f"released: {reason}")


async def open_decision(signal: Signal, place: Place, uow: DeployerUnitOfWork) -> None:
    """Decide about a signal, once; a stale one changes nothing."""
    deployment = await uow.deployments.lock(place)
    arm = deployment.arm_of(signal.version, signal.epoch)
    if arm is None:
        return
    if arm is Arm.STABLE:
        await uow.stays.signalled(place, signal.version)
    await uow.decisions.open(uuid4(), place, signal, traceparent=current_traceparent())


async def clear_signal(signal_id: str, place: Place, sentence: str, uow: DeployerUnitOfWork) -> None:
    """What a signal spoke of is over: a hold for its sake is lifted."""
    deployment = await uow.deployments.lock(place)
    await uow.decisions.clear(signal_id)
    if deployment.hold is not None and deployment.hold.signal_id == signal_id:
        await release(place, sentence or "the signal cleared", uow, signal_id=signal_id)


async def revoke_version(place: Place, version: int, reason: str, uow: DeployerUnitOfWork) -> None:
    """An approval was taken back: a candidate loses its traffic; a stable is held, or goes where the policy says."""
    deployment = await uow.deployments.lock(place)
    await uow.versions.revoke(place, version)
    words = f"its approval was revoked: {reason}"
    for kept in await uow.rollouts.open(place):
        if kept.rollout.version == version:
            await abort_rollout(kept.rollout.id, place, words, uow)
    if deployment.stable is None or deployment.stable.version != version:
        return
    known = await uow.versions.get(place, version)
    target = await rollback_target(deployment, uow)
    if known.policy.back_when_revoked and target is not None and deployment.candidate is None:
        await go_back(place, target, words, Asked(uuid4(), uow.now), uow)
    else:
        await hold(place, words, uow)


async def rollback_target(deployment: Deployment, uow: DeployerUnitOfWork, *, version: int = 0) -> Role | None:
    """Where to go back to by the rules; or a version that a person names, where it was a stable and isn't revoked."""
    if deployment.stable is None:
        return None
    stays = await uow.stays.all(deployment.place)
    if version:
        named = [stay for stay in stays if stay.role.version == version and not stay.revoked]
        return named[-1].role if named else None
    policy = (await uow.versions.get(deployment.place, deployment.stable.version)).policy
    return target_of(stays, stable=deployment.stable.version, minimum_served=policy.minimum_served)


async def go_back(
    place: Place,
    target: Role,
    reason: str,
    asked: Asked,
    uow: DeployerUnitOfWork,
    *,
    outcome: Outcome | None = None,
) -> events_pb2.Decision:
    """An earlier version becomes the stable again. It asks nobody: the target's admission is kept with its record."""
    before = await uow.deployments.lock(place)
    if before.stable is None:
        raise NotFound(f"{place} has no stable version to take back")
    known = await uow.versions.get(place, target.version)
    active = await uow.rollouts.active(place)
    if active is not None:
        await uow.rollouts.save(active.rollout.abort(reason))
    await uow.stays.left_for_cause(place, before.stable.version)
    after = before.gone_back(Role(target.version, known.digest), automatic=not asked.actor)
    if after.stable is not None:
        await uow.stays.begin(place, after.stable)
    await uow.deployments.save(after)
    made = outcome or Outcome(Verb.ROLL_BACK, reason, target)
    decision = await _record(asked, made, before, uow)
    decided = events_pb2.DeploymentRollbackDecided(decision=decision)
    words = f"go back from version {before.stable.version} to {target.version}: {reason}"
    await events.tell(uow, place, events.ROLLBACK_DECIDED, decided, f"decided to {words}")
    body = events_pb2.DeploymentRolledBack(
        position=events.position_of(after),
        from_version=before.stable.version,
        to_version=target.version,
        decision=decision,
        reason=reason,
    )
    sentence = f"went back from version {before.stable.version} to {target.version}: {reason}"
    await events.tell_once_effective(uow, place, events.ROLLED_BACK, body, sentence)
    return decision


async def settle(decision_id: UUID, outcome: Outcome, seen: Deployment, uow: DeployerUnitOfWork) -> bool:
    """Act on what was decided about a signal; False where the deployment or the signal moved on meanwhile."""
    deployment = await uow.deployments.lock(seen.place)
    case = await uow.decisions.case(decision_id)
    if not case.open:
        return True
    if deployment != seen or (case.cleared and outcome.verb is not Verb.IGNORE):
        return False
    asked = Asked(case.id, case.received_at, case.signal)
    if outcome.verb is Verb.ROLL_BACK and outcome.target is not None:
        await go_back(seen.place, outcome.target, outcome.reason, asked, uow, outcome=outcome)
        return True
    decision = await _record(asked, outcome, deployment, uow)
    if outcome.verb is Verb.ABORT:
        active = await uow.rollouts.active(seen.place)
        if active is not None:
            await abort_rollout(active.rollout.id, seen.place, outcome.reason, uow, decision=decision)
    elif outcome.verb is not Verb.IGNORE:
        await hold(seen.place, outcome.reason, uow, signal_id=case.signal.id, decision=decision)
    return True


async def _record(
    asked: Asked, outcome: Outcome, deployment: Deployment, uow: DeployerUnitOfWork
) -> events_pb2.Decision:
    decision = events.decision_of(asked, outcome, deployment, decided_at=uow.now)
    await uow.decisions.record(
        asked.decision,
        deployment.place,
        asked.signal.id if asked.signal else "",
        decision.SerializeToString(),
        received_at=asked.received_at,
        traceparent=current_traceparent(),
    )
    return decision


async def _going_on(rollout_id: UUID, place: Place, uow: DeployerUnitOfWork) -> tuple[Deployment, Kept]:
    return await uow.deployments.lock(place), await uow.rollouts.get(rollout_id)


async def _move(deployment: Deployment, rollout: Rollout, uow: DeployerUnitOfWork) -> Deployment:
    await uow.rollouts.save(rollout)
    if rollout.state is State.PROMOTED:
        after = deployment.promoted()
        if after.stable is not None:
            await uow.stays.begin(rollout.place, after.stable)
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
