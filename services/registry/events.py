"""What the registry tells, on registry.events: every event that a handler emits is made here."""

from __future__ import annotations

from goldenpath.registry.v1 import events_pb2 as told
from services.chassis.database import UnitOfWork
from services.chassis.topics import REGISTRY
from services.registry import messages
from services.registry.domain.aliases import Pointing
from services.registry.domain.datasets import Dataset
from services.registry.domain.models import Actor
from services.registry.domain.versions import Version


def tell_registered(version: Version, uow: UnitOfWork) -> None:
    """A version was registered, or what is said about its model or datasets has grown."""
    uow.emit(REGISTRY, "model.registered", f"model/{version.model}", messages.registered_message(version))


def tell_dataset(dataset: Dataset, uow: UnitOfWork) -> None:
    """A dataset, or a new revision of its datasheet, was registered: whoever judges by it looks again."""
    uow.emit(REGISTRY, "dataset.registered", f"dataset/{dataset.name}", messages.dataset_told(dataset))


def tell_retired(version: Version, actor: Actor, reason: str, uow: UnitOfWork) -> None:
    """A version is out of use for good."""
    body = told.ModelRetired(
        model=version.model, version=version.number, retired_by=messages.actor_message(actor), reason=reason
    )
    uow.emit(REGISTRY, "model.retired", f"model/{version.model}", body)


def tell_promoted(pointing: Pointing, left: int, uow: UnitOfWork) -> None:
    """An alias moved to the version that serves now."""
    body = told.ModelPromoted(
        model=pointing.model,
        version=pointing.version,
        alias=pointing.alias,
        previous_version=left,
        epoch=pointing.epoch,
    )
    uow.emit(REGISTRY, "model.promoted", f"model/{pointing.model}", body)


def tell_demoted(pointing: Pointing, taken_back: int, reason: str, uow: UnitOfWork) -> None:
    """An alias moved back to a version that serves again."""
    body = told.ModelDemoted(
        model=pointing.model,
        version=taken_back,
        alias=pointing.alias,
        successor_version=pointing.version,
        epoch=pointing.epoch,
        reason=reason,
    )
    uow.emit(REGISTRY, "model.demoted", f"model/{pointing.model}", body)
