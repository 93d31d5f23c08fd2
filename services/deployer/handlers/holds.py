"""Holds: the deployment serves on, and nothing automatic happens."""

from __future__ import annotations

from goldenpath.deployer.v1 import events_pb2
from services.deployer import events
from services.deployer.domain.deployment import Place
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.rollouts import Progress


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
