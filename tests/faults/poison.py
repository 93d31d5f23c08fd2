"""Poison: what no publisher should write, one of every kind. Its names never meet those of real events."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime

from goldenpath.ingest.v1 import events_pb2 as ingest
from services.chassis.cloudevents import Headers, event_of, headers_of
from services.chassis.topics import EventType, Topic

SOURCE = "poison"
Record = tuple[str, bytes | None, Headers, bytes | None]


def of_every_kind(topic: Topic, rng: random.Random) -> list[Record]:
    """A record of each kind for a topic; whoever reads them must give each its place and go on."""
    key = f"model/poison-{rng.randrange(10**9)}".encode()
    headers = _headers(topic.types[0], key.decode())
    structured = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": SOURCE, "type": topic.types[0].name}
    as_json = [("content-type", b"application/cloudevents+json")]
    json_body = _with(headers, "content-type", b"application/json")
    return [
        (topic.name, key, [], rng.randbytes(200)),  # bytes
        (topic.name, None, [], b""),  # nothing at all
        (topic.name, key, headers, None),  # a tombstone
        (topic.name, key, headers, rng.randbytes(300)),  # a body that is no protobuf
        (topic.name, key, _with(headers, "ce_specversion", b"9"), b""),  # another version of CloudEvents
        (topic.name, key, _with(headers, "ce_time", b"yesterday"), b""),  # no time
        (topic.name, key, _with(headers, "ce_id", b"\xff\x00"), b""),  # an id that is no text
        (topic.name, key, [*headers, *[(f"x{number}", b"y") for number in range(500)]], b"\xff"),  # many headers
        (topic.name, key, json_body, b'{"model": "half'),  # half a JSON
        (topic.name, key, json_body, b'{"nobody": NaN, "knows": [this]}'),  # no JSON
        (topic.name, key, as_json, json.dumps(structured | {"data": 7}).encode()),  # structured, with another body
        (topic.name, key, as_json, b"[" * 5_000),  # structured, and deep
        (topic.name, key, _with(headers, "ce_type", b"model.unheard_of"), b""),  # a type that nobody knows
        *of_each_type(topic, rng),
    ]


def of_each_type(topic: Topic, rng: random.Random) -> list[Record]:
    """An event of each of a topic's types, with a body that is no protobuf and a key that no other has."""
    keys = [f"model/poison-{rng.randrange(10**9)}" for _ in topic.types]
    return [
        (topic.name, key.encode(), _headers(kind, key), rng.randbytes(300))
        for key, kind in zip(keys, topic.types, strict=True)
    ]


def _headers(kind: EventType, subject: str) -> Headers:
    made = event_of(ingest.ProjectStarted(), type=kind.name, source=SOURCE, subject=subject, time=datetime.now(UTC))
    return headers_of(replace(made, dataschema=kind.schema))


def _with(headers: Headers, name: str, value: bytes) -> Headers:
    return [(had, value if had == name else stood) for had, stood in headers]
