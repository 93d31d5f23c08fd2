"""What the registry hears on a real Kafka: the third door, the deployer's news, and what it refuses."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.deployer.v1 import events_pb2 as deployer_pb2
from goldenpath.ingest.v1 import events_pb2 as ingest_pb2
from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.database import Database
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.runner import Background
from services.chassis.testing import emitted, eventually
from services.chassis.topics import create_topics
from services.registry.commands import Commands
from services.registry.consumers import consumer_of
from services.registry.queries import Queries
from services.registry.store import RegistryUnitOfWork
from tests.registry.made_up import ADA, FakeRuns, dataset, registration

M = TypeVar("M", bound=Message)
SESSION = timedelta(seconds=10)
STRUCTURED = [("content-type", b"application/cloudevents+json")]


class Topics:
    """Kafka, as a test writes and reads it."""

    def __init__(self, bootstrap: str, producer: AIOKafkaProducer) -> None:
        self._bootstrap = bootstrap
        self._producer = producer

    async def tell(self, event: CloudEvent, topic: str = "ingest.events") -> None:
        await self.put(topic, event.subject, event.data, headers_of(event))

    async def put(self, topic: str, key: str, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        await self._producer.send_and_wait(topic, value, key=key.encode(), headers=headers)

    async def heard(self, topic: str, key: str, type_name: str = "") -> list[tuple[dict[str, bytes], bytes]]:
        """Headers and values of a key's events on a topic, in order; of one type, or of all."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found = []
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [
                        (dict(record.headers), record.value or b"") for record in records if record.key == key.encode()
                    ]
        finally:
            await consumer.stop()
        return [one for one in found if not type_name or one[0].get("ce_type") == type_name.encode()]


@pytest.fixture
async def topics(kafka: str, registry_database: Database[RegistryUnitOfWork], runs: FakeRuns) -> AsyncIterator[Topics]:
    await create_topics(kafka)
    consumer = consumer_of(registry_database, runs, bootstrap=kafka, session_timeout=SESSION)
    relay = Relay(registry_database, Leases(registry_database, duration=timedelta(seconds=5)), bootstrap=kafka)
    parts = [Background("consumer", consumer.run), Background("relay", relay.run)]
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    for part in parts:
        await part.start()
    yield Topics(kafka, producer)
    for part in parts:
        await part.stop()
    await producer.stop()


@pytest.fixture
def model(unique: str) -> str:
    """A model of the test's own, since the topics are everybody's."""
    return unique


def _training(model: str, run: str = "run-1", **more: Any) -> CloudEvent:
    body = ingest_pb2.TrainingCompleted(registration=registration(model=model, run=run))
    usual: dict[str, Any] = {"subject": f"model/{model}", "sequence": None, "source": "airflow", "actor": "ada"}
    return emitted(body, "training.completed", **usual | more)


async def _version(queries: Queries, model: str, number: int = 0) -> pb.Version:
    return (await queries.get_version(pb.GetVersionRequest(model=model, version=number))).version


async def test_a_training_that_ended_registers_its_version_as_a_claim(
    topics: Topics, queries: Queries, model: str
) -> None:
    await topics.tell(_training(model))
    version = await eventually(lambda: _version(queries, model))
    assert version.registered.registered_by == told.Actor(subject="ada", verified=False)
    [(headers, value)] = await eventually(lambda: topics.heard("registry.events", f"model/{model}"))
    assert (headers["ce_type"], headers["ce_sequence"]) == (b"model.registered", b"1")
    assert told.ModelRegistered.FromString(value) == version.registered


async def test_the_same_version_by_every_door_is_one(
    topics: Topics, commands: Commands, queries: Queries, model: str
) -> None:
    await topics.tell(_training(model))
    await topics.tell(_training(model))
    by_command = await commands.register_version(registration(model=model), ADA)
    documented = ingest_pb2.DatasetDocumented(dataset=dataset(f"{model}-last"))
    await topics.tell(emitted(documented, "dataset.documented", subject=f"model/{model}", sequence=None))
    await eventually(lambda: queries.get_dataset(pb.GetDatasetRequest(name=f"{model}-last")))
    assert (await _version(queries, model)).registered == by_command.version.registered
    assert by_command.version.registered.version == 1
    events = await eventually(lambda: topics.heard("registry.events", f"model/{model}", "model.registered"))
    assert len(events) == 1


async def test_json_in_structured_mode_registers_too(topics: Topics, queries: Queries, model: str) -> None:
    body = json_format.MessageToDict(ingest_pb2.TrainingCompleted(registration=registration(model=model)))
    await topics.put("ingest.events", f"model/{model}", _structured(model, body), STRUCTURED)
    version = await eventually(lambda: _version(queries, model))
    assert version.registered.registered_by == told.Actor(subject="eve", verified=False)


