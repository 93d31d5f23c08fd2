"""CloudEvents 1.0 on Kafka: how an event is written, and how one is read, whoever wrote it.

We write binary mode with a protobuf body: attributes are headers named `ce_…`, the value is the message. From other
systems we also read JSON bodies (the protobuf JSON mapping; unknown fields are refused) and structured mode
(`application/cloudevents+json`: attributes and data in one JSON object).

Two trace contexts travel: `ce_traceparent` says where the event was created and survives replay; the bare
`traceparent` header is the hop that carried it.

Source: CloudEvents 1.0.2, and its Kafka protocol binding 1.0.2.
"""

from __future__ import annotations

import base64
import json
import math
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from services.chassis.errors import Invalid

Headers = Sequence[tuple[str, bytes]]
M = TypeVar("M", bound=Message)

PROTOBUF = "application/protobuf"
JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
UNREADABLE = "goldenpath-unreadable"  # the only header of an event that couldn't even be fetched whole; see polling.py

_REQUIRED = ("specversion", "id", "source", "type", "time")  # of a time, CloudEvents says optional: we need it
LONGEST_ATTRIBUTE = 1024  # characters; an id or subject that is longer is no id of ours and would bloat every index
# Half a surrogate pair (JSON can write one) and NUL are in no text that PostgreSQL or protobuf takes.
NO_TEXT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """One event, as it stands on a topic.

    Args:
        id: Unique within its source.
        source: Who made it, such as goldenpath/registry.
        type: What happened, such as model.registered.
        subject: The aggregate that it happened to, such as model/credit-prescreen; empty where none.
        time: When it happened, UTC.
        dataschema: The full name of the body's protobuf message.
        data: The body's bytes.
        content_type: What the body is: PROTOBUF or JSON.
        sequence: Its place among its aggregate's events, from 1; None where its source doesn't count.
        actor: Who caused it. A claim, unless the topic's owner is the only writer, or the signature proves it.
        traceparent: The W3C trace context in which it was created; empty where none.
        signature: What proves the actor, see signatures.py; empty where none.
    """

    type: str
    source: str
    subject: str
    dataschema: str
    data: bytes
    time: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    content_type: str = PROTOBUF
    sequence: int | None = None
    actor: str = ""
    traceparent: str = ""
    signature: str = ""


def event_of(body: Message, *, type: str, source: str, subject: str, time: datetime, **more: Any) -> CloudEvent:  # noqa: A002 - the attribute's own name
    """Wrap a message: its schema is the message's full name, its data the message's bytes."""
    data = body.SerializeToString(deterministic=True)
    return CloudEvent(
        type=type,
        source=source,
        subject=subject,
        time=time,
        dataschema=body.DESCRIPTOR.full_name,
        data=data,
        **more,
    )


def headers_of(event: CloudEvent) -> list[tuple[str, bytes]]:
    """The Kafka headers of an event in binary mode. Empty optional attributes are left out."""
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "dataschema": event.dataschema,
        "sequence": "" if event.sequence is None else str(event.sequence),
        "actor": event.actor,
        "traceparent": event.traceparent,
        "signature": event.signature,
    }
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if value]
    return [*headers, ("content-type", event.content_type.encode())]


def read(headers: Headers, value: bytes | None) -> CloudEvent:
    """Read an event, in binary or structured mode.

    Raises:
        Invalid: it is no CloudEvent; the error's `where` names the header or attribute.
    """
    if value is None and headers and headers[0][0] == UNREADABLE:
        raise Invalid(headers[0][1].decode("utf-8", "replace"), where="headers")
    if value is None:
        raise Invalid("the event has no value (a tombstone), and a fact can't be taken away", where="value")
    texts = _texts(headers)
    if texts.get("content-type", "").startswith(STRUCTURED):
        return _structured(value)
    attributes = {name.removeprefix("ce_"): text for name, text in texts.items() if name.startswith("ce_")}
    return _event(attributes, value, texts.get("content-type", PROTOBUF))


def _texts(headers: Headers) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in headers:
        if name.startswith("ce_") or name == "content-type":
            try:
                texts[name] = (value or b"").decode()
            except UnicodeDecodeError:
                raise Invalid("the header isn't UTF-8", where=name) from None
    return texts


def _structured(value: bytes) -> CloudEvent:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the structured event isn't JSON: {error}", where="value") from None
    if not isinstance(document, dict):
        raise Invalid("a structured event is a JSON object", where="value")
    attributes = {
        name: _attribute(name, given)
        for name, given in document.items()
        if name not in {"data", "data_base64"} and given is not None
    }
    if "signature" in attributes and "data_base64" not in document:
        raise Invalid("JSON has many spellings, and the signature is over one", where="data", fix="send data_base64")
    content_type = attributes.pop("datacontenttype", JSON)
    return _event(attributes, _data(document), content_type)


