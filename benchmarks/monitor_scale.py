"""How the monitor grows: 10,000 deployments in one process, ten busy ones among few or many, and two replicas.

Each deployment has a reference of its own with 25 features and a score. All goes through the monitor's own intake and
judges on a real PostgreSQL; the registry's answers stand there already, as after a first day. A process that knows few
deployments and one that knows all take turns, and so do one reader and two, so that neither side is the warmer one or
has the quieter machine. CPU is that of the monitor's process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
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
from services.monitor.intake import Intake, Read
from services.monitor.settings import MonitorSettings
from services.monitor.store import MonitorUnitOfWork

DEPLOYMENTS: Final = 10_000
FEW: Final = 100
BUSY: Final = 10
ROWS: Final = 100  # a batch
A_POLL: Final = 100  # deployments
ROUNDS: Final = 30  # polls of the busy ones; the quickest counts, as others on the machine can only slow it down
REPLICA_ROUNDS: Final = 10
REPLICA_BATCHES: Final = 20  # a poll: readers that have much to do have full ones


def measure() -> list[Figure]:
    """Memory with all deployments, the ratio of ticks, and what a second replica costs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with _monitor(Path(folder) / "few", FEW) as few, _monitor(Path(folder) / "many", DEPLOYMENTS) as many:
            figures = [_memory(few, many), _tick(few, many)]
        with postgres(Path(folder) / "replicas") as dsn:
            return [*figures, asyncio.run(_replicas(dsn))]


def _memory(few: Connection, many: Connection) -> Figure:
    little, much = few.recv(), many.recv()
    beside = f"{DEPLOYMENTS:,} deployments, the whole process at its most; {MOST_JUDGES:,} judges are kept"
    return Figure(
        "monitor.deployments.memory", round(much / 2**20), "MiB", f"{beside}; with {FEW}: {little / 2**20:.0f} MiB"
    )


def _tick(few: Connection, many: Connection) -> Figure:
    turns = [(_asked(few), _asked(many)) for _ in range(ROUNDS)]
    among_few, among_many = (min(side) for side in zip(*turns, strict=True))
    beside = (
        f"{BUSY} busy deployments: {among_few * 1e3:.1f} ms CPU among {FEW}, {among_many * 1e3:.1f} among all; "
        f"two processes in turns"
    )
    return Figure("monitor.deployments.tick", round(among_many / among_few, 3), TIMES, beside)


async def _replicas(dsn: str) -> Figure:
    async with _feed(dsn) as feed:
        await feed.know(1)
        await feed.together(2)  # warm
        turns = [(await feed.together(1), await feed.together(2)) for _ in range(REPLICA_ROUNDS)]
    rows = 2 * REPLICA_BATCHES * 1_000
    one, two = (rows / min(side) for side in zip(*turns, strict=True))
    beside = f"rows per CPU second, {two:,.0f} with two readers of two partitions, {one:,.0f} with one, in turns"
    return Figure("monitor.replicas.rows_per_cpu_second", round(two / one, 3), TIMES, beside)


@contextmanager
def _monitor(folder: Path, deployments: int) -> Iterator[Connection]:
    """A process that knows as many deployments: it tells its memory, then for each question the CPU of a poll."""
    spawned = multiprocessing.get_context("spawn")
    ours, theirs = spawned.Pipe()
    with postgres(folder) as dsn:
        process = spawned.Process(target=_answer, args=(theirs, dsn, deployments), daemon=True)
        process.start()
        theirs.close()  # so that we hear when it dies
        try:
            yield ours
        finally:
            ours.send(False)
            process.join()


def _asked(monitor: Connection) -> float:
    monitor.send(True)
    return float(monitor.recv())


def _answer(questions: Connection, dsn: str, deployments: int) -> None:
    asyncio.run(_answered(questions, dsn, deployments))


async def _answered(questions: Connection, dsn: str, deployments: int) -> None:
    process, most = psutil.Process(), 0
    async with _feed(dsn) as feed:
        await feed.know(deployments)
        for start in range(0, deployments, A_POLL):
            await feed.take(range(start, start + A_POLL))
            most = max(most, process.memory_info().rss)
        questions.send(most)
        while questions.recv():
            questions.send(await feed.take(range(BUSY)))


@asynccontextmanager
async def _feed(dsn: str) -> AsyncIterator[_Feed]:
    settings = MonitorSettings(
        database_dsn=SecretStr(dsn), kafka_bootstrap="", jwks_path=Path("none"), grpc_address="", http_address=""
    )
    database = database_of(settings, SystemClock())
    await database.start()
    yield _Feed(database, np.random.default_rng(0), kept=settings.kept_records)
    await database.stop()


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
        await self._intakes[0].take(poll)
        return time.process_time() - started

    async def together(self, readers: int) -> float:
        """CPU seconds of two polls of the same deployment: one after another, or of two partitions at once."""
        polls = [self._poll([0] * REPLICA_BATCHES, reader % readers, 1_000) for reader in range(2)]
        gc.collect()
        started = time.process_time()
        if readers == 1:
            for poll in polls:
                await self._intakes[0].take(poll)
        else:
            await asyncio.gather(*(self._intakes[poll.partition].take(poll) for poll in polls))
        return time.process_time() - started

    def _poll(self, deployments: Sequence[int], partition: int, rows: int) -> Read:
        """A poll of a partition."""
        old, raws = self._next[partition], []
        for offset, place in enumerate(deployments, old):
            self._batch += 1
            headers, value = message(self._random, self._batch, rows=rows, model=_name(place))
            raws.append(Raw("records", partition, offset, None, headers, value, int(time.time() * 1000)))
        self._next[partition] += len(raws)
        return Read(partition, old, raws)


def _name(place: int) -> str:
    return f"model-{place:05}"
