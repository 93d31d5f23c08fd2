"""What tests of handling share: events handed over as Kafka would, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence

from goldenpath.ingest.v1.events_pb2 import EventRejected, ProjectStarted
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import UnitOfWork
from services.chassis.fates import Fate, fate_of
from services.chassis.handling import Handling
from services.chassis.parking import Raw
from services.chassis.topics import Topic
from tests.chassis.kit import TYPE, Service, event, raw


def handling(service: Service, name: str = "test") -> Handling[UnitOfWork]:
    made = Handling(name, [service.ours, service.others], service.database, service.ours)
    made.on(TYPE, ProjectStarted, service.handle)
    return made


def stream(topic: Topic, events: Sequence[CloudEvent], *, start: int = 0) -> list[Raw]:
    return [raw(one, topic, start + number) for number, one in enumerate(events)]


def counted(*names: str, subject: str = "model/credit") -> list[CloudEvent]:
    return [event(name, subject=subject, sequence=number) for number, name in enumerate(names, 1)]


async def hand_over(made: Handling[UnitOfWork], raws: Sequence[Raw]) -> None:
    """Hand events over one by one, as a consumer does until the limit stops it."""
    for one in raws:
        if made.limit.exceeded():
            return
        try:
            await made.handle([one])
        except Exception as error:  # noqa: BLE001 - its type says its fate
            await made.put_aside(one, error, dead=fate_of(error) is Fate.DEAD)


async def retry_all(made: Handling[UnitOfWork], service: Service) -> None:
    """Try what is parked until nothing is due, as if its time had come."""
    async with service.database.read() as connection:
        await connection.execute("UPDATE parked SET next_attempt_at = now() - interval '1 second'")
    while await made.retry_one():
        pass


async def waiting(service: Service) -> list[tuple[str, bool]]:
    rows = await service.rows("SELECT error, dead FROM parked ORDER BY id")
    return [(row["error"], row["dead"]) for row in rows]


async def rejections(service: Service) -> list[EventRejected]:
    rows = await service.rows("SELECT value FROM outbox WHERE topic = $1 ORDER BY id", service.ours.name)
    found = [EventRejected.FromString(row["value"]) for row in rows]
    return [one for one in found if one.topic]
