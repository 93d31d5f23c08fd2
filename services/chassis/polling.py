"""Polling: what aiokafka gives, and a stand-in for the event that it can't decode.

aiokafka decodes a header's name as strict UTF-8 while it hands records out, and raises for all of them: with it ends
the poll, and what the poll had taken from other partitions is lost. So whoever polls goes back to where it stood, and
the partitions that have something are read record by record, up to the one that raises. In its place comes a record
without a key and a value, whose only header says why: `cloudevents.read` refuses it, so it goes the way of everything
that can't be read, with its topic, partition and offset. Its bytes stay on the topic. Only then the position moves on.

Where a producer's transactions leave offsets without an event just before such a record, each of them gets a
stand-in: aiokafka doesn't say at which of them it stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.chassis.cloudevents import UNREADABLE
from services.chassis.parking import Raw

Polled = dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]

_REASON: Final = b"the name of one of its headers isn't UTF-8; its bytes stand on the topic"
_SINGLE: Final = timedelta(seconds=1)  # a fetch of what is known to be there takes milliseconds
_log = structlog.get_logger()


def raw_of(record: ConsumerRecord[Any, Any]) -> Raw:
    """A record as it came."""
    return Raw(
        record.topic, record.partition, record.offset, record.key, record.headers, record.value, record.timestamp
    )


async def poll(
    consumer: AIOKafkaConsumer, *, patience: timedelta, most: int, go_back: Callable[[], Awaitable[None]]
) -> Polled:
    """Poll once.

    Args:
        consumer: Who polls.
        patience: How long to wait for the first record.
        most: How many records at the most.
        go_back: Seeks every partition that isn't paused back to where it stood before the poll.
    """
    try:
        polled: Polled = await consumer.getmany(timeout_ms=_ms(patience), max_records=most)
    except UnicodeDecodeError:
        await go_back()
        return await _singly(consumer, most)
    return polled


async def _singly(consumer: AIOKafkaConsumer, most: int) -> Polled:
    found: Polled = {}
    for place in sorted(consumer.assignment() - consumer.paused()):
        records = await _up_to_the_unreadable(consumer, place, most)
        if records:
            found[place] = records
    return found


async def _up_to_the_unreadable(
    consumer: AIOKafkaConsumer, place: TopicPartition, most: int
) -> list[ConsumerRecord[bytes, bytes]]:
    records: list[ConsumerRecord[bytes, bytes]] = []
    while len(records) < most and await _has_more(consumer, place):
        try:
            polled: Polled = await consumer.getmany(place, timeout_ms=_ms(_SINGLE), max_records=1)
        except UnicodeDecodeError:
            return [*records, await _passed_over(consumer, place)]
        if place not in polled:
            break
        records += polled[place]
    return records


async def _has_more(consumer: AIOKafkaConsumer, place: TopicPartition) -> bool:
    if place not in consumer.assignment():
        return False
    end: int = consumer.highwater(place) or 0
    position: int = await consumer.position(place)
    return end > position


async def _passed_over(consumer: AIOKafkaConsumer, place: TopicPartition) -> ConsumerRecord[bytes, bytes]:
    offset = await consumer.position(place)
    consumer.seek(place, offset + 1)
    _log.error("an event can't be decoded", topic=place.topic, partition=place.partition, offset=offset)
    return ConsumerRecord(
        topic=place.topic,
        partition=place.partition,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=None,
        value=None,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=[(UNREADABLE, _REASON)],
    )


def _ms(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)
