"""Rewinding: a consumer's partitions go where a rebuild's rows say (rebuilding.py), and not where Kafka's commits are.

Rows are looked at now and then, so that a rebuild that another replica began is noticed on a quiet topic too; on a
busy one the transaction notices first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.database import Database
from services.chassis.errors import GoldenpathError, Unavailable
from services.chassis.parking import Raw
from services.chassis.rebuilding import Ends, Place, Rebuilding
from services.chassis.topics import Topic

_LOOK_EVERY: Final = timedelta(milliseconds=200)


class Rewinding(ConsumerRebalanceListener):
    """A consumer's partitions in a rebuild. It listens to rebalances: whoever gets a partition looks at its row.

    Args:
        rebuilding: The consumer's rebuilds.
        database: Where the rows are.
    """

    def __init__(self, rebuilding: Rebuilding, database: Database[Any]) -> None:
        self._rebuilding = rebuilding
        self._database = database
        self._look_at = 0.0

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """They are somebody else's now, perhaps."""
        self._rebuilding.leave(map(_place, revoked))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """They are ours, perhaps again."""
        self._rebuilding.leave(map(_place, assigned))

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Go where the rows say, now and then."""
        now = asyncio.get_running_loop().time()
        if not self._rebuilding.possible or now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY.total_seconds()
        try:
            rows = await self._rebuilding.places(self._database)
            for place, (next_, until) in rows.items():
                await self._follow_one(consumer, place, next_, until)
        except GoldenpathError:
            return  # the database is down; whoever handles events says so

    async def _follow_one(self, consumer: AIOKafkaConsumer, place: Place, next_: int, until: int) -> None:
        at = TopicPartition(*place)
        if at not in consumer.assignment():
            return
        if self._rebuilding.stands(place) != next_:
            consumer.seek(at, next_)
            self._rebuilding.stand(place, next_)
        elif await consumer.position(at) >= until:
            # What a producer's transactions leave there are offsets without an event.
            await self._rebuilding.pass_on(self._database, place, from_=next_, to=until)

    def take_back(self, consumer: AIOKafkaConsumer, polled: Mapping[TopicPartition, Sequence[Raw]]) -> None:
        """Nothing of a poll was handled, as a rebuild goes on elsewhere."""
        for at in polled.keys() & consumer.assignment():
            consumer.seek(at, polled[at][0].offset)
        self._look_at = 0.0

    async def go_back(self, consumer: AIOKafkaConsumer) -> None:
        """Seek what isn't paused to where it stood: in a rebuild as the row says, else to what is committed.

        Of what was handled behind it, the inbox knows.
        """
        for at in consumer.assignment() - consumer.paused():
            stands = self._rebuilding.stands(_place(at))
            offset = await consumer.committed(at) if stands is None else stands
            if offset is None:
                await consumer.seek_to_beginning(at)
            else:
                consumer.seek(at, offset)


async def ends_of(consumer: AIOKafkaConsumer | None, topics: Sequence[Topic]) -> Ends:
    """Of each partition of these topics, the oldest offset and the one behind the newest.

    Raises:
        Unavailable: Kafka doesn't answer, or there is no connection to it.
    """
    if consumer is None:
        raise Unavailable("there is no connection to Kafka yet", fix="golden doctor")
    try:
        numbers = [(one.name, number) for one in topics for number in consumer.partitions_for_topic(one.name) or ()]
        places = [TopicPartition(name, number) for name, number in numbers]
        first, last = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    except KafkaError as error:
        raise Unavailable(f"Kafka doesn't say where its logs end: {error}") from None
    return {_place(at): (first[at], last[at]) for at in places}


def _place(at: TopicPartition) -> Place:
    return at.topic, at.partition
