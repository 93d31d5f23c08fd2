"""What a person may ask the registry to do, by gRPC or HTTP: who may, then the transaction, then the answer."""

from __future__ import annotations

from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.database import Database
from services.chassis.errors import Invalid
from services.chassis.identity import Caller, Role
from services.registry import handlers, messages, reads
from services.registry.clients import Runs, Serving
from services.registry.domain import datasets, models, names, registrations
from services.registry.domain.models import Actor
from services.registry.store import RegistryUnitOfWork


class Commands:
    """The registry's commands.

    Args:
        database: Where they commit.
        runs: Where the runs are.
        serving: Asked before a version is retired.
    """

    def __init__(self, database: Database[RegistryUnitOfWork], runs: Runs, serving: Serving) -> None:
        self._database = database
        self._runs = runs
        self._serving = serving

    async def register_version(self, request: pb.RegisterVersionRequest, caller: Caller) -> pb.RegisterVersionResponse:
        """Register a version from an MLflow run."""
        actor = _actor(caller.require(Role.SCIENTIST))
        asked = registrations.checked(messages.registration_of(request))
        run = await self._runs.bring(asked.mlflow_run)
        async with self._database.begin(actor=actor.subject) as uow:
            version, created = await handlers.register_version(asked, run, actor, uow)
        return pb.RegisterVersionResponse(version=messages.version_message(version), created=created)

    async def register_dataset(self, request: pb.RegisterDatasetRequest, caller: Caller) -> pb.RegisterDatasetResponse:
        """Register a dataset, or a new revision of its datasheet."""
        actor = _actor(caller.require(Role.SCIENTIST))
        given = datasets.checked(messages.dataset_input_of(request.dataset))
        async with self._database.begin(actor=actor.subject) as uow:
            dataset, changed = await handlers.register_dataset(given, actor, uow)
        return pb.RegisterDatasetResponse(dataset=messages.dataset_message(dataset), changed=changed)

    async def retire_version(self, request: pb.RetireVersionRequest, caller: Caller) -> pb.RetireVersionResponse:
        """Take a version out of use for good."""
        actor = _actor(caller.require(Role.SCIENTIST, Role.OPERATOR))
        model, number = names.model_name(request.model), names.version_number(request.version)
        if not number:
            raise Invalid("which version? Its number, from 1", where="version")
        serves = await self._serving.of_version(model, number)
        async with self._database.begin(actor=actor.subject) as uow:
            if Role.OPERATOR not in caller.roles:
                models.check_owner(await reads.get_model(uow.connection, model), actor)
            version = await handlers.retire_version(model, number, request.reason, actor, uow, serves=serves)
        return pb.RetireVersionResponse(version=messages.version_message(version))


def _actor(caller: Caller) -> Actor:
    return Actor(caller.subject, verified=True)
