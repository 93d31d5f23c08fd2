"""What governance hears: versions and datasets from the registry, effects from the deployer."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.deployer.v1 import events_pb2 as deployer_pb
from goldenpath.registry.v1 import events_pb2 as registry_pb
from services.chassis.database import Database
from services.chassis.kafka import Consumer, Received
from services.chassis.settings import KafkaAccess
from services.chassis.topics import DEPLOYER, REGISTRY
from services.governance import handlers
from services.governance.clients import FactSource
from services.governance.domain.served import Moment
from services.governance.requests import PRODUCTION, moment_of
from services.governance.store import GovernanceUnitOfWork

NAME: Final = "governance"

Uow = GovernanceUnitOfWork


def consumer_of(
    database: Database[Uow], registry: FactSource, *, kafka: KafkaAccess, session_timeout: timedelta, name: str = NAME
) -> Consumer[Uow]:
    """The consumer, told what to do with each type of event.

    `ce_actor` is never looked at: who registered a version is the registry's word, asked by gRPC.
    """
    topics = (REGISTRY, DEPLOYER)
    consumer = Consumer(
        name,
        topics,
        database=database,
        kafka=kafka,
        forget=handlers.forget_what_served,
        session_timeout=session_timeout,
    )

    async def on_registered(received: Received[registry_pb.ModelRegistered], uow: Uow) -> None:
        await handlers.look_at_version(received.body.model, received.body.version, uow, registry)

    async def on_retired(received: Received[registry_pb.ModelRetired], uow: Uow) -> None:
        await handlers.look_at_version(received.body.model, received.body.version, uow, registry)

    async def on_dataset(received: Received[registry_pb.DatasetRegistered], uow: Uow) -> None:
        await handlers.look_again_at_users_of(received.body.name, received.body.version, uow)

    consumer.on("model.registered", registry_pb.ModelRegistered, on_registered)
    consumer.on("model.retired", registry_pb.ModelRetired, on_retired)
    consumer.on("dataset.registered", registry_pb.DatasetRegistered, on_dataset)
    consumer.on("deployment.started", deployer_pb.DeploymentStarted, _on_started, read_model=True)
    consumer.on("deployment.advanced", deployer_pb.DeploymentAdvanced, _on_advanced, read_model=True)
    consumer.on("deployment.promoted", deployer_pb.DeploymentPromoted, _on_promoted, read_model=True)
    consumer.on("deployment.rolled_back", deployer_pb.DeploymentRolledBack, _on_rolled_back, read_model=True)
    consumer.on("deployment.retired", deployer_pb.DeploymentRetired, _on_deployment_retired, read_model=True)
    return consumer


async def _on_started(received: Received[deployer_pb.DeploymentStarted], uow: Uow) -> None:
    body = received.body
    moment = _moment(received, body.position, body.effective_at, body.position.candidate_version, body.verdict_id)
    await handlers.note_moment(moment, uow)


async def _on_advanced(received: Received[deployer_pb.DeploymentAdvanced], uow: Uow) -> None:
    body = received.body
    moment = _moment(received, body.position, body.effective_at, body.position.candidate_version, body.verdict_id)
    await handlers.note_moment(moment, uow)


async def _on_promoted(received: Received[deployer_pb.DeploymentPromoted], uow: Uow) -> None:
    body = received.body
    moment = _moment(received, body.position, body.effective_at, body.position.stable_version, body.verdict_id)
    await handlers.note_moment(moment, uow)


async def _on_rolled_back(received: Received[deployer_pb.DeploymentRolledBack], uow: Uow) -> None:
    await handlers.note_moment(_moment(received, received.body.position, received.body.effective_at), uow)


async def _on_deployment_retired(received: Received[deployer_pb.DeploymentRetired], uow: Uow) -> None:
    gone = deployer_pb.Position()
    gone.CopyFrom(received.body.position)
    gone.stable_version = gone.candidate_version = gone.candidate_weight = 0
    gone.holdback_version = gone.holdback_weight = 0
    await handlers.note_moment(_moment(received, gone, received.body.effective_at), uow)


def _moment(
    received: Received[deployer_pb.DeploymentStarted]
    | Received[deployer_pb.DeploymentAdvanced]
    | Received[deployer_pb.DeploymentPromoted]
    | Received[deployer_pb.DeploymentRolledBack]
    | Received[deployer_pb.DeploymentRetired],
    position: deployer_pb.Position,
    effective_at: Timestamp,
    verdict_version: int = 0,
    verdict: str = "",
) -> Moment:
    return Moment(
        model=position.model,
        environment=position.environment or PRODUCTION,
        epoch=position.epoch,
        stable_version=position.stable_version,
        candidate_version=position.candidate_version,
        candidate_weight=position.candidate_weight,
        effective_at=moment_of(effective_at, "effective_at"),
        verdict_version=verdict_version,
        verdict=verdict,
        topic=received.raw.topic,
        partition=received.raw.partition,
        offset=received.raw.offset,
        holdback_version=position.holdback_version,
        holdback_weight=position.holdback_weight,
    )
