"""Ten million records that wait for outcomes, which come a week late; and how fast payments are simulated.

Records of a week wait in a real PostgreSQL; then the outcomes of the oldest come and are joined. The clock is the
bench's own, so a week takes minutes. CPU is that of the monitor's code; the database has its own.

    python -m benchmarks.outcomes --records 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import SecretStr

from benchmarks.figures import Figure, percentiles, report
from benchmarks.processes import postgres
from examples.fraud.simulator import simulate
from examples.fraud.world import World
from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.clock import Clock, ManualClock, SystemClock
from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.leases import Leases
from services.monitor import batches, handlers, joining
from services.monitor.app import database_of
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import Kept, Promise
from services.monitor.due_job import DueJob
from services.monitor.join_store import PATIENCE
from services.monitor.packed import whole
from services.monitor.preparing import counted
from services.monitor.settings import MonitorSettings
from services.monitor.store import MonitorUnitOfWork
from services.profile import profile_of

RECORDS: Final = 10_000_000
A_BATCH: Final = 1_000
A_POLL: Final = 20  # batches
JOINED: Final = 0.05  # of the records, whose outcomes come
WITHIN: Final = timedelta(days=7)
PROMISE: Final = Promise("log_loss", 10.0, WITHIN)
BROKEN: Final = Promise("log_loss", 0.1, timedelta(seconds=4))
"""What scores at random don't keep; records wait a second longer than that for their outcomes."""
MODELS: Final = 12
TOLD: Final = 5  # batches of each, whose outcomes come at once
INPUTS: Final = ("amount", "at_night", "customer_mean")
_MIB: Final = 1024
_LEASE: Final = timedelta(seconds=10)
_POLL_S: Final = 0.005
_POLLS: Final = 4_000


