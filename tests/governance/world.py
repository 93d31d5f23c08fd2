"""A running governance with a real registry beside it: what the tests of the whole service stand on."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaProducer

from goldenpath.registry.v1 import events_pb2 as registry_pb
from goldenpath.registry.v1 import registry_service_pb2 as registry_service_pb
from goldenpath.registry.v1.registry_service_pb2_grpc import (
    RegistryServiceServicer,
)
from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.errors import NotFound
from services.chassis.identity import Role
from services.chassis.testing import Issuer, emitted
from services.chassis.topics import REGISTRY
from tests.governance.cases import DIGEST, QUESTIONS
from tests.governance.conftest import Client


class Registry(RegistryServiceServicer):
    """A registry's gRPC methods over what a test puts in."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, int], registry_service_pb.Version] = {}
        self.datasets: dict[str, registry_service_pb.Dataset] = {}

    async def GetVersion(self, request: Any, context: Any) -> registry_service_pb.GetVersionResponse:  # noqa: N802, ARG002 - the contract's name and shape
        try:
            version = self.versions[request.model, request.version]
        except KeyError:
            raise NotFound(f"there is no {request.model}@{request.version}") from None
        model = registry_service_pb.Model(name=request.model, owner="risk-team")
        return registry_service_pb.GetVersionResponse(version=version, model=model)

    async def GetDataset(self, request: Any, context: Any) -> registry_service_pb.GetDatasetResponse:  # noqa: N802, ARG002 - the contract's name and shape
        return registry_service_pb.GetDatasetResponse(dataset=self.datasets[request.name])


class World:
    """A running governance, its registry, and Kafka around it."""

    def __init__(self, registry: Registry, issuer: Issuer, unique: str, producer: AIOKafkaProducer) -> None:
        self.registry = registry
        self.issuer = issuer
        self.model = f"m-{unique}"
        self.dataset = f"d-{unique}"
        self.producer = producer
        self.sequences: dict[str, int] = {}
        self.address = ""
        self.url = ""

    def register(
        self, version: int = 1, *, answered: bool = True, verified: bool = True
    ) -> registry_pb.ModelRegistered:
        """A version that is in the registry, and the event that tells of it."""
        self.document(answered=answered)
        told = registry_pb.ModelRegistered(
            model=self.model,
            version=version,
            risk_tier=registry_pb.RISK_TIER_HIGH,
            owner="risk-team",
            artifact_digest=DIGEST,
            environment_digest="e" * 64,
            datasets=[registry_pb.DatasetRef(name=self.dataset, version=1)],
            metrics={"log_loss": 0.12},
            promise=registry_pb.Promise(metric="log_loss", value=0.12),
            registered_by=registry_pb.Actor(subject="mia", verified=verified),
            profile_digest="f" * 64,
        )
        self.registry.versions[self.model, version] = registry_service_pb.Version(
            registered=told, signature_json="{}", requirements=["scikit-learn==1.6.1"]
        )
        return told

    def document(self, *, answered: bool) -> registry_pb.DatasetRegistered:
        told = registry_pb.DatasetRegistered(
            name=self.dataset, version=1, owner="data-office", licence="CC-BY-4.0", personal_data="none"
        )
        answers = dict.fromkeys(QUESTIONS if answered else QUESTIONS[:-1], "an answer")
        self.registry.datasets[self.dataset] = registry_service_pb.Dataset(registered=told, answers=answers)
        return told

    def event(self, body: Any, type_name: str, subject: str = "", **more: Any) -> CloudEvent:
        subject = subject or f"model/{self.model}"
        self.sequences[subject] = self.sequences.get(subject, 0) + 1
        source = f"goldenpath/{type_name.partition('.')[0]}-test"
        return emitted(body, type_name, subject=subject, sequence=self.sequences[subject], source=source, **more)

    async def send(self, event: CloudEvent, topic: str = REGISTRY.name, **more: Any) -> Any:
        headers = more.get("headers") or headers_of(event)
        key = event.subject.encode()
        return await self.producer.send_and_wait(topic, more.get("value", event.data), key=key, headers=headers)

    def client(self, who: str, *roles: Role) -> Client:
        return Client(self.address, self.issuer.token(who, *roles))
