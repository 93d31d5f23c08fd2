"""Generates what people and tools read about the events: docs/events/asyncapi.yaml and docs/events/README.md.

    python protos/asyncapi.py [FOLDER]

Both come from services/chassis/topics.py (which events stand where) and from the contracts with their comments (what
is in them), so nothing is told twice.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml

from protos import catalogue, descriptors
from protos.descriptors import Contracts
from services.chassis.topics import DEAD_LETTERS, TOPICS, EventType, Topic

_FOLDER: Final = Path(__file__).parent.parent / "docs" / "events"
_ABOUT: Final = """\
What the services tell each other and the world, and what other systems may tell them: CloudEvents 1.0 on Kafka, in
binary mode with protobuf bodies. From other systems JSON bodies (the protobuf JSON mapping, shown here as JSON schemas)
and structured mode are read too. Each topic has dead letters beside it, on the topic with the suffix .dlq.
"""
_HEADERS: Final[dict[str, str]] = {
    "ce_specversion": "The version of CloudEvents: 1.0.",
    "ce_id": "Unique within its source.",
    "ce_source": "Who made it: goldenpath/SERVICE, or another system's name.",
    "ce_type": "What happened.",
    "ce_time": "When it happened, RFC 3339, with a time zone.",
    "ce_subject": "The aggregate that it happened to, such as model/NAME; also the Kafka key.",
    "ce_dataschema": "The full name of the body's protobuf message.",
    "ce_sequence": "Its place among its aggregate's events, from 1. Only our own services count.",
    "ce_actor": "Who caused it. From other systems a claim, unless ce_signature proves it.",
    "ce_signature": "A detached JSON Web Signature of who caused it; how it is made stands in `golden.signature_of`.",
    "ce_traceparent": "The W3C trace context in which it was created; it survives replay.",
    "traceparent": "The W3C trace context of the hop that carried it.",
    "content-type": "application/protobuf or application/json; in structured mode application/cloudevents+json.",
}
_CLOUD_EVENT: Final = "CloudEventHeaders"
_NEEDED: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type")


def document(contracts: Contracts) -> dict[str, Any]:
    """The AsyncAPI 3.0 document."""
    types = {event_type.name: event_type for topic in TOPICS for event_type in topic.types}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Goldenpath's events",
            "version": "1",
            "description": " ".join(_ABOUT.split()),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/protobuf",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {_verb(topic) + "." + topic.name: _operation(topic) for topic in TOPICS},
        "components": {
            "messages": {name: _message(one, contracts) for name, one in sorted(types.items())},
            "schemas": {_CLOUD_EVENT: _cloud_event()}
            | descriptors.schemas_of(sorted(one.schema for one in types.values()), contracts),
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    kept = -1 if topic.kept is None else int(topic.kept.total_seconds() * 1000)
    return {
        "address": topic.name,
        "description": f"{catalogue.about(topic)} Dead letters: {topic.name}{DEAD_LETTERS}.",
        "messages": {one.name: {"$ref": f"#/components/messages/{one.name}"} for one in topic.types},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": kept},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _verb(topic: Topic) -> str:
    return "receive" if topic.owner == "others" else "send"


def _operation(topic: Topic) -> dict[str, Any]:
    who = "Other systems write it, Goldenpath reads it." if topic.owner == "others" else f"{topic.owner} writes it."
    return {"action": _verb(topic), "channel": {"$ref": f"#/channels/{topic.name}"}, "summary": who}


def _message(one: EventType, contracts: Contracts) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.schema.rpartition(".")[2],
        "description": contracts.comment(one.schema),
        "contentType": "application/protobuf",
        "headers": _headers(one),
        "payload": {"$ref": f"#/components/schemas/{one.schema}"},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    }


def _headers(one: EventType) -> dict[str, Any]:
    fixed = {"ce_type": {"const": one.name}, "ce_dataschema": {"const": one.schema}}
    return {"allOf": [{"$ref": f"#/components/schemas/{_CLOUD_EVENT}"}, {"properties": fixed}]}


def _cloud_event() -> dict[str, Any]:
    properties = {name: {"type": "string", "description": about} for name, about in _HEADERS.items()}
    return {"type": "object", "description": "An event's headers.", "properties": properties, "required": list(_NEEDED)}


class _Folded(yaml.SafeDumper):
    """Writes every mention of a value in full: a reader follows no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class gives it
        return True


def generate(into: Path) -> None:
    """Write both files."""
    contracts = descriptors.read()
    into.mkdir(parents=True, exist_ok=True)
    text = yaml.dump(document(contracts), Dumper=_Folded, sort_keys=False, width=120, allow_unicode=True)
    (into / "asyncapi.yaml").write_text("# Generated by protos/asyncapi.py: change the contracts, not this.\n" + text)
    (into / "README.md").write_text(catalogue.page(contracts, _HEADERS))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER)
