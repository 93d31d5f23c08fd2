"""A read model that was lost is rebuilt, on a real Kafka: whole, without a second effect, whatever happens."""

from __future__ import annotations

import asyncio
from collections import Counter

from services.chassis.errors import Unavailable
from services.chassis.testing import eventually
from tests.chassis.keeping import (
    acted,
    acts,
    begin,
    consumer_of,
    has,
    holding,
    is_over,
    kept,
    progress,
    publish_all,
    told,
    wreck,
)
from tests.chassis.kit import Service, event, publish, running


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
