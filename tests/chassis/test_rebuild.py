"""A rebuild: what was lost is there again, nothing is told twice, and what is new is told."""

from __future__ import annotations

from typing import Any

import pytest

from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis import rebuild
from services.chassis.errors import Conflict, Invalid, NotFound, Unavailable
from services.chassis.handling import Handling
from services.chassis.testing import eventually
from services.chassis.topics import Topic
from tests.chassis.kit import TYPE, Service, event, publish, raw, running


async def order(service: Service, name: str) -> None:
    async with service.database.begin(actor="olga") as uow:
        await rebuild.order(service.copies(name), "the table was lost", uow)


async def told(service: Service) -> int:
    return await service.count("outbox")


async def has_effects(service: Service, wanted: list[str]) -> bool:
    return sorted(await service.effects()) == sorted(wanted)


async def has_some(service: Service, wanted: set[str]) -> bool:
    return wanted <= set(await service.effects())


def names(count: int) -> list[str]:
    return [f"{number}" for number in range(count)]


async def publish_many(kafka: str, topic: Topic, numbers: range) -> None:
    """Events of two aggregates, each on a partition of its own."""
    for partition in (0, 1):
        mine = [number for number in numbers if number % 2 == partition]
        events = [event(f"{number}", subject=f"model/{partition}", sequence=number // 2 + 1) for number in mine]
        await publish(kafka, topic, events, partition=partition)


def handling(service: Service) -> Handling[Any]:
    topics = [service.ours, service.others]
    made: Handling[Any] = Handling("test", topics, service.database, None, service.copies("test"))
    made.on(TYPE, ProjectStarted, service.handle)
    return made


async def rewind(service: Service) -> None:
    """As if every partition's reader had gone back."""
    async with service.database.begin() as uow:
        for partition in range(service.ours.partitions):
            await rebuild.rewound(service.copies("test"), (service.ours.name, partition), uow.connection)


async def test_what_was_lost_is_made_again_and_nothing_is_told_twice(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    await publish_many(kafka, on_kafka.ours, range(40))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, names(40)), what="every effect")
        async with on_kafka.database.begin() as uow:
            await uow.connection.execute("DELETE FROM effects")
        await order(on_kafka, unique)
        await publish_many(kafka, on_kafka.ours, range(40, 50))
        await eventually(lambda: has_effects(on_kafka, names(50)), what="every effect again, and the new ones")

    assert await told(on_kafka) == 50
    (entry,) = await on_kafka.rows("SELECT * FROM rebuild_orders")
    assert (entry["actor"], entry["reason"], entry["tables"]) == ("olga", "the table was lost", ["effects"])


async def test_a_restart_in_the_middle_of_a_rebuild_goes_on(on_kafka: Service, kafka: str, unique: str) -> None:
    await publish_many(kafka, on_kafka.ours, range(40))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, names(40)), what="every effect")
    await order(on_kafka, unique)
    await publish_many(kafka, on_kafka.ours, range(40, 42))
    on_kafka.trouble["21"] = Unavailable("a sibling is down")
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_some(on_kafka, {"19", "40"}), what="half of the effects")
    assert "21" not in await on_kafka.effects()
    on_kafka.trouble.clear()
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, names(42)), what="every effect again")

    assert await told(on_kafka) == 42


async def test_other_topics_are_not_read_again(on_kafka: Service, kafka: str, unique: str) -> None:
    await publish(kafka, on_kafka.others, [event("theirs", id="1")])
    await publish_many(kafka, on_kafka.ours, range(2))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, ["0", "1", "theirs"]), what="every effect")
        await order(on_kafka, unique)
        await eventually(lambda: has_effects(on_kafka, ["0", "1"]), what="the copies")

    assert on_kafka.tried.count("theirs") == 1


async def test_what_parks_during_a_rebuild_isnt_told_twice_either(service: Service) -> None:
    made = handling(service)
    one = raw(event("a", sequence=1), service.ours, 0)
    await made.handle([one])
    await order(service, "test")
    await rewind(service)
    await made.put_aside(one, NotFound("not there yet"), dead=False)
    async with service.database.begin() as uow:
        await uow.connection.execute("UPDATE parked SET next_attempt_at = now()")
    assert await made.retry_one()

    assert await service.effects() == ["a"]
    assert await told(service) == 1


async def test_events_wait_until_their_partition_has_gone_back(service: Service) -> None:
    made = handling(service)
    first, second = (raw(event(name, sequence=place), service.ours, place) for place, name in ((1, "a"), (2, "b")))
    await made.handle([first])
    await order(service, "test")
    with pytest.raises(Unavailable, match="goes back to its beginning first"):
        await made.handle([second])
    await rewind(service)
    await made.handle([first, second])

    assert await service.effects() == ["a", "b"]
    assert await told(service) == 2


async def test_a_rebuild_is_refused_while_effects_are_still_to_come(service: Service) -> None:
    made = handling(service)
    await made.handle([raw(event("a", sequence=1), service.ours, 0)])
    await made.put_aside(raw(event("b", sequence=2), service.ours, 1), Invalid("no"), dead=True)
    with pytest.raises(Conflict, match=r"1 events of .* are parked or dead"):
        await order(service, "test")
    await made.handle([raw(event("c", sequence=1, subject="model/c"), service.ours, 2)])

    assert await service.effects() == ["a", "c"]
