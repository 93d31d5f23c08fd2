"""How long it takes until events flow again after a kill -9, with one and with two replicas of each service.

The platform of the fault campaign, with nothing else going on. At the kill a supervisor starts again what died; other
systems publish a document for each of many keys, so that every partition and every lane is in it. Events flow again
once what the registry tells of the last of them has been acknowledged by Kafka: consumed, committed, sent.

After a kill of the proxy a client's request is answered again; after one of a model server both of its version's answer
again. How many replicas there are of the services is nothing to either.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

import asyncpg
import httpx
from aiokafka.errors import KafkaError

from benchmarks.figures import Figure
from golden.inference import request_of
from goldenpath.ingest.v1 import events_pb2 as ingest
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.topics import INGEST
from tests.faults.bus import Bus
from tests.faults.registrations import QUESTIONS, dataset_of
from tests.faults.serving import both_answer, serve
from tests.faults.world import SESSION_TIMEOUT, Replica, World

_KEYS: Final = 32  # two for each lane, five for each partition
_TIMES: Final = 3  # the slowest counts: where a lease or a session stood is chance
_numbers: Final = count(1)


def measure() -> list[Figure]:
    """Recovery after a kill of a service, of the broker, of PostgreSQL, of the proxy and of a model server."""
    return [figure for replicas in (1, 2) for figure in asyncio.run(_measure(replicas))]


async def _measure(replicas: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs as another user where this runs as root
        world = World(folder / "home", folder / "postgres", replicas=replicas)
        try:
            await world.start_parts()
            await world.start_services()
            return [*await _kills(world, replicas), *(await _serving(world) if replicas == 1 else [])]
        finally:
            await world.stop()


async def _kills(world: World, replicas: int) -> list[Figure]:
    async def service() -> None:
        await asyncio.to_thread(world.kill, "registry/1")
        world.launch(Replica("registry", 1))

    async def broker() -> None:
        await asyncio.to_thread(world.kill, "kafka")
        await world.start_kafka()

    async def database() -> None:
        await asyncio.to_thread(world.kill, "postgres")
        await world.start_postgres()

    beside = f"slowest of {_TIMES}; {replicas} of each service, Kafka's session timeout {SESSION_TIMEOUT.seconds} s"
    await _flows(world)
    figures = []
    for name, kill in (("service", service), ("broker", broker), ("postgres", database)):
        seconds = [await _recovery(world, kill) for _ in range(_TIMES)]
        figures.append(Figure(f"recovery.{name}.replicas_{replicas}", round(max(seconds), 1), "s", beside))
    return figures


async def _serving(world: World) -> list[Figure]:
    model = await serve(world)

    async def proxy() -> None:
        await asyncio.to_thread(world.kill, "envoy")
        await asyncio.gather(world.start_envoy(), _until(lambda: _is_answered(world, model)))

    async def server() -> None:
        world.model_servers()[0].send(signal.SIGKILL)
        await _until(lambda: _lacks(world))
        await _until(lambda: both_answer(world))

    figures = []
    for name, recover, what in (
        ("proxy", proxy, "until a request is answered"),
        ("model_server", server, "until both of a version answer; the other one does meanwhile"),
    ):
        seconds = [await _timed(recover) for _ in range(_TIMES)]
        figures.append(Figure(f"recovery.{name}", round(max(seconds), 1), "s", f"slowest of {_TIMES}; {what}"))
    return figures


async def _timed(recover: Callable[[], Awaitable[None]]) -> float:
    began = time.monotonic()
    await recover()
    return time.monotonic() - began


async def _is_answered(world: World, model: str) -> bool:
    url = f"http://127.0.0.1:{world.ports.envoy}/v2/models/{model}/infer"
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.post(url, json=request_of({"age": 40.0, "hours": 40.0}))).is_success
    except httpx.HTTPError:
        return False


async def _lacks(world: World) -> bool:
    return not await both_answer(world)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - what it waits for is in other processes
        await asyncio.sleep(0.05)


async def _recovery(world: World, kill: Callable[[], Awaitable[None]]) -> float:
    began = time.monotonic()
    await asyncio.gather(kill(), _flows(world))
    took = time.monotonic() - began
    await world.wait_ready(world.replicas)
    return took


async def _flows(world: World) -> None:
    """Publish a document for each key, and wait until what the registry tells of each is on Kafka."""
    subjects = [f"dataset/bench-{next(_numbers)}" for _ in range(_KEYS)]
    records = []
    for subject in subjects:
        body = ingest.DatasetDocumented(dataset=dataset_of(subject.partition("/")[2], QUESTIONS, owner="bench"))
        made = event_of(body, type="dataset.documented", source="bench", subject=subject, time=datetime.now(UTC))
        records.append((INGEST.name, subject.encode(), headers_of(made), made.data))
    while True:
        try:
            await Bus(world.kafka.bootstrap).write(records)
            break
        except (KafkaError, OSError):
            await asyncio.sleep(0.1)
    await _until(lambda: _sent(world, subjects))


async def _sent(world: World, subjects: list[str]) -> bool:
    query = "SELECT count(DISTINCT key) FROM outbox WHERE key = ANY($1::bytea[]) AND sent_at IS NOT NULL"
    try:
        connection = await asyncpg.connect(world.dsn("registry"), timeout=5)
        try:
            found: int = await connection.fetchval(query, [subject.encode() for subject in subjects])
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        return False
    return found == len(subjects)
