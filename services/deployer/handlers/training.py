"""Requests for a new version: one is made, and one is answered."""

from __future__ import annotations

from uuid import UUID, uuid4

from goldenpath.deployer.v1 import events_pb2
from services.chassis.telemetry import current_traceparent
from services.deployer import events
from services.deployer.domain.deployment import Place
from services.deployer.store import DeployerUnitOfWork


async def request(
    place: Place, reason: str, uow: DeployerUnitOfWork, *, decision: events_pb2.Decision | None = None
) -> tuple[events_pb2.TrainingRequested, bool]:
    """Ask for a new version; the request that stands, and whether it was made now.

    Args:
        place: Which deployment; locked until the commit.
        reason: Why, in a sentence.
        uow: The transaction.
        decision: What says so; None where a person asks.
    """
    deployment = await uow.deployments.lock(place)
    standing = await uow.trainings.open(place)
    if standing is not None:
        return events_pb2.TrainingRequested.FromString(standing), False
    asked = uuid4()
    body = events_pb2.TrainingRequested(
        id=str(asked),
        position=events.position_of(deployment),
        decision=decision,
        actor="" if decision else uow.actor,
        reason=reason,
        requested_at=events.timestamp(uow.now),
        traceparent=current_traceparent(),
    )
    await uow.trainings.add(asked, place, body.SerializeToString())
    await events.tell(uow, place, events.TRAINING_REQUESTED, body, f"asked for a new version: {reason}")
    return body, True


async def answer(model: str, version: int, request_id: str, uow: DeployerUnitOfWork) -> None:
    """A version was registered that was trained because of a request; an id of somebody else's answers nothing."""
    try:
        asked = UUID(request_id)
    except ValueError:
        return
    await uow.trainings.answer(asked, model, version)
