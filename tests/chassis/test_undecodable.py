"""Events that Kafka's client can't even decode: each has its place among the dead letters, and the others go on."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.parking import Raw
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from tests.chassis.kit import (
    Service,
    both_partitions,
    collect,
    dead_letters,
    event,
    has_effects,
    headers,
    many,
    publish,
    publish_undecodable,
    running,
)


async def test_an_event_that_cant_be_decoded_is_a_dead_letter_and_the_others_go_on(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    await publish(kafka, on_kafka.others, [event("before")])
    await publish_undecodable(kafka, on_kafka.others.name)
    await publish_undecodable(kafka, on_kafka.others.name)
    await publish(kafka, on_kafka.others, [event("after")])
    await publish(kafka, on_kafka.others, [event("beside")], partition=1)
    await both_partitions(kafka, on_kafka.ours, many(20))
    async with running(on_kafka.consumer(unique, kafka).run) as (consuming,):
        await eventually(lambda: has_effects(on_kafka, 23), what="every effect")
        await publish_undecodable(kafka, on_kafka.others.name, partition=1)
        await publish(kafka, on_kafka.others, [event("later")], partition=1)
        await eventually(lambda: has_effects(on_kafka, 24), what="the later effect")
        assert not consuming.done()

    assert Counter(await on_kafka.effects()) == Counter(["before", "after", "beside", "later", *map(str, range(20))])
    letters = await on_kafka.rows("SELECT * FROM parked ORDER BY partition, id")
    assert [(one["topic"], one["partition"], one["offset"], one["dead"]) for one in letters] == [
        (on_kafka.others.name, 0, 1, True),
        (on_kafka.others.name, 0, 2, True),
        (on_kafka.others.name, 1, 1, True),
    ]
    assert "isn't UTF-8" in letters[0]["what"]


async def test_an_undecodable_event_on_our_own_topic_is_passed_over_once(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    await publish_undecodable(kafka, on_kafka.ours.name)
    await publish(kafka, on_kafka.ours, many(5, models=1))
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 5), what="every effect")
    await publish(kafka, on_kafka.ours, [event("5", subject="model/0", sequence=6)])
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effects(on_kafka, 6), what="the effect after a restart")

    assert await on_kafka.effects() == [f"{number}" for number in range(6)]
    assert await on_kafka.count("parked") == 1


async def test_an_event_without_key_and_value_reaches_the_dead_letters_with_what_comes_behind_it(
    on_kafka: Service, kafka: str, unique: str
) -> None:
    await publish_undecodable(kafka, on_kafka.others.name)
    await publish(kafka, on_kafka.others, [Raw("", 0, 0, b"key", [("ce_id", b"behind")], b"garbage")])
    leases = Leases(on_kafka.database, duration=timedelta(seconds=5))
    relay = Relay(on_kafka.database, leases, kafka=KafkaAccess(kafka))
    async with running(on_kafka.consumer(unique, kafka).run, relay.run):
        letters = await collect(kafka, dead_letters(on_kafka.others), 2)

    assert [headers(one)["dlq_offset"] for one in letters] == ["0", "1"]
