"""The monitor on a real PostgreSQL, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.clock import ManualClock
from services.chassis.database import Database
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer
from services.chassis.topics import create_topics
from services.monitor import handlers
from services.monitor.app import database_of
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.handlers import Arrived
from services.monitor.packed import whole
from services.monitor.preparing import counted
from services.monitor.store import MonitorUnitOfWork
from services.profile import Column
from tests.monitor.made_up import MadeUpRegistry, batch_of, credit, profile
from tests.monitor.outcomes import PROMISE
from tests.monitor.running import Running, make_topic, registry_server, settings_for


@dataclass
class Bench:
    """A monitor's database, a judge for every version, and records to feed them."""

    database: Database[MonitorUnitOfWork]
    clock: ManualClock
    random: np.random.Generator
    kept: int = 10_000
    open_records: int = 200_000
    judge: Judge = field(default_factory=lambda: Judge(profile(), Settings()))

    async def see(self, rows: int, *, batch: int = 200, broken: dict[str, Any] | None = None, **more: Any) -> None:
        """Records arrive; `broken` gives one value for all rows of a column."""
        for _ in range(0, rows, batch):
            self.clock.advance(timedelta(seconds=1))
            columns = credit(self.random, batch, **{n: _filled(v, batch) for n, v in (broken or {}).items()})
            times = [int(self.clock.now().timestamp() * 1e6)] * batch
            await self.take(batch_of(columns, self.random.beta(1, 9, batch), event_times_us=times, **more))

    async def take(self, *bodies: pb.InferenceRecorded) -> None:
        """Batches arrive in one poll."""
        arrived = [self.arrived(body) for body in bodies]
        judges = {(body.model, body.version): self.judge for body in bodies}
        async with self.database.begin() as uow:
            await handlers.take_records(arrived, judges, uow, kept=self.kept, open_records=self.open_records)

    def arrived(self, body: pb.InferenceRecorded) -> Arrived:
        """A batch, counted."""
        return counted(whole(body.SerializeToString()), self.judge, self.clock.now(), "")

    async def rows(self, query: str, *values: Any) -> list[Any]:
        """What a query gives."""
        async with self.database.read() as connection:
            return list(await connection.fetch(query, *values))


@pytest.fixture
async def bench(database: Any) -> AsyncIterator[Bench]:
    clock = ManualClock()
    opened = database_of(settings_for(database.dsn), clock)
    await opened.start()
    yield Bench(opened, clock, np.random.default_rng(17))
    await opened.stop()


def _filled(value: object, rows: int) -> Column:
    return np.full(rows, value, dtype=object if isinstance(value, str) else float)


@pytest.fixture
async def monitor(kafka: str, database: Any, unique: str, tmp_path: Path) -> AsyncIterator[Running]:
    """A whole monitor that runs."""
    topic = f"{unique}.records"
    async with AsyncExitStack() as stack:
        await create_topics(KafkaAccess(kafka))
        await make_topic(kafka, topic)
        issuer = Issuer(tmp_path)
        registry = MadeUpRegistry()  # type: ignore[abstract]  # nobody asks it anything else
        registry.profiles["credit", 1] = profile().to_bytes()
        server = registry_server("127.0.0.1:0", registry, issuer)
        await server.start()
        stack.push_async_callback(server.stop)
        producer = AIOKafkaProducer(bootstrap_servers=kafka)
        await producer.start()
        stack.push_async_callback(producer.stop)
        running = Running(kafka, topic, unique, database.dsn, registry, server, producer, issuer, tmp_path)
        await running.start()
        stack.push_async_callback(running.stop)
        yield running


@pytest.fixture
def promised(bench: Bench) -> Bench:
    """A monitor whose versions promise a log loss of at most 0.4."""
    bench.judge = Judge(profile(), Settings(), PROMISE)
    return bench
