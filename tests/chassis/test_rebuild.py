"""A read model that was lost is rebuilt, on a real Kafka: whole, without a second effect, whatever happens meanwhile.

The service keeps `effects` of what it is told (its read model), and `acts` on some of it, once each.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis import parking, rebuilding
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import UnitOfWork
from services.chassis.errors import Conflict, Invalid, NotFound, Unavailable
from services.chassis.kafka import Consumer, Received
from services.chassis.parking import Raw
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.chassis.topics import INGEST, create_topics
from tests.chassis.kit import TYPE, Service, event, publish, raw, running

ACTED = "project.acted"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    tables = "CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);"
    (folder / "0001_tables.sql").write_text(tables + "CREATE TABLE acts (what text NOT NULL);")
    return folder


@pytest.fixture
async def keeper(service: Service, kafka: str) -> Service:
    """The service, with topics that feed its read model."""
    service.ours = replace(service.ours, types=INGEST.types)
    await create_topics(KafkaAccess(kafka), topics=[service.ours, service.others])
    return service


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


async def test_a_wrecked_read_model_is_what_it_was_and_nothing_is_told_twice(
    keeper: Service, kafka: str, unique: str
) -> None:
    await publish_all(keeper, kafka, told(0, 300))
    await publish(kafka, keeper.others, [event(f"other {number}", id=f"{number}") for number in range(20)])
    consumer = consumer_of(keeper, unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 220, 100), what="every effect")
        before, emitted = Counter(await keeper.effects()), await keeper.count("outbox")
        await wreck(keeper)
        await begin(consumer)
        over = await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert Counter(await keeper.effects()) == before
    assert await keeper.count("outbox") == emitted
    assert await acts(keeper) == acted(0, 300)
    assert (over.actor, over.reason, over.done, over.of, over.failed) == (
        "olga",
        "the table was truncated",
        320,
        320,
        0,
    )


async def test_a_rebuild_that_is_killed_goes_on_where_it_was(keeper: Service, kafka: str, unique: str) -> None:
    again, never = asyncio.Event(), asyncio.Event()
    await publish_all(keeper, kafka, told(0, 1500))
    consumer = consumer_of(keeper, unique, kafka, holding(keeper, again, never, at="901"))
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 1000, 500), what="every effect")
        emitted = await keeper.count("outbox")
        await wreck(keeper)
        await begin(consumer)
        await again.wait()
    halfway = await progress(keeper, unique)
    async with running(consumer_of(keeper, unique, kafka).run):
        await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert halfway is not None
    assert halfway.under_way
    assert Counter(await keeper.effects()) == kept(0, 1500)
    assert await acts(keeper) == acted(0, 1500)
    assert await keeper.count("outbox") == emitted


async def test_two_replicas_rebuild_together_and_one_goes_on_alone(keeper: Service, kafka: str, unique: str) -> None:
    first, second = consumer_of(keeper, unique, kafka), consumer_of(keeper, unique, kafka)
    await publish_all(keeper, kafka, told(0, 1200))
    async with running(second.run):
        async with running(first.run):
            await eventually(lambda: has(keeper, 800, 400), what="every effect")
            await wreck(keeper)
            await eventually(lambda: begin(first), what="a rebuild")
        await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert Counter(await keeper.effects()) == kept(0, 1200)
    assert await acts(keeper) == acted(0, 1200)
    assert await keeper.count("outbox") == 1200


async def test_events_that_come_during_a_rebuild_are_handled_once_and_told(
    keeper: Service, kafka: str, unique: str
) -> None:
    going, go_on = asyncio.Event(), asyncio.Event()
    await publish_all(keeper, kafka, told(0, 60))
    consumer = consumer_of(keeper, unique, kafka, holding(keeper, going, go_on, at="1"))
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 40, 20), what="every effect")
        await begin(consumer)
        await going.wait()
        await publish_all(keeper, kafka, told(60, 120))
        go_on.set()
        await eventually(lambda: has(keeper, 80, 40), what="what came meanwhile")

    assert Counter(await keeper.effects()) == kept(0, 120)
    assert await acts(keeper) == acted(0, 120)
    assert await keeper.count("outbox") == 120


async def test_what_wasnt_handled_yet_when_a_rebuild_begins_isnt_lost(keeper: Service, kafka: str, unique: str) -> None:
    keeper.trouble["31"] = Unavailable("the registry doesn't answer")
    await publish_all(keeper, kafka, told(0, 60))
    consumer = consumer_of(keeper, unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: tried(keeper, "31"), what="the partition that waits")
        await eventually(lambda: begin(consumer), what="a rebuild")
        keeper.trouble.clear()
        await eventually(lambda: has(keeper, 40, 20), what="every effect")
        await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert await acts(keeper) == acted(0, 60)
    assert await keeper.count("outbox") == 60


async def tried(service: Service, project: str) -> bool:
    return project in service.tried


async def test_what_waits_is_passed_over_and_has_its_effect_when_it_is_tried_again(
    keeper: Service, kafka: str, unique: str
) -> None:
    keeper.trouble |= {"1": NotFound("its model isn't there"), "2": Invalid("nonsense"), "4": Invalid("nonsense")}
    await publish_all(keeper, kafka, told(0, 6))
    consumer = consumer_of(keeper, unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 1, 2), what="what goes well")
        await eventually(lambda: waits(keeper, 3), what="what doesn't")
        await drop(keeper, "4")
        keeper.trouble = {"1": keeper.trouble["1"]}
        await begin(consumer)
        await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")
        assert await keeper.effects() == ["5"]
        assert await keeper.rows("SELECT 1 FROM parked WHERE NOT dead") != []
        keeper.trouble.clear()
        await eventually(lambda: has(keeper, 2, 2), what="the parked one's effect")

    assert Counter(await keeper.effects()) == Counter(["1", "5"])
    assert [row["dead"] for row in await keeper.rows("SELECT dead FROM parked")] == [True]


async def waits(service: Service, events: int) -> bool:
    return await service.count("parked") == events


async def drop(service: Service, project: str) -> None:
    async with service.database.begin() as uow:
        letter = await uow.connection.fetchval("SELECT id FROM parked WHERE raw_key = $1", f"model/{project}".encode())
        await parking.drop(uow.connection, letter, actor="olga", reason="it was a test")


async def test_garbage_that_was_given_up_isnt_dug_out_again(keeper: Service, kafka: str, unique: str) -> None:
    garbage = Raw(keeper.others.name, 0, 0, b"model/0", [("ce_id", b"\xff")], b"\x00")
    await publish(kafka, keeper.others, [garbage, event("behind")])
    consumer = consumer_of(keeper, unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 1, 0), what="what is behind it")
        await drop(keeper, "0")
        emitted = await keeper.count("outbox")
        await begin(consumer)
        await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert await keeper.effects() == ["behind"]
    assert await keeper.count("parked") == 0
    assert await keeper.count("outbox") == emitted


async def test_an_event_that_cant_be_applied_any_more_is_counted_and_named(
    keeper: Service, kafka: str, unique: str
) -> None:
    await publish_all(keeper, kafka, told(0, 30))
    consumer = consumer_of(keeper, unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 20, 10), what="every effect")
        keeper.trouble["7"] = NotFound("its model was deleted by hand")
        await begin(consumer)
        over = await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert Counter(await keeper.effects()) == kept(0, 30) - Counter(["7"])
    assert (over.failed, over.problem) == (1, f"{keeper.ours.name}/1@3: its model was deleted by hand")
    assert await keeper.count("parked") == 0


async def test_what_a_topic_holds_twice_has_its_effect_once(keeper: Service, kafka: str, unique: str) -> None:
    repeated = [*told(0, 12), *told(0, 12)]
    await publish_all(keeper, kafka, repeated)
    await publish(kafka, keeper.others, [event("other", id="1"), event("other", id="1")])
    consumer = consumer_of(keeper, unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 9, 4), what="every effect")
        await begin(consumer)
        await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert Counter(await keeper.effects()) == kept(0, 12) + Counter(["other"])


async def test_a_topic_that_ends_with_a_transactions_marker_is_read_to_its_end(
    keeper: Service, kafka: str, unique: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=unique)
    await producer.start()
    async with producer.transaction():
        for one in told(0, 12):
            made = raw(one, keeper.ours, 0)
            await producer.send(keeper.ours.name, made.value, key=made.key, headers=list(made.headers), partition=0)
    await producer.stop()
    consumer = consumer_of(keeper, unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 8, 4), what="every effect")
        await begin(consumer)
        over = await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert (over.done, over.of) == (13, 13)
    assert Counter(await keeper.effects()) == kept(0, 12)


async def test_a_question_about_what_is_being_rebuilt_has_no_answer_yet(keeper: Service, unique: str) -> None:
    made = rebuilding.Rebuilding(unique, forget=nothing)

    async def ends() -> rebuilding.Ends:
        return {(keeper.ours.name, 0): (0, 5)}

    async with keeper.database.begin() as uow:
        await made.begin(uow, ends, reason="to see")

    async with keeper.database.read() as connection:
        with pytest.raises(Unavailable, match="being rebuilt"):
            await rebuilding.check_whole(connection)


async def nothing(_: UnitOfWork) -> None: ...


async def test_a_service_without_a_read_model_says_so(keeper: Service, kafka: str, unique: str) -> None:
    with pytest.raises(Conflict, match="keeps no read model"):
        await keeper.consumer(unique, kafka).rebuild(actor="olga", reason="to see")


async def test_a_rebuild_without_kafka_changes_nothing(keeper: Service, unique: str) -> None:
    consumer = consumer_of(keeper, unique, "127.0.0.1:1")
    await wreck(keeper)
    with pytest.raises(Unavailable, match="no connection to Kafka"):
        await begin(consumer)

    assert await keeper.effects() == ["nonsense"]
    assert await progress(keeper, unique) is None
