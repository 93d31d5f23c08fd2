"""Going back to the beginning of the partitions that an ordered rebuild reads again (rebuild.py).

The beginning is committed to Kafka before the database notes it: whoever dies between the two goes back once more,
and whoever gets the partition afterwards starts from there.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from services.chassis import rebuild
from services.chassis.database import Database
from services.chassis.errors import GoldenpathError
from services.chassis.rebuild import Copies

_LOOK_EVERY: Final = timedelta(seconds=1)  # an operator's order may wait so long
_log = structlog.get_logger()


class Rewinding:
    """Looks for a rebuild now and then, and takes a consumer back.

    Args:
        copies: What is rebuilt.
        database: Where orders stand.
    """

    def __init__(self, copies: Copies, database: Database[Any]) -> None:
        self._copies = copies
        self._database = database
        self._next_look = 0.0

    async def rewind(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """Go back where it was ordered; the partitions that stand at their beginning now."""
        now = asyncio.get_running_loop().time()
        if now < self._next_look:
            return []
        self._next_look = now + _LOOK_EVERY.total_seconds()
        done: list[TopicPartition] = []
        try:
            for place in await self._ordered(consumer):
                await self._go_back(consumer, place)
                done.append(place)
        except (GoldenpathError, CommitFailedError, IllegalStateError) as error:
            _log.info("a rebuild waits", consumer=self._copies.consumer, reason=str(error))
        return done

    async def _ordered(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        async with self._database.read() as connection:
            places = await rebuild.to_rewind(self._copies, connection)
        return sorted(place for place in consumer.assignment() if (place.topic, place.partition) in places)

    async def _go_back(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        beginning = (await consumer.beginning_offsets([place]))[place]
        consumer.seek(place, beginning)
        await consumer.commit({place: beginning})
        async with self._database.begin() as uow:
            await rebuild.rewound(self._copies, (place.topic, place.partition), uow.connection)
        _log.info("a partition is read again from its beginning", topic=place.topic, partition=place.partition)
