from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest
from google.protobuf import json_format

from goldenpath.ingest.v1.events_pb2 import OutcomeRecorded, ProjectStarted
from goldenpath.registry.v1.events_pb2 import Promise
from goldenpath.registry.v1.registry_service_pb2 import RegisterVersionRequest
from services.chassis.cloudevents import (
    JSON,
    STRUCTURED,
    CloudEvent,
    body,
    check_finite,
    headers_of,
    read,
)
from services.chassis.errors import Invalid
from tests.chassis.kit import NOON, event
from tests.chassis.kit import body as project

SCHEMA = "goldenpath.ingest.v1.ProjectStarted"


def a_structured(**more: Any) -> dict[str, Any]:
    document = {
        "specversion": "1.0",
        "id": "1",
        "source": "bank/training",
        "type": "project.started",
        "subject": "model/credit",
        "time": "2026-03-01T12:00:00Z",
        "dataschema": SCHEMA,
        "data": {"project": "credit", "model": "credit-prescreen"},
    }
    return document | more


def read_structured(document: object) -> CloudEvent:
    return read([("content-type", STRUCTURED.encode())], json.dumps(document).encode())


def test_what_is_written_in_binary_mode_is_read_the_same() -> None:
    written = event("credit", sequence=7, actor="ada", traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")

    assert read(headers_of(written), written.data) == written


def test_a_time_with_an_offset_is_read_in_utc() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert read(headers_of(event("credit", time=elsewhere)), b"").time == NOON


def test_an_event_without_a_content_type_is_taken_for_protobuf() -> None:
    written = [header for header in headers_of(event("credit")) if header[0] != "content-type"]

    assert body(read(written, project().SerializeToString()), ProjectStarted) == project()


def test_a_json_body_is_read_by_the_protobuf_json_mapping() -> None:
    written = replace(event("credit"), content_type=JSON, data=json_format.MessageToJson(project()).encode())

    assert body(read(headers_of(written), written.data), ProjectStarted) == project()


def test_a_structured_event_is_read_with_its_data() -> None:
    found = read_structured(a_structured(sequence=3))

    assert (found.id, found.subject, found.sequence, found.time) == ("1", "model/credit", 3, NOON)
    assert body(found, ProjectStarted) == project()


def test_a_structured_event_may_carry_protobuf_in_base64() -> None:
    encoded = base64.b64encode(project().SerializeToString()).decode()
    found = read_structured(a_structured(data=None, data_base64=encoded, datacontenttype="application/protobuf"))

    assert body(found, ProjectStarted) == project()


def test_a_schema_may_be_a_url_that_ends_in_its_name() -> None:
    written = event("credit", dataschema=f"https://schemas.bank.example/{SCHEMA}")

    assert body(written, ProjectStarted).project == "credit"


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        pytest.param("ce_id", None, "ce_id", id="no id"),
        pytest.param("ce_source", None, "ce_source", id="no source"),
        pytest.param("ce_type", None, "ce_type", id="no type"),
        pytest.param("ce_time", None, "ce_time", id="no time"),
        pytest.param("ce_specversion", None, "ce_specversion", id="no version"),
        pytest.param("ce_specversion", b"0.3", "ce_specversion", id="an older version"),
        pytest.param("ce_time", b"yesterday", "ce_time", id="no time but a word"),
        pytest.param("ce_time", b"2026-03-01T12:00:00", "ce_time", id="a time without a zone"),
        pytest.param("ce_time", b"0001-01-01T00:00:00+23:59", "ce_time", id="a time before time"),
        pytest.param("ce_sequence", b"0", "ce_sequence", id="sequence zero"),
        pytest.param("ce_sequence", b"-1", "ce_sequence", id="sequence below zero"),
        pytest.param("ce_sequence", b"one", "ce_sequence", id="a sequence in words"),
        pytest.param("ce_sequence", b"9223372036854775808", "ce_sequence", id="a sequence beyond 64 bits"),
        pytest.param("ce_sequence", b"0" * 19 + b"9" * 30, "ce_sequence", id="a sequence that hides behind zeros"),
        pytest.param("ce_sequence", b"\xd9\xa1", "ce_sequence", id="a digit of another script"),
        pytest.param("ce_id", b"\xff", "ce_id", id="an id that isn't text"),
        pytest.param("ce_id", b"a\x00b", "ce_id", id="an id with a NUL"),
        pytest.param("ce_subject", b"x" * 1025, "ce_subject", id="a subject without end"),
        pytest.param("content-type", b"\xff", "content-type", id="a content type that isn't text"),
    ],
)
def test_a_wrong_attribute_is_named(name: str, value: bytes | None, where: str) -> None:
    kept = [header for header in headers_of(event("credit", sequence=1)) if header[0] != name]
    changed = [] if value is None else [(name, value)]

    with pytest.raises(Invalid) as caught:
        read([*kept, *changed], b"")

    assert caught.value.where == where


