"""Batches to Kafka: acks=all and idempotent, no key, so that batches spread over the partitions.

The producer is made when the first batch is there, and made anew after an error: a producer whose sequence numbers the
broker no longer knows can't recover. A batch in flight may then arrive twice, and its number tells.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.errors import Invalid
from services.chassis.settings import KafkaAccess

TOPIC: Final = "inference.records"
_CLOSING_SECONDS: Final = (
    1.0  # closing a producer waits for its broker; by then everything was acknowledged or given up
)


class KafkaSink:
    """Sends batches to inference.records.

    Args:
        kafka: Where Kafka is, and as whom we come.
    """

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self._producer: Any = None

    async def send(self, event: CloudEvent) -> None:
        """Send a batch, and wait for every replica's acknowledgement.

        Raises:
            Unavailable: Kafka didn't acknowledge it.
            Invalid: it is larger than Kafka takes.
        """
        try:
            producer = await self._started()
            await producer.send_and_wait(TOPIC, value=event.data, headers=headers_of(event))
        except MessageSizeTooLargeError as error:
            raise Invalid(f"the batch is larger than Kafka takes: {error}", where=event.id) from error
        except (KafkaError, OSError) as error:
            await self.stop()
            raise await self._kafka.explained(error) from error

    async def stop(self) -> None:
        """Close the producer, if there is one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await producer.stop()

    async def _started(self) -> Any:
        if self._producer is None:
            self._producer = AIOKafkaProducer(**self._kafka.client(), acks="all", enable_idempotence=True)
            await self._producer.start()
        return self._producer
