"""How the monitor grows: 10,000 deployments in one process, ten busy ones among few or many, and two replicas.

Each deployment has a reference of its own with 25 features and a score. All goes through the monitor's own intake and
judges on a real PostgreSQL; the registry's answers stand there already, as after a first day. CPU is this process's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from pydantic import SecretStr

from benchmarks.figures import TIMES, Figure
from benchmarks.monitor import made_up_profile, message
from benchmarks.processes import postgres
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.grpc_client import Sibling
from services.chassis.parking import Raw
from services.monitor.app import database_of
from services.monitor.clients import MOST_JUDGES, Judges
from services.monitor.intake import Intake
from services.monitor.settings import MonitorSettings
from services.monitor.store import MonitorUnitOfWork

DEPLOYMENTS: Final = 10_000
FEW: Final = 100
BUSY: Final = 10
ROWS: Final = 100  # a batch
A_POLL: Final = 100  # deployments
ROUNDS: Final = 15  # polls of the busy ones; the quickest counts, as others on the machine can only slow it down
REPLICA_POLLS: Final = 10
REPLICA_BATCHES: Final = 20  # a poll: readers that have much to do have full ones


def measure() -> list[Figure]:
    """Memory with all deployments, the ratio of ticks, and what a second replica costs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, postgres(Path(folder)) as dsn:
        return asyncio.run(_measured(dsn))


async def _measured(dsn: str) -> list[Figure]:
    settings = MonitorSettings(
        database_dsn=SecretStr(dsn), kafka_bootstrap="", jwks_path=Path("none"), grpc_address="", http_address=""
    )
    database = database_of(settings, SystemClock())
    await database.start()
    random = np.random.default_rng(0)
    feed = _Feed(database, random, kept=settings.kept_records)
    await feed.know(DEPLOYMENTS)
    process = psutil.Process()
    await feed.take(range(FEW))
    among_few = await feed.busy()
    most = process.memory_info().rss
    for start in range(FEW, DEPLOYMENTS, A_POLL):
        await feed.take(range(start, start + A_POLL))
        most = max(most, process.memory_info().rss)
    among_many = await feed.busy()
    one, two = await feed.replicas(1), await feed.replicas(2)
    await database.stop()
    beside = f"{DEPLOYMENTS:,} deployments, the whole process at its most; {MOST_JUDGES:,} judges are kept"
    ticks = f"{BUSY} busy deployments: {among_few * 1e3:.1f} ms CPU among {FEW}, {among_many * 1e3:.1f} among all"
    rates = f"rows per CPU second, {two:,.0f} with two readers of two partitions, {one:,.0f} with one"
    return [
        Figure("monitor.deployments.memory", round(most / 2**20), "MiB", beside),
        Figure("monitor.deployments.tick", round(among_many / among_few, 3), TIMES, ticks),
        Figure("monitor.replicas.rows_per_cpu_second", round(two / one, 3), TIMES, rates),
    ]


class _Feed:
    """Gives deployments batches of records."""

    def __init__(self, database: Database[MonitorUnitOfWork], random: np.random.Generator, *, kept: int) -> None:
        judges = Judges(database, Sibling("registry", "127.0.0.1:1", token=str), SystemClock())
        self._intakes = [Intake("bench", "records", database, judges, kept=kept) for _ in range(2)]
        self._database = database
        self._random = random
        self._next = [0, 0]
        self._batch = 0

    async def know(self, deployments: int) -> None:
        """Know as many deployments' references as if the registry had told."""
        profiles = [made_up_profile(self._random, 5_000).to_bytes() for _ in range(20)]
        rows = [(_name(place), 1, profiles[place % len(profiles)], json.dumps({})) for place in range(deployments)]
        async with self._database.begin() as uow:
            await uow.connection.executemany("INSERT INTO version_references VALUES ($1, $2, $3, $4)", rows)
        await self._intakes[0].places([0, 1])

    async def take(self, deployments: Sequence[int]) -> float:
        """One poll with a batch of each; CPU seconds."""
        poll = self._poll(deployments, 0, ROWS)
        started = time.process_time()
        await self._intakes[0].take(*poll)
        return time.process_time() - started

    async def busy(self) -> float:
        """CPU seconds of a poll of the busy ones."""
        gc.collect()
        return min([await self.take(range(BUSY)) for _ in range(ROUNDS)])

    async def replicas(self, readers: int) -> float:
        """Rows per CPU second of so many readers, each with a partition of its own, of the same deployment."""
        spent = 0.0
        for _ in range(REPLICA_POLLS // readers):
            polls = [self._poll([0] * REPLICA_BATCHES, reader, 1_000) for reader in range(readers)]
            started = time.process_time()
            await asyncio.gather(*(self._intakes[reader].take(*poll) for reader, poll in enumerate(polls)))
            spent += time.process_time() - started
        return REPLICA_POLLS * REPLICA_BATCHES * 1_000 / spent

    def _poll(self, deployments: Sequence[int], partition: int, rows: int) -> tuple[int, int, list[Raw]]:
        """A poll, as an intake takes it."""
        old, raws = self._next[partition], []
        for offset, place in enumerate(deployments, old):
            self._batch += 1
            headers, value = message(self._random, self._batch, rows=rows, model=_name(place))
            raws.append(Raw("records", partition, offset, None, headers, value, int(time.time() * 1000)))
        self._next[partition] += len(raws)
        return partition, old, raws


def _name(place: int) -> str:
    return f"model-{place:05}"
