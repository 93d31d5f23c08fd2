"""Events that a test publishes as another system or a sibling would, and what came of them."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
from google.protobuf.message import Message

from goldenpath.ingest.v1 import events_pb2 as ingest
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.topics import INGEST
from tests.faults.bus import Bus
from tests.faults.poison import Record
from tests.faults.world import World


def event(
    topic: str, type_name: str, subject: str, body: Message, *, source: str = "test", sequence: int | None = None
) -> Record:
    """An event as it is written to Kafka."""
    made = event_of(body, type=type_name, source=source, subject=subject, time=datetime.now(UTC), sequence=sequence)
    return topic, subject.encode(), headers_of(made), made.data


def project(name: str, number: int, *, owner: str = "", publisher: str = "") -> Record:
    """One of a publisher's projects began; the publisher is called like its projects, unless somebody says else."""
    body = ingest.ProjectStarted(project=f"{name}{number}", model=f"{name}{number}", owner=owner)
    body.started_at.GetCurrentTime()
    return event(INGEST.name, "project.started", f"model/{name}{number}", body, source=publisher or name)


async def publish(world: World, *records: Record) -> None:
    """Write them, one after another."""
    await Bus(world.kafka.bootstrap).write(records)


async def started(world: World, name: str, count: int) -> bool:
    """Whether the registry has noted so many of a publisher's projects."""
    rows = await rows_of(world, "registry", "SELECT name FROM projects WHERE name ~ ('^' || $1 || '[0-9]+$')", name)
    return len(rows) == count


async def rows_of(world: World, service: str, query: str, *arguments: object) -> list[tuple[object, ...]]:
    """What stands in a service's database."""
    connection = await asyncpg.connect(world.dsn(service))
    try:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()
