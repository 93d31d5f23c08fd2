"""event.rejected: the publisher of another system learns why an event of theirs was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from goldenpath.ingest.v1 import events_pb2 as ingest_pb2
from services.chassis.cloudevents import CloudEvent
from services.chassis.errors import GoldenpathError
from services.chassis.parking import Raw
from services.chassis.telemetry import hop_of
from services.chassis.topics import Topic

if TYPE_CHECKING:
    from services.chassis.database import UnitOfWork


def tell_publisher(uow: UnitOfWork, topic: Topic, raw: Raw, event: CloudEvent | None, error: Exception) -> None:
    """Tell on the service's own topic why an event was refused; `event` is None where it couldn't even be read."""
    uow.actor = ""  # the service refuses, not whoever sent it
    subject = event.subject if event and event.subject else f"topic/{raw.topic}"
    traceparent = hop_of(raw.headers) or (event.traceparent if event else "")
    uow.emit(topic, "event.rejected", subject, _rejection(raw, event, error), traceparent=traceparent)


def _rejection(raw: Raw, event: CloudEvent | None, error: Exception) -> ingest_pb2.EventRejected:
    # An error that nobody foresaw says nothing to the outside.
    known = error if isinstance(error, GoldenpathError) else GoldenpathError("the event can't be handled")
    return ingest_pb2.EventRejected(
        event_id=event.id if event else "",
        event_source=event.source if event else "",
        event_type=event.type if event else "",
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        error=type(error).__name__ if isinstance(error, GoldenpathError) else "Unknown",
        what=_encodable(known.what),
        where=_encodable(known.where),
        fix=_encodable(known.fix),
    )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
