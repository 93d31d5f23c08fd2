"""The end of a deployment: nothing of the model serves in the environment until a version is deployed anew."""

from __future__ import annotations

from goldenpath.deployer.v1 import events_pb2
from services.deployer import events
from services.deployer.domain.deployment import Place
from services.deployer.store import DeployerUnitOfWork


async def retire(place: Place, reason: str, uow: DeployerUnitOfWork) -> None:
    """The routes go, then the servers; what waited to come is over, and nothing of it is there to go back to."""
    before = await uow.deployments.lock(place)
    after = before.retired()
    for kept in await uow.rollouts.open(place):
        await uow.rollouts.save(kept.rollout.abort(f"the deployment was retired: {reason}"))
    await uow.stays.forget(place)
    await uow.deployments.save(after)
    stood = events.position_of(before)
    stood.epoch = after.epoch
    body = events_pb2.DeploymentRetired(position=stood, actor=uow.actor, reason=reason)
    await events.tell_once_effective(uow, place, events.RETIRED, body, f"retired: {reason}")
