"""A service that keeps `effects` of what it is told (its read model), and `acts` on some of it, once each."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis import rebuilding
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import UnitOfWork
from services.chassis.kafka import Consumer, Received
from tests.chassis.kit import TYPE, Service, event, publish

ACTED = "project.acted"


def consumer_of(service: Service, name: str, kafka: str, handle: Any = None) -> Consumer[UnitOfWork]:
    """A consumer that keeps, and acts."""

    async def act(received: Received[ProjectStarted], uow: UnitOfWork) -> None:
        await uow.connection.execute("INSERT INTO acts VALUES ($1)", received.body.project)
        uow.emit(service.ours, "model.registered", f"act/{received.event.subject}", received.body)

    async def forget(uow: UnitOfWork) -> None:
        await uow.connection.execute("DELETE FROM effects")

    made = service.consumer(name, kafka, forget=forget)
    made.on(TYPE, ProjectStarted, handle or service.handle, read_model=True)
    made.on(ACTED, ProjectStarted, act)
    return made


def holding(service: Service, reached: asyncio.Event, go_on: asyncio.Event, *, at: str) -> Any:
    """A handler that waits inside the transaction when it gets an event for the second time."""

    async def handle(received: Received[ProjectStarted], uow: UnitOfWork) -> None:
        await service.handle(received, uow)
        if received.body.project == at and service.tried.count(at) > 1:
            reached.set()
            await go_on.wait()

    return handle


def told(first: int, last: int, *, models: int = 6) -> list[CloudEvent]:
    """Events of several aggregates; one in three is acted upon."""
    return [
        event(
            f"{number}",
            subject=f"model/{number % models}",
            sequence=number // models + 1,
            type=ACTED if number % 3 == 0 else TYPE,
        )
        for number in range(first, last)
    ]


async def publish_all(service: Service, kafka: str, events: list[CloudEvent]) -> None:
    for partition in (0, 1):
        mine = [one for one in events if int(one.subject.rpartition("/")[2]) % 2 == partition]
        await publish(kafka, service.ours, mine, partition=partition)


def kept(first: int, last: int) -> Counter[str]:
    return Counter(f"{number}" for number in range(first, last) if number % 3)


def acted(first: int, last: int) -> Counter[str]:
    return Counter(f"{number}" for number in range(first, last) if number % 3 == 0)


async def acts(service: Service) -> Counter[str]:
    return Counter(row["what"] for row in await service.rows("SELECT what FROM acts"))


async def has(service: Service, effects: int, acts: int) -> bool:
    return (await service.count("effects"), await service.count("acts")) == (effects, acts)


async def progress(service: Service, name: str) -> rebuilding.Progress | None:
    async with service.database.read() as connection:
        return await rebuilding.progress_of(connection, name)


async def is_over(service: Service, name: str) -> rebuilding.Progress | None:
    found = await progress(service, name)
    return found if found and not found.under_way else None


async def begin(consumer: Consumer[UnitOfWork]) -> bool:
    """Begin a rebuild, once the consumer is connected."""
    await consumer.rebuild(actor="olga", reason="the table was truncated")
    return True


async def wreck(service: Service) -> None:
    async with service.database.begin() as uow:
        await uow.connection.execute("TRUNCATE effects; INSERT INTO effects (what) VALUES ('nonsense')")
