"""What a rebuild passes over, what it names, and what it refuses."""

from __future__ import annotations

from collections import Counter

import pytest
from aiokafka import AIOKafkaProducer

from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis import parking, rebuilding
from services.chassis.database import UnitOfWork
from services.chassis.errors import Conflict, Invalid, NotFound, Unavailable
from services.chassis.kafka import Received
from services.chassis.parking import Raw
from services.chassis.testing import eventually
from tests.chassis.keeping import (
    begin,
    consumer_of,
    has,
    is_over,
    kept,
    progress,
    publish_all,
    told,
    wreck,
)
from tests.chassis.kit import Service, event, publish, raw, running


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


async def test_a_database_that_is_slow_in_a_rebuild_costs_time_and_no_event(
    keeper: Service, kafka: str, unique: str
) -> None:
    slow: list[str] = []

    async def handle(received: Received[ProjectStarted], uow: UnitOfWork) -> None:
        await keeper.handle(received, uow)
        await uow.connection.execute("SET LOCAL statement_timeout = '50ms'")
        await uow.connection.execute("SELECT pg_sleep($1)", 60 * slow.count(received.body.project))

    await publish_all(keeper, kafka, told(0, 30))
    consumer = consumer_of(keeper, unique, kafka, handle)
    async with running(consumer.run):
        await eventually(lambda: has(keeper, 20, 10), what="every effect")
        keeper.tried.clear()
        slow.append("7")
        await begin(consumer)
        await eventually(lambda: was_tried(keeper, "7", 3), what="three tries")
        slow.clear()
        over = await eventually(lambda: is_over(keeper, unique), what="the rebuild's end")

    assert Counter(await keeper.effects()) == kept(0, 30)
    assert (over.failed, over.problem) == (0, "")


async def was_tried(service: Service, project: str, times: int) -> bool:
    return service.tried.count(project) >= times


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


async def waits(service: Service, events: int) -> bool:
    return await service.count("parked") == events


async def drop(service: Service, project: str) -> None:
    async with service.database.begin() as uow:
        letter = await uow.connection.fetchval("SELECT id FROM parked WHERE raw_key = $1", f"model/{project}".encode())
        await parking.drop(uow.connection, letter, actor="olga", reason="it was a test")


async def nothing(_: UnitOfWork) -> None: ...
