"""What an event is at a glance, by the attributes that tell: most events are of few forms, and reading all is costly.

Attributes that nobody reads needn't be right: only that they are there is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from services.chassis.cloudevents import JSON, PROTOBUF, Headers

SINGLE: Final = "prediction.recorded"
BATCH: Final = "inference.recorded"
COLUMNAR: Final = "columnar"
OTHER: Final = ""
_LOOKED_AT: Final = itemgetter("ce_specversion", "ce_type", "content-type", "ce_id", "ce_source", "ce_time")
_TELLING: Final = {"ce_specversion", "ce_type", "content-type", "ce_dataschema"}
_NAME: Final = itemgetter(0)
_FORMS: Final = {
    (b"1.0", kind.encode(), content_type.encode(), named): form
    for kind, content_type, schema, form in (
        (SINGLE, PROTOBUF, PredictionRecorded, PROTOBUF),
        (SINGLE, JSON, PredictionRecorded, JSON),
        (BATCH, PROTOBUF, InferenceRecorded, COLUMNAR),
    )
    for named in (None, schema.DESCRIPTOR.full_name.encode())
}


def form_of(headers: Headers) -> str:
    """`COLUMNAR` for a batch, the content type for one prediction; `OTHER` where its attributes don't tell."""
    found = dict(headers)
    try:
        version, kind, content_type, *_ = _LOOKED_AT(found)
    except KeyError:
        return OTHER
    return _FORMS.get((version, kind, content_type, found.get("ce_dataschema")), OTHER)


def shared_form(events: Sequence[Headers]) -> str:
    """The form of all events, looked at together for half the cost; `OTHER` where their senders lay them out apart.

    Args:
        events: Their headers, at least one event's.
    """
    first, width = events[0], len(events[0])
    if {*map(len, events)} != {width}:
        return OTHER
    attributes = list(chain.from_iterable(events))
    for place, attribute in enumerate(first):
        column, name = attributes[place::width], attribute[0]
        alike = column.count(attribute) if name in _TELLING else list(map(_NAME, column)).count(name)
        if alike < len(events):
            return OTHER
    return form_of(first)


def traceparent_of(headers: Headers) -> str:
    """The trace context in which an event was sent; UnicodeDecodeError where it can't be one."""
    return dict(headers).get("ce_traceparent", b"").decode("ascii")