def _structured(model: str, body: dict[str, Any], **more: Any) -> bytes:
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "jenkins",
        "type": "training.completed",
        "subject": f"model/{model}",
        "time": datetime.now(UTC).isoformat(),
        "actor": "eve",
        "data": body,
    }
    return json.dumps(attributes | more).encode()


async def _refusal(topics: Topics, subject: str, what: str) -> ingest_pb2.EventRejected:
    """The refusal on registry.events, once the event is among the dead letters too."""
    [(_, value)] = await eventually(
        lambda: topics.heard("registry.events", subject, "event.rejected"), what="event.rejected"
    )
    [(headers, _)] = await eventually(lambda: topics.heard("ingest.events.dlq", subject), what="the dead letter")
    rejected = ingest_pb2.EventRejected.FromString(value)
    assert headers["dlq_error"].decode() == rejected.error
    assert what in rejected.what
    return rejected


async def test_an_unknown_field_is_refused_and_the_publisher_learns_why(topics: Topics, model: str) -> None:
    value = _structured(model, {"registration": {"modle": model}})
    await topics.put("ingest.events", f"model/{model}", value, STRUCTURED)
    rejected = await _refusal(topics, f"model/{model}", "modle")
    assert (rejected.error, rejected.event_source, rejected.topic) == ("Invalid", "jenkins", "ingest.events")


async def test_an_undecodable_body_is_refused_and_the_publisher_learns_why(topics: Topics, model: str) -> None:
    await topics.tell(replace(_training(model), data=b"\xff\xfe not a message"))
    rejected = await _refusal(topics, f"model/{model}", "isn't a goldenpath.ingest.v1.TrainingCompleted")
    assert (rejected.error, rejected.event_type) == ("Invalid", "training.completed")


async def test_a_claim_that_lowers_a_risk_tier_is_refused(
    topics: Topics, commands: Commands, queries: Queries, model: str
) -> None:
    await commands.register_version(registration(model=model), ADA)
    lower = ingest_pb2.TrainingCompleted(registration=registration(model=model, risk_tier=told.RISK_TIER_MINIMAL))
    await topics.tell(replace(_training(model), data=lower.SerializeToString()))
    rejected = await _refusal(topics, f"model/{model}", "risk tier")
    assert rejected.error == "Denied"
    assert (await _version(queries, model)).registered.risk_tier == told.RISK_TIER_HIGH


async def test_a_bad_event_holds_up_no_good_one(topics: Topics, queries: Queries, model: str) -> None:
    await topics.tell(replace(_training(model), data=b"\xff"))
    await topics.tell(_training(model))
    assert (await eventually(lambda: _version(queries, model))).registered.version == 1


async def test_a_training_whose_run_comes_later_waits_for_it(
    topics: Topics, queries: Queries, runs: FakeRuns, model: str
) -> None:
    await topics.tell(_training(model, "run-late"))
    await topics.tell(_training(f"{model}-b"))
    await eventually(lambda: _version(queries, f"{model}-b"))
    runs.add("run-late")
    assert (await eventually(lambda: _version(queries, model))).registered.mlflow_run == "run-late"


async def test_a_training_whose_run_never_came_is_refused(topics: Topics, model: str) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    await topics.tell(_training(model, "run-never", time=long_ago))
    assert (await _refusal(topics, f"model/{model}", "no run")).where == "mlflow_run"


async def test_datasets_and_projects_come_as_events_too(
    topics: Topics, commands: Commands, queries: Queries, model: str
) -> None:
    began = Timestamp(seconds=1_700_000_000)
    project = ingest_pb2.ProjectStarted(project="easy-credit", model=model, owner="risk-team", started_at=began)
    await topics.tell(emitted(project, "project.started", subject=f"model/{model}", sequence=None))
    documented = ingest_pb2.DatasetDocumented(dataset=dataset(f"{model}-data"))
    await topics.tell(emitted(documented, "dataset.documented", subject=f"dataset/{model}-data", sequence=None))
    found = await eventually(lambda: queries.get_dataset(pb.GetDatasetRequest(name=f"{model}-data")))
    assert not found.dataset.registered.registered_by.verified
    await commands.register_version(registration(model=model, project="easy-credit"), ADA)

    async def started() -> bool:
        lineage = await queries.get_lineage(pb.GetLineageRequest(model=model))
        return lineage.project_started_at == began

    await eventually(started, what="the project's start")


