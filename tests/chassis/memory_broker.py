"""A broker in memory, which repeats, loses acknowledgements and moves partitions when it is told to.

It is what aiokafka's producer and consumer are to the relay and to the consumer, and nothing more: a log per
partition, one committed offset per partition, and whose partition it is.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaTimeoutError

from services.chassis.cloudevents import Headers

PARTITIONS = 2
Record = ConsumerRecord[bytes, bytes]


class Send(Enum):
    """What becomes of a record that is sent."""

    ARRIVES = "it arrives"
    UNHEARD = "it arrives, and its acknowledgement is lost"
    LOST = "it is lost"


@dataclass
class Broker:
    """The logs, and who reads them."""

    logs: dict[TopicPartition, list[Record]] = field(default_factory=lambda: defaultdict(list))
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    owner: dict[TopicPartition, MemoryConsumer] = field(default_factory=dict)

    def append(self, topic: str, key: bytes | None, headers: Headers, value: bytes | None) -> None:
        """Write a record behind the others of its key."""
        place = TopicPartition(topic, zlib.crc32(key or b"") % PARTITIONS)
        stood = self.logs[place]
        stood.append(
            ConsumerRecord(
                topic, place.partition, len(stood), 0, 0, key, value, 0, 0, len(value or b""), tuple(headers)
            )
        )

    def give(self, place: TopicPartition, consumer: MemoryConsumer) -> None:
        """A rebalance: the partition goes to another, who begins at what is committed."""
        self.owner[place] = consumer
        consumer.positions[place] = self.committed.get(place, 0)
        consumer.halted.discard(place)


class MemoryProducer:
    """What a relay sends with.

    Args:
        broker: Where to.
        outcomes: What becomes of the next records, in order; all others arrive.
    """

    def __init__(self, broker: Broker, outcomes: Sequence[Send]) -> None:
        self._broker = broker
        self._outcomes = list(outcomes)

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers
    ) -> asyncio.Future[None]:
        """Send one record; an idempotent producer sends nothing behind one that it gave up."""
        outcome = self._outcomes.pop(0) if self._outcomes else Send.ARRIVES
        acknowledged = asyncio.get_running_loop().create_future()
        if outcome is Send.LOST:
            self._outcomes = [Send.LOST] * 1_000
        else:
            self._broker.append(topic, key, headers, value)
        if outcome is Send.ARRIVES:
            acknowledged.set_result(None)
        else:
            acknowledged.set_exception(KafkaTimeoutError())
        return acknowledged

    async def stop(self) -> None:
        """Nothing is open."""


class MemoryConsumer:
    """What one replica polls with."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.positions: dict[TopicPartition, int] = {}
        self.halted: set[TopicPartition] = set()
        self.loses_commits = False

    def assignment(self) -> set[TopicPartition]:
        return {place for place, owner in self._broker.owner.items() if owner is self}

    def paused(self) -> set[TopicPartition]:
        return self.halted & self.assignment()

    def pause(self, place: TopicPartition) -> None:
        self.halted.add(place)

    def resume(self, place: TopicPartition) -> None:
        self.halted.discard(place)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.positions[place] = offset

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Record]]:  # noqa: ARG002 - nothing is waited for
        polled = {}
        for place in self.assignment() - self.halted:
            records = self._broker.logs[place][self.positions[place] :][:max_records]
            self.positions[place] += len(records)
            if records:
                polled[place] = records
        return polled

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.loses_commits:
            raise CommitFailedError
        self._broker.committed |= offsets
