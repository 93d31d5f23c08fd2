"""The registry, as governance sees it: the facts about a version, as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from goldenpath.registry.v1 import events_pb2 as registry_pb
from goldenpath.registry.v1 import registry_service_pb2 as pb
from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from services.chassis.grpc_client import Sibling
from services.governance.domain.facts import Dataset, Facts

if TYPE_CHECKING:
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub

_RISKS: Final = {
    registry_pb.RISK_TIER_MINIMAL: "minimal",
    registry_pb.RISK_TIER_LIMITED: "limited",
    registry_pb.RISK_TIER_HIGH: "high",
}


class FactSource(Protocol):
    """Whoever knows the facts."""

    async def facts(self, model: str, version: int) -> Facts:
        """The facts about a version, as they are now.

        Raises:
            NotFound: the version, or a dataset of it, isn't there yet.
            Unavailable: nobody answers.
        """
        ...


class RegistryFacts:
    """Asks the registry by gRPC.

    Args:
        registry: The registry.
    """

    def __init__(self, registry: Sibling) -> None:
        self._registry = registry

    async def facts(self, model: str, version: int) -> Facts:
        """The facts about a version, as they are now."""
        stub: RegistryServiceAsyncStub = RegistryServiceStub(self._registry.channel)
        answer = await self._registry.ask(stub.GetVersion, pb.GetVersionRequest(model=model, version=version))
        datasets = []
        for used in answer.version.registered.datasets:
            asked = pb.GetDatasetRequest(name=used.name, version=used.version)
            datasets.append((await self._registry.ask(stub.GetDataset, asked)).dataset)
        return facts_of(answer.version, answer.model, datasets)


def facts_of(version: pb.Version, model: pb.Model, datasets: list[pb.Dataset]) -> Facts:
    """The facts in what the registry said. What it doesn't say counts as the strictest: a high risk, no owner."""
    told = version.registered
    return Facts(
        model=told.model,
        version=told.version,
        artifact_digest=told.artifact_digest,
        kind="agent" if told.kind == registry_pb.KIND_AGENT else "model",
        risk_tier=_RISKS.get(told.risk_tier, "high"),
        owner=model.owner or told.owner,
        use_case=told.use_case,
        environment_digest=told.environment_digest,
        requirements=tuple(version.requirements),
        code_revision=told.code_revision,
        has_signature=bool(version.signature_json),
        has_reference_profile=bool(told.profile_digest),
        has_input_example=bool(version.input_example_json),
        retired=version.retired,
        author=told.registered_by.subject,
        author_verified=told.registered_by.verified,
        metrics=dict(told.metrics),
        promise_metric=told.promise.metric,
        promise_value=told.promise.value,
        promise_margin=told.promise.margin,
        datasets=tuple(_dataset_of(dataset) for dataset in datasets),
    )


def _dataset_of(dataset: pb.Dataset) -> Dataset:
    told = dataset.registered
    return Dataset(
        name=told.name,
        version=told.version,
        digest=told.digest,
        owner=told.owner,
        licence=told.licence,
        personal_data=told.personal_data,
        answers=dict(dataset.answers),
    )
