"""What the deployer hears: that a version came, may serve, or no longer may; and the monitor's signals.

model.approved is a reason to look: the rollout asks governance and the registry before it begins. A signal carries
all that a decision needs but the sample.
"""

from __future__ import annotations

from typing import TypeVar

from goldenpath.governance.v1 import events_pb2 as governance_pb2
from goldenpath.monitor.v1 import events_pb2 as monitor_pb2
from goldenpath.registry.v1 import events_pb2 as registry_pb2
from services.chassis.kafka import Consumer, Received
from services.chassis.topics import GOVERNANCE, MONITOR, REGISTRY
from services.deployer.domain.deployment import Place
from services.deployer.events import signal_of
from services.deployer.handlers import going_back, rollouts, training
from services.deployer.store import DeployerUnitOfWork

Troubled = TypeVar(
    "Troubled", monitor_pb2.DriftDetected, monitor_pb2.PerformanceDegraded, monitor_pb2.DataQualityViolated
)
"""The events that tell of trouble with a version in its role."""

TOPICS = (GOVERNANCE, MONITOR, REGISTRY)


def subscribe(consumer: Consumer[DeployerUnitOfWork]) -> None:
    """Handle what concerns deployments."""
    consumer.on("model.approved", governance_pb2.ModelApproved, on_approved)
    consumer.on("approval.revoked", governance_pb2.ApprovalRevoked, on_revoked)
    consumer.on("model.registered", registry_pb2.ModelRegistered, on_registered)
    consumer.on("model.retired", registry_pb2.ModelRetired, on_retired)
    consumer.on("drift.detected", monitor_pb2.DriftDetected, on_trouble)
    consumer.on("performance.degraded", monitor_pb2.PerformanceDegraded, on_trouble)
    consumer.on("data_quality.violated", monitor_pb2.DataQualityViolated, on_trouble)
    consumer.on("drift.cleared", monitor_pb2.DriftCleared, on_cleared)


async def on_approved(received: Received[governance_pb2.ModelApproved], uow: DeployerUnitOfWork) -> None:
    """A version may serve in production."""
    verdict = received.body.verdict
    await rollouts.admit_version(Place.named(verdict.model), verdict.version, uow)


async def on_revoked(received: Received[governance_pb2.ApprovalRevoked], uow: DeployerUnitOfWork) -> None:
    """A version may not serve any longer, anywhere."""
    revoked = received.body
    for place in await uow.deployments.of_model(revoked.model):
        await going_back.revoke_version(place, revoked.version, revoked.reason, uow)


async def on_registered(received: Received[registry_pb2.ModelRegistered], uow: DeployerUnitOfWork) -> None:
    """A version came; perhaps one that was asked for."""
    made = received.body
    await training.answer(made.model, made.version, made.training_request, uow)


async def on_retired(received: Received[registry_pb2.ModelRetired], uow: DeployerUnitOfWork) -> None:
    """A version is out of use."""
    retired = received.body
    for place in await uow.deployments.of_model(retired.model):
        await going_back.retire_version(place, retired.version, retired.reason, uow)


async def on_trouble(received: Received[Troubled], uow: DeployerUnitOfWork) -> None:
    """The monitor found trouble with a version in its role."""
    signal = received.body.signal
    place = Place.named(signal.model, signal.environment)
    await going_back.open_decision(signal_of(signal), place, uow)


async def on_cleared(received: Received[monitor_pb2.DriftCleared], uow: DeployerUnitOfWork) -> None:
    """What a signal spoke of is over."""
    cleared = received.body
    place = Place.named(cleared.model, cleared.environment)
    await going_back.clear_signal(cleared.signal_id, place, cleared.sentence, uow)
