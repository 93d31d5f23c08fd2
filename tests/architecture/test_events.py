"""What is published about the events is what the contracts and topics.py say, and what a body really looks like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from google.protobuf.message import Message
from jsonschema import Draft202012Validator

from protos import descriptors
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.schemas import NAMES, message_class
from services.chassis.topics import TOPICS
from tests.architecture.tree import ROOT
from tests.chassis.kit import NOON

DOCS = ROOT / "docs" / "events"
TYPES = sorted({(one.name, one.schema) for topic in TOPICS for one in topic.types})


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    return found


@pytest.mark.parametrize("name", ["asyncapi.yaml", "README.md"])
def test_what_is_published_is_current(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "protos/asyncapi.py", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)

    assert (tmp_path / name).read_text() == (DOCS / name).read_text(), "make protos"


@pytest.mark.parametrize(("name", "schema"), TYPES)
def test_every_type_resolves_to_a_message(name: str, schema: str) -> None:
    found = message_class(schema)

    assert found is not None, name
    assert found.DESCRIPTOR.full_name == schema


def test_every_event_of_the_contracts_stands_on_a_topic() -> None:
    contracts = descriptors.read()

    assert contracts.in_events - contracts.referred() - NAMES == set()


def test_every_reference_in_what_is_published_leads_somewhere(published: dict[str, Any]) -> None:
    references = [value for key, value in walk(published) if key == "$ref"]

    assert references
    assert [one for one in references if not leads_somewhere(published, one)] == []


def test_every_field_that_is_published_has_a_meaning(published: dict[str, Any]) -> None:
    schemas = published["components"]["schemas"]

    assert [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, one in schema.get("properties", {}).items()
        if not one["description"]
    ] == []


@pytest.mark.parametrize(("name", "schema"), TYPES)
def test_a_body_with_every_field_is_what_is_published(published: dict[str, Any], name: str, schema: str) -> None:
    kind = message_class(schema)
    assert kind is not None
    message = filled(kind())
    body = json.loads(json_format.MessageToJson(message))

    assert problems(published, f"#/components/schemas/{schema}", body) == []
    assert problems(published, f"#/components/messages/{name}/headers", headers(name, message)) == []


def test_a_field_that_isnt_published_is_seen(published: dict[str, Any]) -> None:
    body = {"project": "credit", "colour": "blue"}

    assert problems(published, "#/components/schemas/goldenpath.ingest.v1.ProjectStarted", body) != []


def headers(name: str, message: Message) -> dict[str, str]:
    event = event_of(message, type=name, source="goldenpath/test", subject="model/credit", time=NOON, sequence=1)
    return {header: value.decode() for header, value in headers_of(event)}


def filled(message: Any, depth: int = 3) -> Any:
    """A message with a value in every field, as deep as it says."""
    message.SetInParent()
    for field in message.DESCRIPTOR.fields:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        held = getattr(message, field.name)
        if field.message_type is None:
            value = {field.TYPE_STRING: "1", field.TYPE_BYTES: b"1"}.get(field.type, 1)
            held.append(value) if field.is_repeated else setattr(message, field.name, value)
        elif not is_map and depth:
            filled(held.add() if field.is_repeated else held, depth - 1)
    return message


def problems(published: dict[str, Any], reference: str, instance: object) -> list[str]:
    validator = Draft202012Validator({"$ref": reference, "components": published["components"]})
    return [error.message for error in validator.iter_errors(instance)]


def walk(node: Any) -> list[tuple[str, Any]]:
    """Every key and value, however deep."""
    pairs = node.items() if isinstance(node, dict) else [("", one) for one in node] if isinstance(node, list) else []
    return [found for key, value in pairs for found in [(key, value), *walk(value)]]


def leads_somewhere(published: dict[str, Any], reference: str) -> bool:
    node: Any = published
    for part in reference.removeprefix("#/").split("/"):
        node = node.get(part, {})
    return bool(node)