def _attribute(name: str, given: object) -> str:
    if isinstance(given, str | int):
        return str(given)
    raise Invalid("an attribute is a string, a whole number or a boolean", where=f"ce_{name}")


def _data(document: dict[str, Any]) -> bytes:
    if "data_base64" not in document:
        return json.dumps(document.get("data", {})).encode()
    try:
        return base64.b64decode(str(document["data_base64"]), validate=True)
    except ValueError as error:
        raise Invalid(f"not base64: {error}", where="data_base64") from None


def _event(attributes: dict[str, str], data: bytes, content_type: str) -> CloudEvent:
    for name in _REQUIRED:
        if not attributes.get(name):
            raise Invalid("the event lacks this attribute", where=f"ce_{name}")
    for name, text in attributes.items():
        _check_text(name, text)
    if attributes["specversion"] != "1.0":
        raise Invalid(f"version {attributes['specversion']!r} isn't 1.0", where="ce_specversion")
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject", ""),
        time=_time(attributes.get("time", "")),
        dataschema=attributes.get("dataschema", ""),
        data=data,
        content_type=content_type,
        sequence=_sequence(attributes.get("sequence", "")),
        actor=attributes.get("actor", ""),
        traceparent=attributes.get("traceparent", ""),
        signature=attributes.get("signature", ""),
    )


def _check_text(name: str, text: str) -> None:
    if len(text) > LONGEST_ATTRIBUTE:
        raise Invalid(f"longer than {LONGEST_ATTRIBUTE} characters", where=f"ce_{name[:LONGEST_ATTRIBUTE]}")
    if NO_TEXT.search(text):
        raise Invalid("it has a character that is no text", where=f"ce_{name[:LONGEST_ATTRIBUTE]}")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise Invalid(f"{text!r} has no time zone", where="ce_time", fix="write it in UTC, with a Z")
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{text!r} is no RFC 3339 time", where="ce_time") from None


def _sequence(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) < 2**63:
        raise Invalid(f"{text[:40]!r} is no sequence number from 1", where="ce_sequence")
    return int(text)


def body(event: CloudEvent, schema: type[M]) -> M:
    """Read an event's body as the message that its type says it is.

    Raises:
        Invalid: other schema, undecodable, a field that the schema doesn't have, or a number that isn't finite.
    """
    check_schema(event, schema)
    name = schema.DESCRIPTOR.full_name
    message = schema()
    if event.content_type.startswith(JSON):
        _parse_json(event.data, message)
        return message
    if not event.content_type.startswith(PROTOBUF):
        raise Invalid(f"{event.content_type!r} is neither {PROTOBUF} nor {JSON}", where="content-type")
    try:
        message.ParseFromString(event.data)
    except DecodeError:
        raise Invalid(f"the body isn't a {name}", where="value") from None
    return message


def check_schema(event: CloudEvent, schema: type[Message]) -> None:
    """Refuse an event that names another schema than its type has; one that names none is believed."""
    name = schema.DESCRIPTOR.full_name
    if event.dataschema and event.dataschema.rpartition("/")[2] != name:
        raise Invalid(f"{event.type} has the schema {name}, not {event.dataschema}", where="ce_dataschema")


def _parse_json(data: bytes, message: Message) -> None:
    try:
        json_format.Parse(data, message)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the body isn't a {message.DESCRIPTOR.full_name} in JSON: {error}", where="value") from None


def check_finite(message: Message) -> None:
    """Refuse NaN and infinity anywhere in a message: of other systems' numbers, only finite ones mean something.

    Raises:
        Invalid: a number isn't finite; `where` is its field's path.
    """
    for path, number in _numbers(message, ""):
        if not math.isfinite(number):
            raise Invalid(f"{number} is not a finite number", where=path)


def _numbers(message: Message, prefix: str) -> Iterator[tuple[str, float]]:
    for descriptor, value in message.ListFields():
        path = f"{prefix}{descriptor.name}"
        for place, item in _items(descriptor, path, value):
            if isinstance(item, float):
                yield place, item
            elif isinstance(item, Message):
                yield from _numbers(item, f"{place}.")


def _items(descriptor: FieldDescriptor, path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not descriptor.is_repeated:
        yield path, value
    elif hasattr(value, "items"):
        yield from ((f"{path}[{key}]", item) for key, item in value.items())
    else:
        yield from ((f"{path}[{index}]", item) for index, item in enumerate(value))
