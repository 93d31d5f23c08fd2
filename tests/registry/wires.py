"""Kafka, as the registry's tests write and read it."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.kafka import Consumer


class Topics:
    """Kafka, as a test writes and reads it, and the registry's consumer of it."""

    def __init__(self, bootstrap: str, producer: AIOKafkaProducer, consumer: Consumer[Any]) -> None:
        self.consumer = consumer
        self._bootstrap = bootstrap
        self._producer = producer

    async def tell(self, event: CloudEvent, topic: str = "ingest.events") -> None:
        await self.put(topic, event.subject, event.data, headers_of(event))

    async def put(self, topic: str, key: str, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        await self._producer.send_and_wait(topic, value, key=key.encode(), headers=headers)

    async def heard(self, topic: str, key: str, type_name: str = "") -> list[tuple[dict[str, bytes], bytes]]:
        """Headers and values of a key's events on a topic, in order; of one type, or of all."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found = []
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [
                        (dict(record.headers), record.value or b"") for record in records if record.key == key.encode()
                    ]
        finally:
            await consumer.stop()
        return [one for one in found if not type_name or one[0].get("ce_type") == type_name.encode()]
