"""The consumer on a real Kafka: polls, pauses, rebalances, and the end that the dead-letter limit makes."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from goldenpath.ingest.v1.events_pb2 import EventRejected
from services.chassis.errors import Invalid, NotFound, Unavailable
from services.chassis.kafka import Consumer
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.parking import Raw
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from tests.chassis.kit import (
    MANY,
    Service,
    both_partitions,
    collect,
    dead_letters,
    event,
    has_effects,
    headers,
    many,
    publish,
    running,
)


async def is_ready(consumer: Consumer[Any]) -> bool:
    await consumer.ready()
    return True


async def stops(consumer: Consumer[Any]) -> str:
    try:
        await consumer.ready()
    except Unavailable as error:
        return error.what if "stopped itself" in error.what else ""
    return ""


async def test_events_take_effect_once_and_in_the_order_of_their_aggregate(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    await both_partitions(kafka, on_kafka.ours, many())
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, MANY), what="every effect")

    found = await on_kafka.effects()
    assert sorted(found, key=int) == [f"{number}" for number in range(MANY)]
    assert in_order(found)


def in_order(effects: list[str], *, models: int = 10) -> bool:
    by_model: dict[int, list[int]] = {}
    for effect in effects:
        by_model.setdefault(int(effect) % models, []).append(int(effect))
    return all(numbers == sorted(numbers) for numbers in by_model.values())


async def test_a_consumer_that_starts_again_goes_on_where_it_was(on_kafka: Service, kafka: str, unique: str) -> None:
    await publish(kafka, on_kafka.ours, many(20, models=1))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 20), what="the first effects")
    await publish(kafka, on_kafka.ours, many(40, models=1)[20:])
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 40), what="the other effects")

    assert await on_kafka.effects() == [f"{number}" for number in range(40)]


async def test_two_replicas_of_which_one_comes_and_goes_have_each_effect_once(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    events = many(600)
    publishing = asyncio.ensure_future(both_partitions(kafka, on_kafka.ours, events))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 50), what="the first effects")
        async with running(on_kafka.consumer(unique, kafka).run):
            await eventually(lambda: has_effects(on_kafka, 300), what="half of the effects")
        await eventually(
            lambda: has_effects(on_kafka, 600), within=timedelta(seconds=60), what="every effect, by the one that stays"
        )
    await publishing

    found = await on_kafka.effects()
    assert Counter(found) == Counter(f"{number}" for number in range(600))
    assert in_order(found)


async def test_a_poison_among_a_batch_is_dead_and_told_and_the_others_take_effect(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    poison = Raw(on_kafka.others.name, 0, 0, b"model/credit", [("ce_id", b"\xff")], b"\x00\xff")
    good = [event(f"{number}") for number in range(10)]
    await publish(kafka, on_kafka.others, [*good[:5], poison, *good[5:]])
    relay = Relay(on_kafka.database, Leases(on_kafka.database, duration=timedelta(seconds=5)), kafka=KafkaAccess(kafka))

    async with running(on_kafka.consumer(unique, kafka).run, relay.run):
        await eventually(lambda: has_effects(on_kafka, 10), what="the others' effects")
        (letter,) = await collect(kafka, dead_letters(on_kafka.others), 1)
        told = await collect(kafka, on_kafka.ours.name, 11)

    assert letter.value == poison.value
    reason = {name: value.decode() for name, value in letter.headers if name.startswith("dlq_")}
    assert reason["dlq_consumer"] == unique
    assert reason["dlq_error"] == "Invalid"
    assert (reason["dlq_topic"], reason["dlq_partition"], reason["dlq_offset"]) == (on_kafka.others.name, "0", "5")
    rejected = [one for one in told if headers(one)["ce_type"] == "event.rejected"]
    assert [EventRejected.FromString(one.value or b"").offset for one in rejected] == [5]


async def test_what_isnt_there_yet_parks_its_key_and_other_keys_go_on(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    on_kafka.trouble["0"] = NotFound("not there yet")
    await publish(kafka, on_kafka.ours, many(20, models=2))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 10), what="the other key's effects")
        assert set(await on_kafka.effects()) == {f"{number}" for number in range(1, 20, 2)}
        on_kafka.trouble.clear()
        await eventually(lambda: has_effects(on_kafka, 20), what="the parked key's effects")

    assert in_order(await on_kafka.effects(), models=2)


async def test_a_dependency_that_is_down_pauses_and_nothing_is_lost(on_kafka: Service, kafka: str, unique: str) -> None:
    on_kafka.trouble["3"] = Unavailable("the sibling doesn't answer")
    await publish(kafka, on_kafka.ours, many(10, models=1))
    await publish(kafka, on_kafka.others, [event("elsewhere")])
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: tried(on_kafka, "3", 4), what="four tries")
        await eventually(lambda: has_effects(on_kafka, 4), what="the effects before it, and of other partitions")
        assert set(await on_kafka.effects()) == {"0", "1", "2", "elsewhere"}
        on_kafka.trouble.clear()
        await eventually(lambda: has_effects(on_kafka, 11), what="every effect")

    assert [one for one in await on_kafka.effects() if one != "elsewhere"] == [f"{number}" for number in range(10)]
    assert await on_kafka.count("parked") == 0


async def test_a_consumer_that_dies_inside_a_transaction_leaves_nothing_and_its_successor_begins_again(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    on_kafka.hold = asyncio.Event()
    await publish(kafka, on_kafka.ours, many(5, models=1))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: tried(on_kafka, "0", 1), what="the first try")
    assert await on_kafka.effects() == []
    on_kafka.hold = None
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 5), what="every effect")

    assert await on_kafka.effects() == [f"{number}" for number in range(5)]


async def tried(service: Service, project: str, times: int) -> bool:
    return service.tried.count(project) >= times


async def test_an_unforeseen_error_is_bounded_and_then_dead_with_its_key_behind_it(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    on_kafka.trouble["1"] = KeyError("a bug")
    await publish(kafka, on_kafka.ours, many(6, models=2))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 3), what="the other key's effects")
        rows = await eventually(
            lambda: on_kafka.rows("SELECT error, dead FROM parked ORDER BY id OFFSET 2"), what="what waits behind"
        )

    assert await on_kafka.effects() == ["0", "2", "4"]
    assert len(rows) == 1
    assert [(row["error"], row["dead"]) for row in await on_kafka.rows("SELECT * FROM parked ORDER BY id")] == [
        ("KeyError", True),
        ("Conflict", False),
        ("Conflict", False),
    ]


async def test_too_many_dead_letters_stop_the_consumer_and_it_says_so(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    for number in range(60):
        on_kafka.trouble[f"{number}"] = Invalid("nothing can be read")
    await publish(kafka, on_kafka.others, [event(f"{number}", subject=f"model/{number}") for number in range(60)])
    consumer = on_kafka.consumer(unique, kafka)
    async with running(consumer.run):
        said = await eventually(lambda: stops(consumer), what="the stop")

    assert said == f"{unique} stopped itself: 20 of the last 20 events on {on_kafka.others.name} became dead letters"
    assert await on_kafka.count("parked") == 20


async def test_garbage_that_anybody_may_write_doesnt_stop_the_consumer(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    garbage = Raw(on_kafka.others.name, 0, 0, b"key", [("ce_id", b"\xff")], b"\x00")
    other_schema = [event(f"{number}", data=b"\xff\xff") for number in range(10)]
    await publish(kafka, on_kafka.others, [*[garbage] * 30, *other_schema, event("whole")])
    consumer = on_kafka.consumer(unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: has_effects(on_kafka, 1), what="the effect of the event behind the garbage")
        assert await is_ready(consumer)

    assert await on_kafka.count("parked WHERE dead") == 40


async def test_what_came_after_the_limit_is_there_for_a_release_that_can_read_it(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    for number in range(60):
        on_kafka.trouble[f"{number}"] = Invalid("nothing can be read")
    await publish(kafka, on_kafka.others, [event(f"{number}", subject=f"model/{number}") for number in range(60)])
    consumer = on_kafka.consumer(unique, kafka)
    async with running(consumer.run):
        await eventually(lambda: stops(consumer), what="the stop")
    on_kafka.trouble.clear()
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 40), what="the others' effects")

    assert await on_kafka.count("parked") == 20


async def test_a_consumer_is_ready_once_kafka_answers_it(on_kafka: Service, kafka: str, unique: str) -> None:
    consumer = on_kafka.consumer(unique, kafka)
    with pytest.raises(Unavailable, match="no connection to Kafka yet"):
        await consumer.ready()
    async with running(consumer.run):
        await eventually(lambda: is_ready(consumer), what="ready")

    with pytest.raises(Unavailable, match="no connection to Kafka yet"):
        await consumer.ready()


async def test_a_kafka_that_isnt_there_is_waited_for(service: Service, unique: str) -> None:
    consumer = service.consumer(unique, "127.0.0.1:1")
    async with running(consumer.run) as (consuming,):
        with pytest.raises(Unavailable, match="no connection to Kafka yet"):
            await consumer.ready()
        assert not consuming.done()
