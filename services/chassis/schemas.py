"""Messages by their full names, as `ce_dataschema` gives them: only those that stand in topics.py."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from google.protobuf.message import Message

from services.chassis.topics import TOPICS

NAMES: Final = frozenset(event_type.schema for topic in TOPICS for event_type in topic.types)


def message_class(name: str) -> type[Message] | None:
    """The class of a body's message; None for a name that is none of ours.

    >>> message_class("goldenpath.ingest.v1.ProjectStarted").DESCRIPTOR.name
    'ProjectStarted'
    >>> message_class("os.path")
    """
    if name not in NAMES:
        return None
    package, _, message = name.rpartition(".")
    found: type[Message] = getattr(import_module(f"{package}.events_pb2"), message)
    return found
