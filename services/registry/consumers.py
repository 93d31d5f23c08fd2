"""What the registry hears: other systems on ingest.events, the deployer on deployer.events.

An actor on ingest.events is a claim, unless the event is signed: anybody may write that topic. The artifact of a
training that ended is brought in here, inside the event's transaction; so that a batch of them doesn't hold the
registry's turn for long, a registration that isn't alone in its transaction sends the batch back, to be handled one by
one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from goldenpath.deployer.v1 import events_pb2 as deployer_pb2
from goldenpath.ingest.v1 import events_pb2 as ingest_pb2
from services.chassis.database import Database
from services.chassis.errors import Conflict, Invalid, NotFound
from services.chassis.kafka import Consumer, Received
from services.chassis.settings import KafkaAccess
from services.chassis.signatures import Signers
from services.chassis.topics import DEPLOYER, INGEST, REGISTRY
from services.registry import handlers, messages
from services.registry.clients import Runs
from services.registry.domain import aliases, datasets, names, registrations
from services.registry.domain.aliases import Pointing
from services.registry.domain.models import Actor
from services.registry.store import RegistryUnitOfWork

_PATIENCE: Final = timedelta(minutes=10)  # for a run to show in MLflow: longer than its server's restart


class Trainings:
    """Registers what was trained.

    Args:
        runs: Where the runs are.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def on_training_completed(
        self, received: Received[ingest_pb2.TrainingCompleted], uow: RegistryUnitOfWork
    ) -> None:
        """Register the version that a training ended with."""
        asked = registrations.checked(messages.registration_of(received.body.registration))
        if uow.store.took_turn:
            raise Conflict("a registration has a transaction of its own")
        try:
            run = await self._runs.bring(asked.mlflow_run)
        except NotFound as error:
            if uow.now - received.event.time < _PATIENCE:
                raise
            minutes = int(_PATIENCE.total_seconds() // 60)
            raise Invalid(f"{error.what}, {minutes} minutes after it was told", where="mlflow_run") from error
        await handlers.register_version(asked, run, actor_of(received), uow)


async def on_dataset_documented(received: Received[ingest_pb2.DatasetDocumented], uow: RegistryUnitOfWork) -> None:
    """Register a dataset, or a better datasheet."""
    given = datasets.checked(messages.dataset_input_of(received.body.dataset))
    await handlers.register_dataset(given, actor_of(received), uow)


async def on_project_started(received: Received[ingest_pb2.ProjectStarted], uow: RegistryUnitOfWork) -> None:
    """Note when a project began."""
    body = received.body
    model = names.model_name(body.model)
    project = names.text(body.project, where="project") or model
    if not body.HasField("started_at"):
        raise Invalid("when did it start?", where="started_at")
    started_at = messages.moment(body.started_at, where="started_at")
    await handlers.start_project(project, model, names.text(body.owner, where="owner"), started_at, uow)


async def on_promoted(received: Received[deployer_pb2.DeploymentPromoted], uow: RegistryUnitOfWork) -> None:
    """The champion is the version that has all the traffic now."""
    body = received.body
    await handlers.promote(_pointing(body.position, body.position.stable_version, received), uow)


async def on_rolled_back(received: Received[deployer_pb2.DeploymentRolledBack], uow: RegistryUnitOfWork) -> None:
    """The champion is the earlier version again; where only a candidate was aborted, it never changed."""
    body = received.body
    if body.aborted:
        return
    reason = body.reason or body.decision.reason
    await handlers.demote(_pointing(body.position, body.to_version, received), body.from_version, reason, uow)


async def on_retired(received: Received[deployer_pb2.DeploymentRetired], uow: RegistryUnitOfWork) -> None:
    """Nothing of the model serves in the environment."""
    position = received.body.position
    alias, until = aliases.champion(position.environment), _effective(received)
    await handlers.end_alias(position.model, alias, position.epoch, until, uow)


def _pointing(
    position: deployer_pb2.Position,
    version: int,
    received: Received[deployer_pb2.DeploymentPromoted] | Received[deployer_pb2.DeploymentRolledBack],
) -> Pointing:
    alias = aliases.champion(position.environment)
    return Pointing(position.model, alias, version, position.epoch, _effective(received))


def _effective(
    received: Received[deployer_pb2.DeploymentPromoted]
    | Received[deployer_pb2.DeploymentRolledBack]
    | Received[deployer_pb2.DeploymentRetired],
) -> datetime:
    """When the proxy showed it."""
    body = received.body
    told = body.HasField("effective_at")
    return messages.moment(body.effective_at, where="effective_at") if told else received.event.time


def actor_of(received: Received[ingest_pb2.TrainingCompleted] | Received[ingest_pb2.DatasetDocumented]) -> Actor:
    """Who an event on somebody else's topic says it is from: a claim, unless a signature proves it."""
    return Actor(received.event.actor or received.event.source, verified=received.proven)


def consumer_of(
    database: Database[RegistryUnitOfWork],
    runs: Runs,
    *,
    kafka: KafkaAccess,
    session_timeout: timedelta,
    signers: Signers | None = None,
) -> Consumer[RegistryUnitOfWork]:
    """The registry's consumer, with everything that it handles."""
    consumer = Consumer(
        "registry",
        [INGEST, DEPLOYER],
        database=database,
        kafka=kafka,
        rejections=REGISTRY,
        forget=handlers.forget_what_others_told,
        signers=signers,
        session_timeout=session_timeout,
    )
    consumer.on("training.completed", ingest_pb2.TrainingCompleted, Trainings(runs).on_training_completed)
    consumer.on("dataset.documented", ingest_pb2.DatasetDocumented, on_dataset_documented)
    consumer.on("project.started", ingest_pb2.ProjectStarted, on_project_started, read_model=True)
    consumer.on("deployment.promoted", deployer_pb2.DeploymentPromoted, on_promoted, read_model=True)
    consumer.on("deployment.rolled_back", deployer_pb2.DeploymentRolledBack, on_rolled_back, read_model=True)
    consumer.on("deployment.retired", deployer_pb2.DeploymentRetired, on_retired, read_model=True)
    return consumer
