"""Finds one record on inference.records, where it stands as it was served.

No table holds every record, and none is needed: an id that a model server gave is a UUIDv7 and tells its millisecond,
and Kafka finds the offset of a moment. What was appended from then on is read until the record comes. Another id is
looked for from the topic's beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.errors import NotFound, Unavailable
from services.chassis.parking import Raw
from services.chassis.polling import Polled, poll, raw_of
from services.chassis.settings import KafkaAccess
from services.monitor import arrow_batches, record_ids
from services.monitor.batches import ids_of, whole
from services.monitor.domain.judge import Judge
from services.monitor.preparing import prepare

_BEFORE: Final = timedelta(seconds=10)  # how far a model server's clock may be ahead of the broker's
_AFTER: Final = timedelta(hours=1)  # how long a record may have waited in a server's buffer
_POLL: Final = timedelta(milliseconds=200)
_MOST: Final = 2_000  # messages a poll


@dataclass(frozen=True)
class Found:
    """A record and where it stands.

    Args:
        record: It alone, as a batch of one.
        raw: The message that holds it.
    """

    record: pb.InferenceRecorded
    raw: Raw


class Finder:
    """Looks for records.

    Args:
        kafka: Where Kafka is, and as whom we come.
        topic: Where records stand.
    """

    def __init__(self, kafka: KafkaAccess, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic

    async def find(self, record: UUID) -> Found:
        """Find a record by its id.

        Raises:
            NotFound: it isn't on the topic, or not any more.
            Unavailable: Kafka doesn't answer.
        """
        consumer = AIOKafkaConsumer(self._topic, **self._kafka.client(), isolation_level="read_committed")
        try:
            await consumer.start()
            found = await _search(consumer, record)
        except KafkaError as error:
            raise Unavailable(f"Kafka doesn't answer: {error}") from None
        finally:
            await consumer.stop()
        if found is None:
            raise NotFound(
                f"there is no record {record} on {self._topic}",
                fix="it may be older than the topic keeps, or of a request that failed; the answer's own id is needed",
            )
        return found


async def _search(consumer: AIOKafkaConsumer, record: UUID) -> Found | None:
    until_ms, ends = await _begin(consumer, record)
    while ends:
        at = {place: await consumer.position(place) for place in ends}

        async def go_back(at: Mapping[TopicPartition, int] = at) -> None:
            for place, offset in at.items():
                consumer.seek(place, offset)

        polled = await poll(consumer, patience=_POLL, most=_MOST, go_back=go_back)
        for records in polled.values():
            for raw in map(raw_of, records):
                if _may_hold(raw, record) and (found := await _in(raw, record)) is not None:
                    return found
        for place in [place for place, end in ends.items() if await consumer.position(place) >= end]:
            del ends[place]
        _leave_what_came_later(consumer, polled, until_ms, ends)
    return None


async def _begin(consumer: AIOKafkaConsumer, record: UUID) -> tuple[float, dict[TopicPartition, int]]:
    """Stand where the record may be; until when it may have been appended, and where each partition ends now."""
    places = sorted(consumer.assignment())  # without a group: all partitions of its topic
    ends = await consumer.end_offsets(places)
    made_ms = record_ids.made_ms(record)
    if made_ms is None:
        await consumer.seek_to_beginning(*places)
        return float("inf"), dict(ends)
    from_ms = max(0, made_ms - int(_BEFORE.total_seconds() * 1000))
    firsts = await consumer.offsets_for_times(dict.fromkeys(places, from_ms))
    for place in places:
        consumer.seek(place, firsts[place].offset if firsts[place] else ends[place])
    return made_ms + _AFTER.total_seconds() * 1000, dict(ends)


def _leave_what_came_later(
    consumer: AIOKafkaConsumer, polled: Polled, until_ms: float, ends: dict[TopicPartition, int]
) -> None:
    for place, records in polled.items():
        if place in ends and records[-1].timestamp > until_ms:
            consumer.pause(place)
            del ends[place]


def _may_hold(raw: Raw, record: UUID) -> bool:
    """A look at the bytes, which spares decoding what can't hold it; Arrow's may be compressed."""
    value = raw.value or b""
    arrow = any(name == "content-type" and told.startswith(arrow_batches.ARROW.encode()) for name, told in raw.headers)
    return arrow or record.bytes in value or str(record).encode() in value.lower()


async def _in(raw: Raw, record: UUID) -> Found | None:
    for arrived in (await prepare([raw], _Nobody())).arrived:
        batch = pb.InferenceRecorded.FromString(arrived.data)
        ids = ids_of(batch)
        if record in ids:
            return Found(whole(batch, ids.index(record)), raw)
    return None


class _Nobody:
    """Judges nothing: a record is looked for, and not counted."""

    async def of(self, model: str, version: int) -> Judge | None:  # noqa: ARG002 - the protocol's shape
        """No judge."""
        return None
