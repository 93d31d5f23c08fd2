"""Partitions that wait at an event, because something that everybody shares is down: which, and until when."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

_FIRST: Final = timedelta(milliseconds=250)
_LAST: Final = timedelta(seconds=10)
_DOUBLINGS: Final = 6


class Pauses:
    """A consumer's paused partitions, each with the time at which it goes on; longer each time in a row."""

    def __init__(self) -> None:
        self._until: dict[TopicPartition, float] = {}
        self._times: Counter[TopicPartition] = Counter()
        self._why: dict[TopicPartition, str] = {}

    @property
    def reasons(self) -> list[str]:
        """Why partitions wait, or have waited since the last event went well: a sentence for each."""
        return list(self._why.values())

    def begin(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int, why: str) -> None:
        """Let a partition wait at an event, unless it is somebody else's by now."""
        if place not in consumer.assignment():
            return
        consumer.seek(place, offset)
        consumer.pause(place)
        wait = min(_FIRST * 2 ** min(self._times[place], _DOUBLINGS), _LAST)
        self._times[place] += 1
        self._why[place] = why
        self._until[place] = asyncio.get_running_loop().time() + wait.total_seconds()

    def end_those_due(self, consumer: AIOKafkaConsumer) -> None:
        """Let the partitions go on whose time has come."""
        now = asyncio.get_running_loop().time()
        for place in [place for place, until in self._until.items() if until <= now]:
            del self._until[place]
            if place in consumer.assignment():
                consumer.resume(place)
            else:
                self._why.pop(place, None)

    def went_well(self, place: TopicPartition) -> None:
        """The next pause of a partition is a first one again."""
        del self._times[place]
        self._why.pop(place, None)

    def clear(self) -> None:
        """Forget them all: their consumer is gone."""
        self._until.clear()
        self._why.clear()
