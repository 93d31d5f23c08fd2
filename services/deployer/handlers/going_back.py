"""Signals, revocations, and the way back."""

from __future__ import annotations

from uuid import UUID, uuid4

from goldenpath.deployer.v1 import events_pb2
from services.chassis.errors import Conflict, NotFound
from services.chassis.telemetry import current_traceparent
from services.deployer import events
from services.deployer.domain.deployment import Arm, Deployment, Place, Role
from services.deployer.domain.going_back import Outcome, Signal, Verb, target_of
from services.deployer.events import Asked
from services.deployer.handlers import holds, rollouts, training
from services.deployer.store import DeployerUnitOfWork


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
        await holds.release(place, sentence or "the signal cleared", uow, signal_id=signal_id)


async def revoke_version(place: Place, version: int, reason: str, uow: DeployerUnitOfWork) -> None:
    """An approval was taken back: a candidate loses its traffic; a stable is held, or goes where the policy says."""
    words = f"its approval was revoked: {reason}"
    deployment = await _withdraw(place, version, words, uow)
    if deployment.stable is None or deployment.stable.version != version:
        return
    known = await uow.versions.get(place, version)
    target = await rollback_target(deployment, uow)
    if known.policy.back_when_revoked and target is not None and deployment.may_go_back:
        await go_back(place, target, words, Asked(uuid4(), uow.now), uow)
    else:
        await holds.hold(place, words, uow)


async def retire_version(place: Place, version: int, reason: str, uow: DeployerUnitOfWork) -> None:
    """A version is out of use: it is nothing to come or go back to; the registry retires none that serves."""
    await _withdraw(place, version, f"it was retired: {reason}", uow)


async def give_up_version(place: Place, version: int, uow: DeployerUnitOfWork) -> None:
    """Its bytes don't verify any more, or its server doesn't start: it is no fallback, and nothing to go back to."""
    deployment = await uow.deployments.lock(place)
    await uow.versions.give_up(place, version)
    await _stand_aside(deployment, version, "its server doesn't start", uow)


async def _withdraw(place: Place, version: int, words: str, uow: DeployerUnitOfWork) -> Deployment:
    """A version that may serve no longer: a rollout of it ends, it stands behind nobody, nothing goes back to it."""
    await uow.versions.revoke(place, version)
    deployment = await _stand_aside(await uow.deployments.lock(place), version, words, uow)
    for kept in await uow.rollouts.open(place):
        if kept.rollout.version == version:
            await rollouts.abort_rollout(kept.rollout.id, place, words, uow)
    return deployment


async def _stand_aside(deployment: Deployment, version: int, why: str, uow: DeployerUnitOfWork) -> Deployment:
    """A warm version that may not serve, or can't: nothing falls back on it, and no unit stays with it."""
    if deployment.warm is None or deployment.warm.version != version:
        return deployment
    after = deployment.without_warm()
    await uow.deployments.save(after)
    if deployment.held_back:
        body = events_pb2.DeploymentAdvanced(position=events.position_of(after))
        sentence = f"the {deployment.held_back} % of the units that stayed with version {version} left it: {why}"
        await events.tell_once_effective(uow, deployment.place, events.ADVANCED, body, sentence)
    return after


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


def nowhere(place: Place, version: int) -> Conflict:
    """Why a person's command to go back, to a version or to whichever the rules choose, leads nowhere."""
    if version:
        why = "it never had all the traffic, or its approval was revoked"
        return Conflict(f"{place} can't go back to version {version}: {why}", fix=f"golden history {place.model}")
    return Conflict(
        f"{place} has no earlier version that it can go back to: none served long enough without trouble",
        fix=f"name one yourself: golden rollback {place.model}@N",
    )


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
    active = await uow.rollouts.active(place)
    if active is not None:
        await uow.rollouts.save(active.rollout.abort(reason))
    await uow.stays.left_for_cause(place, before.stable.version)
    after = before.gone_back(target, automatic=not asked.actor)
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


async def leave_for_holdback(seen: Deployment, found: str, uow: DeployerUnitOfWork) -> None:
    """The stable does worse than the version before it on the same traffic: back, or held where nobody may go back."""
    deployment = await uow.deployments.lock(seen.place)
    if deployment != seen or deployment.stable is None:
        return
    target = await rollback_target(deployment, uow)
    reason = f"version {deployment.stable.version} does worse than the units that stayed behind: {found}"
    asked = Asked(uuid4(), uow.now)
    if target is None or deployment.went_back:
        decision = await _record(asked, Outcome(Verb.HOLD, reason, target), deployment, uow)
        await holds.hold(seen.place, reason, uow, decision=decision)
    else:
        await go_back(seen.place, target, reason, asked, uow)


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
            await rollouts.abort_rollout(active.rollout.id, seen.place, outcome.reason, uow, decision=decision)
    elif outcome.verb is Verb.RETRAIN:  # it serves on, and a new version may come: that is what helps
        await training.request(seen.place, outcome.reason, uow, decision=decision)
    elif outcome.verb is not Verb.IGNORE:
        await holds.hold(seen.place, outcome.reason, uow, signal_id=case.signal.id, decision=decision)
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
