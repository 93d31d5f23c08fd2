"""The whole service on a real Kafka and PostgreSQL, beside a registry that answers real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from goldenpath.deployer.v1 import events_pb2 as deployer_pb
from goldenpath.governance.v1 import events_pb2
from goldenpath.governance.v1 import governance_service_pb2 as pb
from goldenpath.registry.v1 import events_pb2 as registry_pb
from goldenpath.registry.v1.registry_service_pb2_grpc import (
    add_RegistryServiceServicer_to_server,
)
from services.chassis.cloudevents import CloudEvent, headers_of, read
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import HttpServer
from services.chassis.identity import Role
from services.chassis.runner import Part
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer, eventually
from services.chassis.topics import DEPLOYER, REGISTRY, create_topics
from services.governance import app
from services.governance.domain import merkle
from services.governance.domain.entries import entry_of
from services.governance.events import timestamp_of
from services.governance.settings import GovernanceSettings
from tests.governance.conftest import Client
from tests.governance.world import Registry, World

REGISTRY_NAME = "goldenpath.registry.v1.RegistryService"


@asynccontextmanager
async def running(parts: list[Part]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for part in parts:
            await part.start()
            stack.push_async_callback(part.stop)
        yield


@pytest.fixture
async def world(
    kafka: str, settings: GovernanceSettings, issuer: Issuer, unique: str, tmp_path: Path
) -> AsyncIterator[World]:
    await create_topics(KafkaAccess(kafka))
    registry = Registry()  # type: ignore[abstract] # governance asks for no more than these two
    registered = (REGISTRY_NAME, lambda server: add_RegistryServiceServicer_to_server(registry, server))
    registry_server = GrpcServer("127.0.0.1:0", [registered], verifier=issuer.verifier(), drain=settings.drain)
    await registry_server.start()
    token_path = tmp_path / "token"
    token_path.write_text(issuer.token("governance", Role.SERVICE))
    told = settings.model_copy(
        update={
            "kafka_bootstrap": kafka,
            "registry_address": f"127.0.0.1:{registry_server.port}",
            "token_path": token_path,
        }
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    made = World(registry, issuer, unique, producer)
    parts = app.parts_of(told, consumer_name=f"governance-{unique}")
    async with running(parts):
        server = next(part for part in parts if isinstance(part, GrpcServer))
        made.address = f"127.0.0.1:{server.port}"
        http = next(part for part in parts if isinstance(part, HttpServer))
        made.url = f"http://127.0.0.1:{http.port}"
        yield made
    await producer.stop()
    await registry_server.stop()


@pytest.fixture
async def auditor(world: World) -> AsyncIterator[Client]:
    made = world.client("ann", Role.AUDITOR)
    yield made
    await made.sibling.close()


@pytest.fixture
async def reviewer(world: World) -> AsyncIterator[Client]:
    made = world.client("rea", Role.REVIEWER)
    yield made
    await made.sibling.close()


async def in_state(client: Client, world: World, state: int, version: int = 1) -> Any:
    """The verdict, once it is in a state."""

    async def asked() -> Any:
        answer = await client.ask("GetVerdict", pb.GetVerdictRequest(model=world.model, version=version))
        return answer.verdict if answer.verdict.state == state else None

    return await eventually(asked, what="the verdict")


async def events_of(kafka: str, topic: str, world: World, *, count: int) -> list[CloudEvent]:
    """The first events on a topic about the world's model."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    found: list[CloudEvent] = []

    async def enough() -> bool:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            events = [read(record.headers, record.value) for record in records if record.key == key]
            found.extend(events)
        return len(found) >= count

    key = f"model/{world.model}".encode()
    try:
        await eventually(enough, what="the events")
    finally:
        await consumer.stop()
    return found


async def test_a_registered_version_goes_through_the_gate(
    kafka: str, world: World, auditor: Client, reviewer: Client
) -> None:
    await world.send(world.event(world.register(answered=False), "model.registered"))
    refused = await in_state(auditor, world, events_pb2.VERDICT_STATE_REJECTED)
    assert [row.rule for row in refused.evidence if row.outcome == events_pb2.OUTCOME_FAILED] == ["dataset-documented"]

    documented = world.document(answered=True)
    await world.send(world.event(documented, "dataset.registered", f"dataset/{world.dataset}"))
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING)
    await reviewer.ask("Approve", pb.ApproveRequest(model=world.model, version=1, comment="fine"))
    await in_state(auditor, world, events_pb2.VERDICT_STATE_APPROVED)

    told = await events_of(kafka, "governance.events", world, count=4)
    assert [event.type for event in told] == [
        "model.rejected",
        "approval.requested",
        "approval.granted",
        "model.approved",
    ]
    assert [event.sequence for event in told] == [1, 2, 3, 4]
    assert [event.actor for event in told[2:]] == ["rea", "rea"]
    assert {event.source for event in told} == {"goldenpath/governance"}