@pytest.mark.parametrize(
    ("body", "type_name", "where"),
    [
        pytest.param(ingest_pb2.ProjectStarted(model="Nobody!"), "project.started", "model", id="a malformed model"),
        pytest.param(ingest_pb2.ProjectStarted(model="credit"), "project.started", "started_at", id="no start"),
        pytest.param(
            ingest_pb2.DatasetDocumented(dataset=dataset(digest="x")),
            "dataset.documented",
            "dataset.digest",
            id="a malformed digest",
        ),
        pytest.param(
            ingest_pb2.TrainingCompleted(
                registration=registration(promise=told.Promise(metric="auc", margin=float("nan")))
            ),
            "training.completed",
            "registration.promise.margin",
            id="a margin that is no number",
        ),
    ],
)
async def test_a_malformed_event_is_refused_with_its_place(
    topics: Topics, unique: str, body: Message, type_name: str, where: str
) -> None:
    await topics.tell(emitted(body, type_name, subject=f"test/{unique}", sequence=None))
    assert (await _refusal(topics, f"test/{unique}", "")).where == where


async def test_an_unknown_type_is_passed_over(topics: Topics, queries: Queries, model: str) -> None:
    await topics.tell(replace(_training(model), type="model.dreamed"))
    await topics.tell(_training(model))
    await eventually(lambda: _version(queries, model))
    assert await topics.heard("ingest.events.dlq", f"model/{model}") == []


def _news(model: str, body: Any, type_name: str, sequence: int) -> CloudEvent:
    return emitted(body, type_name, subject=f"model/{model}", sequence=sequence, source="goldenpath/deployer")


async def test_the_champion_follows_the_deployer(
    topics: Topics, commands: Commands, queries: Queries, runs: FakeRuns, model: str
) -> None:
    runs.add("run-2")
    for run in ("run-1", "run-2"):
        await commands.register_version(registration(model=model, run=run), ADA)

    def position(stable: int, epoch: int) -> deployer_pb2.Position:
        return deployer_pb2.Position(model=model, environment="production", stable_version=stable, epoch=epoch)

    first = deployer_pb2.DeploymentPromoted(position=position(1, 2))
    second = deployer_pb2.DeploymentPromoted(position=position(2, 4), previous_version=1)
    aborted = deployer_pb2.DeploymentRolledBack(position=position(2, 6), from_version=3, to_version=2, aborted=True)
    back = deployer_pb2.DeploymentRolledBack(position=position(1, 7), from_version=2, to_version=1, reason="drift")
    retired = deployer_pb2.DeploymentRetired(position=position(1, 8))
    for sequence, (body, name) in enumerate(
        [
            (first, "deployment.promoted"),
            (second, "deployment.promoted"),
            (aborted, "deployment.rolled_back"),
            (back, "deployment.rolled_back"),
            (second, "deployment.promoted"),  # a stale one, as after a replay
        ],
        start=1,
    ):
        await topics.tell(_news(model, body, name, sequence), "deployer.events")
    await topics.tell(_news(model, back, "deployment.rolled_back", 4), "deployer.events")  # the same one twice

    async def settled() -> list[Any]:
        heard = await topics.heard("registry.events", f"model/{model}")
        found = [(headers["ce_type"].decode(), value) for headers, value in heard]
        moved = [(name, value) for name, value in found if name != "model.registered"]
        return moved if len(moved) == 3 else []

    moved = await eventually(settled, what="three moves of the alias")
    assert [name for name, _ in moved] == ["model.promoted", "model.promoted", "model.demoted"]
    promoted = told.ModelPromoted.FromString(moved[1][1])
    assert (promoted.version, promoted.previous_version, promoted.alias) == (2, 1, "champion@production")
    demoted = told.ModelDemoted.FromString(moved[2][1])
    assert (demoted.version, demoted.successor_version, demoted.reason) == (2, 1, "drift")
    await topics.tell(_news(model, retired, "deployment.retired", 6), "deployer.events")

    async def ended() -> bool:
        lineage = await queries.get_lineage(pb.GetLineageRequest(model=model, version=1))
        return [(one.epoch, one.HasField("until")) for one in lineage.deployments] == [(2, True), (7, True)]

    await eventually(ended, what="the alias's end")


async def test_a_promotion_of_a_version_that_is_not_there_yet_waits(
    topics: Topics, commands: Commands, queries: Queries, model: str
) -> None:
    body = deployer_pb2.DeploymentPromoted(
        position=deployer_pb2.Position(model=model, environment="production", stable_version=1, epoch=2)
    )
    await topics.tell(_news(model, body, "deployment.promoted", 1), "deployer.events")
    await commands.register_version(registration(model=model), ADA)
    request = pb.ResolveAliasRequest(model=model, alias="champion@production")
    resolved = await eventually(lambda: queries.resolve_alias(request))
    assert resolved.version.registered.version == 1