@pytest.mark.parametrize(
    ("document", "where"),
    [
        pytest.param([], "value", id="a list"),
        pytest.param(a_structured(id={"a": 1}), "ce_id", id="an id that is an object"),
        pytest.param(a_structured(id=None), "ce_id", id="an id that is null"),
        pytest.param(a_structured(id="\ud800"), "ce_id", id="half a surrogate pair"),
        pytest.param(a_structured(subject=1.5), "ce_subject", id="a subject that is a fraction"),
        pytest.param(a_structured(data_base64="not base64!"), "data_base64", id="no base64"),
        pytest.param(a_structured(data_base64="ü"), "data_base64", id="no ASCII"),
    ],
)
def test_a_wrong_structured_event_is_refused(document: object, where: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_structured(document)

    assert caught.value.where == where


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"{", id="cut off"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[" * 100_000, id="nested without end"),
    ],
)
def test_a_structured_event_that_is_no_json_is_refused(value: bytes) -> None:
    with pytest.raises(Invalid, match="isn't JSON"):
        read([("content-type", STRUCTURED.encode())], value)


def test_a_tombstone_is_refused() -> None:
    with pytest.raises(Invalid, match="tombstone"):
        read(headers_of(event("credit")), None)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({"data": b"\xff\xff"}, "value", id="bytes that are no message"),
        pytest.param({"dataschema": "goldenpath.ingest.v1.TrainingCompleted"}, "ce_dataschema", id="another schema"),
        pytest.param({"content_type": "text/plain"}, "content-type", id="another kind of body"),
        pytest.param({"content_type": JSON, "data": b"{"}, "value", id="JSON that is cut off"),
        pytest.param({"content_type": JSON, "data": b"\xff"}, "value", id="JSON that is no text"),
        pytest.param({"content_type": JSON, "data": b"[1]"}, "value", id="a JSON list"),
        pytest.param({"content_type": JSON, "data": b'{"colour": 1}'}, "value", id="a field that isn't in the schema"),
        pytest.param({"content_type": JSON, "data": b'{"project": 1}'}, "value", id="a number for a text"),
        pytest.param({"content_type": JSON, "data": b'{"project": "\\ud800"}'}, "value", id="half a surrogate pair"),
        pytest.param({"content_type": JSON, "data": b'{"started_at": "soon"}'}, "value", id="no time but a word"),
        pytest.param({"content_type": JSON, "data": b'{"a":' * 5000}, "value", id="JSON nested without end"),
    ],
)
def test_a_wrong_body_is_refused(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as caught:
        body(event("credit", **changes), ProjectStarted)

    assert caught.value.where == where


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_with_its_path(number: float) -> None:
    with pytest.raises(Invalid) as caught:
        check_finite(OutcomeRecorded(model="credit", value=number))

    assert caught.value.where == "value"


def test_a_number_deep_inside_a_message_is_found() -> None:
    request = RegisterVersionRequest(promise=Promise(metric="auc", value=float("nan")))

    with pytest.raises(Invalid) as caught:
        check_finite(request)

    assert caught.value.where == "promise.value"


def test_finite_numbers_pass() -> None:
    check_finite(OutcomeRecorded(model="credit", value=0.5))
