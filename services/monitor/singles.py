"""Single events of one prediction each, gathered into columnar batches: one form for all that comes after.

Events of one poll that were served in the same place make a batch. Its name is where its first event stands on the
topic, so the same events make the same batch whichever replica reads them. What an event leaves out is a missing value.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from services.chassis import cloudevents
from services.chassis.cloudevents import JSON, CloudEvent
from services.chassis.errors import Invalid
from services.monitor.batches import LABEL, SCORE, text_column
from services.profile import Kind, ReferenceProfile, Role

TYPE: Final = "prediction.recorded"
_NAN: Final = float("nan")


class Served(NamedTuple):
    """Where a prediction was served."""

    model: str
    version: int
    environment: str
    epoch: int
    candidate: bool


@dataclass(frozen=True, slots=True)
class Single:
    """One prediction, checked.

    Args:
        body: What was told.
        record_id: Its id, 16 bytes.
        time_us: When it was predicted, microseconds since 1970-01-01 UTC.
    """

    body: PredictionRecorded
    record_id: bytes
    time_us: int

    @property
    def served(self) -> Served:
        """Where it was served."""
        body = self.body
        return Served(body.model, body.version, body.environment, body.epoch or 1, body.candidate)


def read(event: CloudEvent) -> PredictionRecorded:
    """An event's body.

    Raises:
        Invalid: it isn't a prediction.
    """
    if event.content_type == JSON and event.dataschema in {"", PredictionRecorded.DESCRIPTOR.full_name}:
        try:
            return PredictionRecorded(**json.loads(event.data))
        except (TypeError, ValueError, AttributeError):
            pass  # protobuf's own JSON knows more ways to write it, at thirty times the cost, and says what is wrong
    return cloudevents.body(event, PredictionRecorded)


def check(body: PredictionRecorded, appended_ms: int) -> Single:
    """A prediction, with what it left out.

    Raises:
        Invalid: it names no model or version, or its id isn't a UUID.
    """
    if not body.model or not body.version:
        raise Invalid("a prediction names its model and version", where="model")
    try:
        record_id = uuid.UUID(body.record_id) if body.record_id else uuid.uuid4()
    except ValueError:
        raise Invalid(f"{body.record_id[:80]!r} is no UUID", where="record_id", fix="leave it out") from None
    told = body.HasField("event_time")
    return Single(body, record_id.bytes, body.event_time.ToMicroseconds() if told else appended_ms * 1000)


def by_place(singles: Iterable[Single]) -> dict[Served, list[Single]]:
    """Predictions by where they were served, in the order in which they stand on the topic."""
    places: dict[Served, list[Single]] = {}
    for single in singles:
        places.setdefault(single.served, []).append(single)
    return places


def gathered(
    place: Served, singles: Sequence[Single], name: str, profile: ReferenceProfile | None
) -> InferenceRecorded:
    """Predictions of one place as a batch.

    Args:
        place: Where they were served.
        singles: The predictions.
        name: Where the first of their poll stands, such as inference.records/3/1042.
        profile: The version's reference, whose inputs are looked for; without it, whatever they have.
    """
    bodies = [single.body for single in singles]
    numbers, texts = [body.numbers for body in bodies], [body.texts for body in bodies]
    scores = [body.score if body.HasField("score") else _NAN for body in bodies]
    outputs = [pb.Column(name=SCORE, numbers=scores)]
    if any(body.label for body in bodies):
        outputs.append(text_column(LABEL, [body.label or None for body in bodies]))
    return InferenceRecorded(
        model=place.model,
        version=place.version,
        environment=place.environment,
        epoch=place.epoch,
        arm=pb.ARM_CANDIDATE if place.candidate else pb.ARM_STABLE,
        server=f"{name}/{place.model}/{place.environment}/{place.version}/{place.epoch}",
        batch=1,
        record_ids=b"".join(single.record_id for single in singles),
        event_times_us=[single.time_us for single in singles],
        inputs=[
            *(_number(each, numbers) for each in _names(numbers, profile, Kind.NUMERIC)),
            *(text_column(each, [row.get(each) for row in texts]) for each in _names(texts, profile, Kind.CATEGORICAL)),
        ],
        outputs=outputs,
    )


def _names(rows: Iterable[Mapping[str, object]], profile: ReferenceProfile | None, kind: Kind) -> list[str]:
    if profile is None:
        return sorted({name for row in rows for name in row})
    return [each.name for each in profile.features if each.kind is kind and each.role is Role.INPUT]


def _number(name: str, rows: Iterable[Mapping[str, float]]) -> pb.Column:
    return pb.Column(name=name, numbers=[row.get(name, _NAN) for row in rows])