async def test_a_verdict_belongs_to_the_trace_of_what_caused_it(kafka: str, world: World, auditor: Client) -> None:
    registered, documented = "00-" + "a" * 32 + "-" + "1" * 16 + "-01", "00-" + "b" * 32 + "-" + "2" * 16 + "-01"
    await world.send(world.event(world.register(answered=False), "model.registered", traceparent=registered))
    await in_state(auditor, world, events_pb2.VERDICT_STATE_REJECTED)
    dataset = world.document(answered=True)
    subject = f"dataset/{world.dataset}"
    await world.send(world.event(dataset, "dataset.registered", subject, traceparent=documented))
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING)
    told = await events_of(kafka, "governance.events", world, count=2)
    assert [event.traceparent[3:35] for event in told] == ["a" * 32, "b" * 32]


async def test_an_event_twice_and_out_of_order_is_one_verdict(kafka: str, world: World, auditor: Client) -> None:
    first = world.event(world.register(1), "model.registered")
    second = world.event(world.register(2), "model.registered")
    for event in (second, first, second):
        await world.send(event)
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING, version=2)
    third = world.event(world.register(3), "model.registered")
    await world.send(third)
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING, version=3)
    told = await events_of(kafka, "governance.events", world, count=2)
    versions = [events_pb2.ApprovalRequested.FromString(event.data).verdict.version for event in told]
    assert versions == [2, 3]


async def test_a_version_that_the_registry_does_not_have_yet_waits_for_it(world: World, auditor: Client) -> None:
    told = world.register()
    version = world.registry.versions.pop((world.model, 1))
    await world.send(world.event(told, "model.registered"))

    async def is_parked() -> bool:
        answer = await auditor.ask("GetLogHead", pb.GetLogHeadRequest())
        return bool(answer.head.size)

    await eventually(is_parked, what="the event in the log")
    world.registry.versions[world.model, 1] = version
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING)


async def test_a_forged_actor_stays_a_claim(kafka: str, world: World, auditor: Client, reviewer: Client) -> None:
    """The header says that a reviewer did it; the registry says that mia is only claimed. The registry counts."""
    forged = replace(world.event(world.register(verified=False), "model.registered"), actor="rea")
    await world.send(forged)
    verdict = await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING)
    assert (verdict.registered_by, verdict.registered_by_verified) == ("mia", False)
    assert list(verdict.approvals) == []
    await reviewer.ask("Approve", pb.ApproveRequest(model=world.model, version=1, comment="fine"))
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING)
    told = await events_of(kafka, "governance.events", world, count=3)
    assert [event.actor for event in told] == ["", "rea", "rea"]


async def test_an_undecodable_event_is_a_dead_letter_and_is_in_the_log_all_the_same(
    kafka: str, world: World, auditor: Client
) -> None:
    event = world.event(registry_pb.ModelRegistered(), "model.registered")
    await world.send(event, value=b"\xff\xff not protobuf")
    dead = await events_of(kafka, "registry.events.dlq", world, count=1)
    assert dead[0].id == event.id

    async def proof() -> Any:
        return await auditor.ask("GetInclusionProof", pb.GetInclusionProofRequest(event_id=event.id))

    logged = await eventually(proof, what="the log")
    assert logged.entry.topic == REGISTRY.name


async def test_an_unknown_type_is_skipped(world: World, auditor: Client) -> None:
    await world.send(world.event(registry_pb.ModelPromoted(model=world.model), "model.promoted"))
    await world.send(world.event(registry_pb.ModelPromoted(model=world.model), "model.exploded"))
    await world.send(world.event(world.register(), "model.registered"))
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING)


async def test_who_allowed_what_served_is_one_question_with_its_proof(
    world: World, auditor: Client, reviewer: Client
) -> None:
    await world.send(world.event(world.register(), "model.registered"))
    await in_state(auditor, world, events_pb2.VERDICT_STATE_WAITING)
    approved = await reviewer.ask("Approve", pb.ApproveRequest(model=world.model, version=1, comment="fine"))
    effective = datetime.now(UTC)
    promoted = deployer_pb.DeploymentPromoted(
        position=deployer_pb.Position(model=world.model, environment="production", epoch=2, stable_version=1),
        verdict_id=approved.verdict.id,
        effective_at=timestamp_of(effective),
    )
    event = world.event(promoted, "deployment.promoted")
    sent = await world.send(event, DEPLOYER.name)

    async def served() -> Any:
        answer = await auditor.ask("GetServedAt", pb.GetServedAtRequest(model=world.model))
        return answer if answer.served else None

    answer = await eventually(served, what="what served")
    (stable,) = answer.served
    assert (stable.version, stable.role, stable.weight, stable.epoch) == (1, "stable", 100, 2)
    assert [one.reviewer for one in stable.verdict.approvals] == ["rea"]
    before = pb.GetServedAtRequest(model=world.model, at=timestamp_of(effective - timedelta(seconds=1)))
    assert list((await auditor.ask("GetServedAt", before)).served) == []

    proof = await auditor.ask("GetInclusionProof", pb.GetInclusionProofRequest(index=stable.log_index))
    leaf = entry_of(DEPLOYER.name, sent.partition, sent.offset, headers_of(event), event.data).leaf_hash
    assert merkle.is_included(leaf, proof.entry.index, proof.head.size, proof.path, proof.head.root)
    forged = entry_of(DEPLOYER.name, sent.partition, sent.offset, headers_of(event), event.data + b"!").leaf_hash
    assert not merkle.is_included(forged, proof.entry.index, proof.head.size, proof.path, proof.head.root)


