"""A pusher as a process, on a PostgreSQL of its own, and somebody who looks at what is served all the while."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import numpy as np
import psutil
from aiokafka import AIOKafkaProducer

from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import Running, free_port, start, wait_until
from golden.embedded.services import environment_of, is_ready
from goldenpath.ingest.v1.events_pb2 import FeatureRow, FeaturesComputed
from services.chassis.cloudevents import headers_of
from services.chassis.errors import Unavailable
from services.chassis.testing import Issuer, emitted, eventually
from services.chassis.topics import FEATURES
from services.features.reader import Reader

VIEW: Final = "customer_windows"
CUSTOMERS: Final = 20
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SESSION: Final = timedelta(seconds=6)  # the shortest that a broker allows
PATIENCE: Final = timedelta(seconds=90)  # Feast takes seconds to import, and many times that on a busy machine
_ROWS: Final = 5  # of an event
_LOOK_EVERY: Final = timedelta(milliseconds=50)


def kill_postgres(running: Running) -> None:
    """End a PostgreSQL at once, its children included, so that none of them can say goodbye."""
    running.send(signal.SIGSTOP)  # else the first process sees the others die, and starts new ones
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(running.pid).children(recursive=True):
            child.kill()
    running.send(signal.SIGKILL)
    running.finish(timedelta(seconds=10))


@dataclass
class Stream:
    """Values that stream in, in any order and some of them twice, and the pushers behind them.

    Args:
        kafka: Where they stream.
        dsn: Where they are kept.
        settings: The store's feature_store.yaml.
        folder: The feature repository, and logs.
        world: What the keys of this test begin with: the topic is shared.
        producer: Writes the topic.
        reader: Reads what is online.
        server: The database server, which runs as `database`.
    """

    kafka: str
    dsn: str
    settings: Path
    folder: Path
    world: str
    producer: AIOKafkaProducer
    reader: Reader
    server: PostgresServer
    database: Running
    pushers: list[Running] = field(default_factory=list)
    seen: list[list[int]] = field(default_factory=list)
    told: set[tuple[str, float]] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(8))

    @property
    def names(self) -> list[str]:
        """The customers' keys."""
        return [f"{self.world}-{number}" for number in range(CUSTOMERS)]

    async def start_pusher(self) -> Running:
        """Start a pusher; it is ready when this returns."""
        port = free_port()
        running = start(
            [sys.executable, "-m", "services.pusher"],
            log=self.folder / f"pusher-{len(self.pushers)}.log",
            environment=environment_of(
                {
                    "KAFKA_BOOTSTRAP": self.kafka,
                    "DATABASE_DSN": self.dsn,
                    "FEATURES_STORE": str(self.settings),
                    "FEATURES_REPO": str(self.folder),
                    "HTTP_ADDRESS": f"127.0.0.1:{port}",
                    "JWKS_PATH": str(Issuer(self.folder).jwks_path),
                    "CONSUMER_SESSION_TIMEOUT": f"PT{SESSION.total_seconds():g}S",
                }
            ),
            cwd=Path(__file__).parents[2],
        )
        self.pushers.append(running)
        await asyncio.to_thread(wait_until, lambda: is_ready(port), running, PATIENCE, "the pusher")
        return running

    async def start_postgres(self) -> None:
        """Start the database server again."""
        self.database = await asyncio.to_thread(self.server.start)

    async def tell(self, since: int, until: int) -> None:
        """Publish every customer's values of these minutes, shuffled, and every tenth event twice."""
        minutes = [(name, float(minute)) for name in self.names for minute in range(since, until)]
        shuffled = [minutes[place] for place in self._random.permutation(len(minutes))]
        events = [
            emitted(self._body(shuffled[first : first + _ROWS]), "features.computed", subject=f"features/{VIEW}",
                    sequence=None, source="flink")
            for first in range(0, len(shuffled), _ROWS)
        ]  # fmt: skip
        again = [events[place] for place in sorted(self._random.choice(len(events), len(events) // 10, replace=False))]
        for event in [*events, *again]:
            await self.producer.send(FEATURES.name, event.data, key=event.subject.encode(), headers=headers_of(event))
        await self.producer.flush()
        self.told |= set(minutes)

    def _body(self, rows: Sequence[tuple[str, float]]) -> FeaturesComputed:
        body = FeaturesComputed(view=VIEW)
        for name, minute in rows:
            row = FeatureRow(keys={"customer": name}, numbers={"count_7d": minute, "mean_7d": -minute})
            row.event_time.FromDatetime(NOON + timedelta(minutes=minute))
            body.rows.append(row)
        return body

    async def kept(self) -> list[tuple[str, float]]:
        """What stands in the history: customers and their minutes."""
        connection = await asyncpg.connect(self.dsn, timeout=5)
        try:
            rows = await connection.fetch(
                f"SELECT customer, count_7d FROM {VIEW}_history WHERE customer LIKE $1", f"{self.world}%"
            )
            return [(row["customer"], row["count_7d"]) for row in rows]
        finally:
            await connection.close()

    async def until(self, rows: int) -> None:
        """Wait until so many rows are kept."""

        async def enough() -> bool:
            return len(await self.kept()) >= rows

        await eventually(enough, within=PATIENCE, what=f"{rows} rows kept")

    async def served(self) -> list[float]:
        """What is online of each customer."""
        (read,) = await asyncio.to_thread(self.reader.read, {"customer": self.names}, NOON)
        return list(read.columns[0])

    async def look(self) -> None:
        """Look at how new what is served is, until the end."""
        while not self.ended.is_set():
            with suppress(Unavailable):  # while the database is down
                (read,) = await asyncio.to_thread(self.reader.read, {"customer": self.names}, NOON)
                self.seen.append(read.event_times_us)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY.total_seconds()):
                    await self.ended.wait()

    async def stop(self) -> None:
        """End what still runs."""
        self.ended.set()
        for pusher in self.pushers:
            pusher.send(signal.SIGKILL)
            await asyncio.to_thread(pusher.finish, SESSION)
