"""The stream of records, read from a real Kafka."""

from __future__ import annotations

import asyncio
import gc
import weakref
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaProducer

from services.chassis.cloudevents import headers_of
from services.chassis.settings import KafkaAccess
from services.chassis.testing import emitted, eventually
from services.monitor.intake import Intake, Read
from services.monitor.stream import RecordStream
from tests.monitor.conftest import Bench
from tests.monitor.running import make_topic
from tests.monitor.test_intake import BODIES, Remembered

MANY = 2_000  # more than Python lets gather before it looks for garbage


class Cycle:
    """Something that only the search for garbage frees."""

    def __init__(self) -> None:
        self.itself = self


class Littering(Intake):
    """An intake that leaves garbage at each poll, and looks whether garbage is looked for."""

    looked_for: list[bool]
    garbage: list[weakref.ref[Cycle]]

    async def take(self, *reads: Read) -> list[list[bool]]:
        """Take it in."""
        self.looked_for = [gc.isenabled()]
        self.garbage = [weakref.ref(Cycle()) for _ in range(MANY)]
        return await super().take(*reads)


async def test_garbage_is_looked_for_between_polls_and_not_within(kafka: str, bench: Bench, unique: str) -> None:
    await make_topic(kafka, unique)
    judges: Any = Remembered(bench.judge)
    intake = Littering(unique, unique, bench.database, judges, kept=10_000)
    stream = RecordStream(
        intake, kafka=KafkaAccess(kafka), topic=unique, group=unique, session_timeout=timedelta(seconds=10)
    )
    intake.garbage = []
    reading = asyncio.ensure_future(stream.run())
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        event = emitted(BODIES[0], "inference.recorded", subject="model/credit")
        await producer.send_and_wait(unique, event.data, headers=headers_of(event))

    async def gone() -> bool:
        return bool(intake.garbage) and not any(each() for each in intake.garbage)

    await eventually(gone, what="garbage is found")
    assert intake.looked_for == [False]
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert gc.isenabled()