def measure(records: int = RECORDS) -> list[Figure]:
    """Waiting and joining per second, what an open record costs, and simulated payments per second."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, postgres(Path(folder)) as dsn:
        joins = asyncio.run(_joins(dsn, records))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, postgres(Path(folder)) as dsn:
        return [*joins, *asyncio.run(_signals(dsn)), _simulator()]


@dataclass
class Bench:
    """A monitor's database, and what happens to it.

    Args:
        database: The database.
        clock: The bench's own.
        judge: Of the one version, with its promise.
    """

    database: Database[MonitorUnitOfWork]
    clock: Clock
    judge: Judge

    async def of(self, model: str, version: int) -> Judge | None:  # noqa: ARG002 - every version's is the same
        """The judge of a version."""
        return self.judge

    async def take(self, bodies: list[pb.InferenceRecorded]) -> None:
        """A poll of batches arrives."""
        arrived = [counted(whole(body.SerializeToString()), self.judge, self.clock.now(), "") for body in bodies]
        async with self.database.begin() as uow:
            judges = {(body.model, 1): self.judge for body in bodies}
            await handlers.take_records(arrived, judges, uow, kept=10_000, open_records=2 * RECORDS)

    async def turn_out(self, ids: list[uuid.UUID], random: np.random.Generator, *, model: str = "bench") -> None:
        """A poll of outcomes arrives."""
        async with self.database.begin() as uow:
            for record, value in zip(ids, random.integers(0, 2, len(ids)).tolist(), strict=True):
                told = ingest_pb.OutcomeRecorded(model=model, record_id=str(record), value=value)
                told.occurred_at.FromDatetime(self.clock.now())
                await handlers.take_outcome(told, uow)

    async def count(self) -> None:
        """All that is due is counted."""
        more = True
        while more:
            async with self.database.begin() as uow:
                due = await uow.join.watches_due(uow.now)
            async with self.database.begin() as uow:
                more = any([await joining.count_due(watch, PROMISE, uow) for watch in due])


@asynccontextmanager
async def _monitor(dsn: str, clock: Clock, promise: Promise) -> AsyncIterator[Bench]:
    random = np.random.default_rng(1)
    inputs = {name: random.normal(size=5_000) for name in INPUTS}
    profile = profile_of(inputs, scores={"score": random.random(5_000)})
    settings = MonitorSettings(
        database_dsn=SecretStr(dsn),
        kafka_bootstrap="127.0.0.1:1",
        grpc_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        jwks_path=Path("none.json"),
        kept_outcomes=RECORDS,
    )
    database = database_of(settings, clock)
    await database.start()
    yield Bench(database, clock, Judge(profile, Settings(), promise))
    await database.stop()


async def _joins(dsn: str, records: int) -> list[Figure]:
    random, clock = np.random.default_rng(2), ManualClock()
    async with _monitor(dsn, clock, PROMISE) as bench:
        polls = records // (A_BATCH * A_POLL)
        began, first, due = time.process_time(), clock.now(), list[uuid.UUID]()
        for poll in range(polls):
            bodies = [_batch(clock, random, number=poll * A_POLL + each + 1) for each in range(A_POLL)]
            await bench.take(bodies)
            if poll < polls * JOINED:
                due += [one for body in bodies for one in batches.ids_of(body)]
                until = clock.now()
            clock.advance(WITHIN / polls)
        waited = time.process_time() - began
        size = await _size(bench)
        clock.advance(until - first)  # a week after the oldest of them
        began = time.process_time()
        for place in range(0, len(due), A_BATCH):
            await bench.turn_out(due[place : place + A_BATCH], random)
        told = time.process_time() - began
        clock.advance((PATIENCE - 1) * WITHIN + timedelta(seconds=1))  # no newer record tells the time
        began, wall = time.process_time(), time.perf_counter()
        await bench.count()
        joined, took = time.process_time() - began, time.perf_counter() - wall
        known = (await _performance(bench)).known
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB
    return [
        Figure(
            "outcomes.waiting.rows_per_cpu_second",
            round(polls * A_BATCH * A_POLL / waited),
            "rows/CPU s",
            "made here, too",
        ),
        Figure("outcomes.told.rows_per_cpu_second", round(len(due) / told), "rows/CPU s", "single events"),
        Figure(
            "outcomes.joined.rows_per_cpu_second",
            round(known / joined),
            "rows/CPU s",
            f"{known:,} of {records:,} open ones",
        ),
        Figure("outcomes.joined.rows_per_second", round(known / took), "rows/s", "the database on the same machine"),
        Figure(
            "outcomes.open.bytes", round(size / records), "bytes a record", f"{len(INPUTS)} inputs, in the database"
        ),
        Figure("outcomes.open.memory", round(memory), "MiB", f"the process at its most, {records:,} open records"),
    ]


async def _signals(dsn: str) -> list[Figure]:
    """From the commit of the outcomes that break a promise to the signal, with the job that counts them running."""
    random, clock, took = np.random.default_rng(3), SystemClock(), list[float]()
    async with _monitor(dsn, clock, BROKEN) as bench:
        job = asyncio.ensure_future(DueJob(bench.database, Leases(bench.database, duration=_LEASE), bench).run())
        for number in range(MODELS):
            model = f"model-{number}"
            bodies = [_batch(clock, random, number=each + 1, model=model) for each in range(TOLD)]
            await bench.take(bodies)
            await asyncio.sleep(BROKEN.within.total_seconds() + random.random() / 4)  # at no fixed moment of a round
            await bench.take([_batch(clock, random, number=TOLD + 1, model=model)])  # tells the time, as traffic does
            await bench.turn_out([one for body in bodies for one in batches.ids_of(body)], random, model=model)
            began = time.perf_counter()
            await _raised(bench, model)
            took.append(time.perf_counter() - began)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
    beside = f"{TOLD * A_BATCH:,} outcomes at once, {MODELS} models; the job rests a second between rounds"
    return percentiles(took, "outcomes.told_to_signal", beside)


async def _raised(bench: Bench, model: str) -> None:
    query = "SELECT count(*) FROM signals s JOIN watches w ON w.id = s.watch WHERE w.model = $1"
    for _ in range(_POLLS):
        async with bench.database.read() as connection:
            if await connection.fetchval(query, model):
                return
        await asyncio.sleep(_POLL_S)
    raise Unavailable("no signal came: the machine was too busy for outcomes to come in time")


def _batch(clock: Clock, random: np.random.Generator, *, number: int, model: str = "bench") -> pb.InferenceRecorded:
    moment = int(clock.now().timestamp() * 1e6)
    return pb.InferenceRecorded(
        model=model,
        version=1,
        environment="production",
        epoch=1,
        arm=pb.ARM_STABLE,
        server=model,
        batch=number,
        record_ids=random.bytes(batches.ID_BYTES * A_BATCH),
        event_times_us=[moment + each for each in range(A_BATCH)],
        inputs=[pb.Column(name=name, numbers=random.normal(size=A_BATCH).tolist()) for name in INPUTS],
        outputs=[pb.Column(name="score", numbers=random.random(A_BATCH).tolist())],
    )


async def _size(bench: Bench) -> int:
    async with bench.database.read() as connection:
        return int(await connection.fetchval("SELECT pg_total_relation_size('open_batches')"))


async def _performance(bench: Bench) -> Kept:
    async with bench.database.begin() as uow:
        (watch,) = [row["id"] for row in await uow.connection.fetch("SELECT id FROM watches")]
        return Kept.from_bytes(await uow.join.kept(watch) or b"")


def _simulator() -> Figure:
    """The handbook's own size: 5,000 customers, half a year."""
    world = World()
    began = time.process_time()
    rows = len(simulate(world))
    return Figure(
        "simulator.rows_per_cpu_second", round(rows / (time.process_time() - began)), "rows/CPU s", f"{rows:,} payments"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Joins of records and outcomes.")
    parser.add_argument("--records", type=int, default=RECORDS)
    report(measure(parser.parse_args().records), Path(__file__).with_name("bench.json"))
