"""What the registry hears on a real Kafka: the third door, and what it refuses."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.ingest.v1 import events_pb2 as ingest_pb2
from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.cloudevents import CloudEvent
from services.chassis.testing import Signer, emitted, eventually
from services.registry.commands import Commands
from services.registry.queries import Queries
from tests.registry.made_up import ADA, FakeRuns, dataset, registration
from tests.registry.wires import Topics

STRUCTURED = [("content-type", b"application/cloudevents+json")]


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


async def test_a_training_whose_author_signed_it_is_no_claim(
    topics: Topics, queries: Queries, model: str, ada: Signer
) -> None:
    await topics.tell(ada.sign(_training(model)))
    version = await eventually(lambda: _version(queries, model))
    assert version.registered.registered_by == told.Actor(subject="ada", verified=True)
    [(headers, _)] = await eventually(lambda: topics.heard("registry.events", f"model/{model}"))
    assert headers["ce_actor"] == b"ada"


async def test_a_training_in_somebody_elses_name_is_refused_and_its_publisher_learns_why(
    topics: Topics, model: str, ada: Signer
) -> None:
    forged = replace(ada.sign(_training(model)), actor="grace")
    await topics.tell(forged)
    heard = await eventually(lambda: topics.heard("registry.events", f"model/{model}", "event.rejected"))
    rejected = ingest_pb2.EventRejected.FromString(heard[0][1])
    assert (rejected.event_id, rejected.error, rejected.where) == (forged.id, "Denied", "ce_signature")


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