async def test_what_served_is_rebuilt_after_its_table_was_lost(
    world: World, auditor: Client, settings: GovernanceSettings, issuer: Issuer
) -> None:
    began = datetime.now(UTC)
    for epoch, (stable, candidate, weight) in enumerate([(1, 0, 0), (1, 2, 25), (2, 0, 0)], start=1):
        body = deployer_pb.DeploymentPromoted(
            position=deployer_pb.Position(
                model=world.model,
                epoch=epoch,
                stable_version=stable,
                candidate_version=candidate,
                candidate_weight=weight,
            ),
            effective_at=timestamp_of(began + timedelta(seconds=epoch)),
        )
        await world.send(world.event(body, "deployment.promoted"), DEPLOYER.name)
    moments = [timestamp_of(began + timedelta(seconds=epoch)) for epoch in (1, 2, 3)]

    async def served() -> Any:
        requests = [pb.GetServedAtRequest(model=world.model, at=moment) for moment in moments]
        answers = [(await auditor.ask("GetServedAt", request)).served for request in requests]
        return answers if all(answers) and answers[-1][0].version == 2 else None

    before = await eventually(served, what="what served")
    connection = await asyncpg.connect(settings.database_dsn.get_secret_value())
    await connection.execute("TRUNCATE moments")
    await connection.close()
    assert await served() is None

    headers = {"authorization": f"Bearer {issuer.token('olga', Role.OPERATOR)}"}
    async with httpx.AsyncClient(base_url=world.url, headers=headers) as client:
        answer = await client.post("/v1/rebuild", json={"reason": "truncated by hand"})

        async def over() -> Any:
            found = (await client.get("/v1/rebuild")).json()
            return None if found["under_way"] else found

        found = await eventually(over, what="the rebuild's end")
    assert (answer.status_code, found["actor"], found["failed"]) == (200, "olga", 0)
    assert await served() == before


async def test_units_that_stayed_behind_are_named_and_after_a_retirement_nobody_serves(
    world: World, auditor: Client
) -> None:
    now = datetime.now(UTC)
    stood = deployer_pb.Position(
        model=world.model, environment="production", epoch=4, stable_version=2, holdback_version=1, holdback_weight=5
    )
    promoted = deployer_pb.DeploymentPromoted(position=stood, effective_at=timestamp_of(now - timedelta(minutes=2)))
    await world.send(world.event(promoted, "deployment.promoted"), DEPLOYER.name)
    stood.epoch = 5
    retired = deployer_pb.DeploymentRetired(position=stood, effective_at=timestamp_of(now - timedelta(minutes=1)))
    await world.send(world.event(retired, "deployment.retired"), DEPLOYER.name)

    async def served(ago: timedelta) -> list[tuple[int, str, int]]:
        request = pb.GetServedAtRequest(model=world.model, at=timestamp_of(now - ago))
        answer = await auditor.ask("GetServedAt", request)
        return [(one.version, one.role, one.weight) for one in answer.served]

    async def ended() -> bool:
        before, after = await served(timedelta(seconds=90)), await served(timedelta())
        return (before, after) == ([(2, "stable", 95), (1, "holdback", 5)], [])

    await eventually(ended)


async def test_a_repeated_event_has_an_entry_each_time(world: World, auditor: Client) -> None:
    event = world.event(world.register(), "model.registered")
    places = [await world.send(event) for _ in range(2)]

    async def entries() -> Any:
        head = (await auditor.ask("GetLogHead", pb.GetLogHeadRequest())).head
        requests = [pb.GetInclusionProofRequest(index=index) for index in range(head.size)]
        found = [(await auditor.ask("GetInclusionProof", request)).entry for request in requests]
        ours = [entry.offset for entry in found if entry.event_id == event.id]
        return ours if len(ours) == len(places) else None

    assert await eventually(entries, what="two entries") == [place.offset for place in places]
