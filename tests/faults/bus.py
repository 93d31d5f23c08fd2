"""What stands on Kafka: read from the beginning, once, and written to by the adversary, who remembers where.

Everything is read with the consumer's own patience for what can't be decoded (`services.chassis.polling`), and kept:
a campaign's topics are some ten thousand records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from services.chassis import cloudevents
from services.chassis.cloudevents import CloudEvent, Headers
from services.chassis.errors import Invalid
from services.chassis.polling import poll
from services.chassis.topics import DEAD_LETTERS, TOPICS

_POLL: Final = timedelta(milliseconds=500)
_MOST: Final = 2_000
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Written:
    """A record as it stands on a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes | None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.topic, self.partition, self.offset

    @cached_property
    def event(self) -> CloudEvent | None:
        """The event that it is; None where it can't be read."""
        try:
            return cloudevents.read(self.headers, self.value)
        except Invalid:
            return None


@dataclass
class Bus:
    """The topics of a platform.

    Args:
        bootstrap: Kafka's address, without a link.
    """

    bootstrap: str
    records: list[Written] = field(default_factory=list)
    poison: set[Place] = field(default_factory=set)
    repeats: set[Place] = field(default_factory=set)
    _next: dict[TopicPartition, int] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ends(self) -> dict[TopicPartition, int]:
        """Where each partition ends."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(_places())
            return ends
        finally:
            await consumer.stop()

    async def read(self) -> None:
        """Read what was written since the last time; two who ask at once don't read it twice."""
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, enable_auto_commit=False, isolation_level="read_committed"
        )
        await consumer.start()
        try:
            consumer.assign(_places())
            ends = await consumer.end_offsets(_places())

            async def go_on() -> None:
                for place in _places():
                    consumer.seek(place, self._next.get(place, 0))

            await go_on()
            while any(self._next.get(place, 0) < end for place, end in ends.items()):
                for place, records in (await poll(consumer, patience=_POLL, most=_MOST, go_back=go_on)).items():
                    self.records += [_written(record) for record in records]
                    self._next[place] = records[-1].offset + 1
        finally:
            await consumer.stop()

    async def committed(self, heard: Mapping[str, Sequence[str]]) -> dict[tuple[str, TopicPartition], int]:
        """By consumer group, given with the topics that it hears, how far each partition is committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            found = {}
            for group, topics in heard.items():
                stood = await admin.list_consumer_group_offsets(group)
                for place in _places():
                    if place.topic in topics:
                        found[group, place] = stood[place].offset if place in stood else 0
        finally:
            await admin.close()
        return found

    async def forget_offsets(self, group: str, topics: Iterable[str]) -> None:
        """Let a group that nobody is in begin at the beginning again."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            places = [place for place in _places() if place.topic in set(topics)]
            consumer.assign(places)
            await consumer.commit(dict.fromkeys(places, 0))
        finally:
            await consumer.stop()

    async def write(self, records: Iterable[tuple[str, bytes | None, Headers, bytes | None]]) -> list[Place]:
        """Write records as they are, one after another; where they stand."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        try:
            await producer.start()
            sent = [
                await producer.send_and_wait(topic, value, key=key, headers=list(headers))
                for topic, key, headers, value in records
            ]
        finally:
            await producer.stop()
        return [(stood.topic, stood.partition, stood.offset) for stood in sent]

    async def write_behind_all(self, records: Iterable[tuple[str, bytes | None, Headers, bytes | None]]) -> None:
        """Write records at the end of one of their topic's partitions each, beginning with the first."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        try:
            await producer.start()
            for partition, (topic, key, headers, value) in enumerate(records):
                await producer.send_and_wait(topic, value, key=key, headers=list(headers), partition=partition)
        finally:
            await producer.stop()

    async def write_undecodable(self, topic: str) -> Place:
        """Write a record with a header whose name isn't UTF-8, as other clients can."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        try:
            batch: Any = producer.create_batch()
            # The compiled builder takes only text; the one in Python asks the name for its bytes.
            batch._builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, -1, -1, 1_000_000)
            batch.append(key=b"key", value=b"", timestamp=None, headers=[(_NoText(), b"value")])
            stood = await (await producer.send_batch(batch, topic, partition=0))
        finally:
            await producer.stop()
        return stood.topic, stood.partition, stood.offset


class _NoText(str):
    """A header's name that is no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


def _places() -> list[TopicPartition]:
    own = [TopicPartition(topic.name, partition) for topic in TOPICS for partition in range(topic.partitions)]
    return own + [TopicPartition(topic.name + DEAD_LETTERS, 0) for topic in TOPICS]


def _written(record: ConsumerRecord[bytes, bytes]) -> Written:
    return Written(record.topic, record.partition, record.offset, record.key, tuple(record.headers), record.value)
