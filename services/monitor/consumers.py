"""The control events and outcomes that the monitor consumes; records have a stream of their own (`stream`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

from goldenpath.deployer.v1 import events_pb2 as deployer_pb
from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from services.chassis.database import Database
from services.chassis.kafka import Consumer, Received
from services.chassis.settings import KafkaAccess
from services.chassis.signatures import Signers
from services.chassis.topics import DEPLOYER, MONITOR, OUTCOMES, Topic
from services.monitor import handlers
from services.monitor.store import MonitorUnitOfWork

NAME: Final = "monitor"

Positioned = TypeVar(
    "Positioned",
    deployer_pb.DeploymentStarted,
    deployer_pb.DeploymentAdvanced,
    deployer_pb.DeploymentPromoted,
    deployer_pb.DeploymentRolledBack,
)  # the events that say where a deployment stands


def consumer_of(
    database: Database[MonitorUnitOfWork],
    *,
    kafka: KafkaAccess,
    session_timeout: timedelta,
    signers: Signers | None = None,
    name: str = NAME,
) -> Consumer[MonitorUnitOfWork]:
    """The monitor's consumer."""
    topics: list[Topic] = [DEPLOYER, OUTCOMES]
    consumer = Consumer(
        name,
        topics,
        database=database,
        kafka=kafka,
        rejections=MONITOR,
        forget=handlers.forget_positions,
        signers=signers,
        session_timeout=session_timeout,
    )
    consumer.on("deployment.started", deployer_pb.DeploymentStarted, _on_position, read_model=True)
    consumer.on("deployment.advanced", deployer_pb.DeploymentAdvanced, _on_position, read_model=True)
    consumer.on("deployment.promoted", deployer_pb.DeploymentPromoted, _on_position, read_model=True)
    consumer.on("deployment.rolled_back", deployer_pb.DeploymentRolledBack, _on_position, read_model=True)
    consumer.on("deployment.retired", deployer_pb.DeploymentRetired, _on_retired, read_model=True)
    consumer.on("outcome.recorded", ingest_pb.OutcomeRecorded, _on_outcome)
    return consumer


async def _on_position(received: Received[Positioned], uow: MonitorUnitOfWork) -> None:
    await handlers.take_position(received.body.position, uow)


async def _on_retired(received: Received[deployer_pb.DeploymentRetired], uow: MonitorUnitOfWork) -> None:
    await handlers.take_retired(received.body.position, uow)


async def _on_outcome(received: Received[ingest_pb.OutcomeRecorded], uow: MonitorUnitOfWork) -> None:
    await handlers.take_outcome(received.body, uow)
