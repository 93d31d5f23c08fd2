"""From the stream into the store: pushed online and kept for training, in whatever order and however often it comes."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

from tests.pusher.conftest import Stream

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


async def test_what_is_told_is_served_and_kept_for_training(stream: Stream) -> None:
    await stream.tell(stream.row("ann", at(0), count_7d=1.0, mean_7d=10.0), stream.row("bob", at(1), count_7d=5.0))
    await stream.tell(stream.row("ann", at(30), count_7d=2.0, mean_7d=20.0))
    await stream.served("ann", NOON, 2.0, 20.0)
    await stream.served("bob", NOON, 5.0, None)
    kept = await stream.offline(("ann", at(29)), ("ann", at(30)), ("ann", at(-1)), ("bob", at(30)))
    assert kept[:2] == [(1.0, 10.0), (2.0, 20.0)]
    assert [math.isnan(value) for pair in kept[2:] for value in pair] == [True, True, False, True]


async def test_a_late_event_is_kept_and_never_served(stream: Stream) -> None:
    await stream.tell(stream.row("ann", at(30), count_7d=2.0, mean_7d=20.0))
    await stream.tell(stream.row("ann", at(0), count_7d=1.0, mean_7d=10.0))
    await stream.tell(stream.row("eve", at(0), count_7d=9.0, mean_7d=9.0))
    await stream.served("eve", NOON, 9.0, 9.0)
    assert [column[0] for column in (await stream.online("ann", NOON)).columns] == [2.0, 20.0]
    assert await stream.offline(("ann", at(10)), ("ann", at(40))) == [(1.0, 10.0), (2.0, 20.0)]


async def test_an_event_that_comes_again_changes_nothing(stream: Stream) -> None:
    first = await stream.tell(stream.row("ann", at(0), count_7d=1.0, mean_7d=10.0))
    await stream.tell(stream.row("ann", at(1), count_7d=2.0, mean_7d=20.0))
    await stream.put(first)
    await stream.tell(stream.row("eve", at(0), count_7d=9.0, mean_7d=9.0))
    await stream.served("eve", NOON, 9.0, 9.0)
    assert [column[0] for column in (await stream.online("ann", NOON)).columns] == [2.0, 20.0]
    assert await stream.offline(("ann", at(0)), ("ann", at(2))) == [(1.0, 10.0), (2.0, 20.0)]


async def test_a_correction_of_the_same_moment_is_served_and_trained_on(stream: Stream) -> None:
    await stream.tell(stream.row("ann", at(0), count_7d=1.0, mean_7d=10.0))
    await stream.served("ann", NOON, 1.0, 10.0)
    await stream.tell(stream.row("ann", at(0), count_7d=3.0, mean_7d=30.0))
    await stream.served("ann", NOON, 3.0, 30.0)
    assert await stream.offline(("ann", at(1))) == [(3.0, 30.0)]


async def test_of_two_values_of_the_same_moment_in_one_event_the_last_is_the_only_one(stream: Stream) -> None:
    await stream.tell(
        stream.row("ann", at(0), count_7d=1.0, mean_7d=10.0), stream.row("ann", at(0), count_7d=3.0, mean_7d=30.0)
    )
    await stream.served("ann", NOON, 3.0, 30.0)
    assert await stream.offline(("ann", at(1))) == [(3.0, 30.0)]


async def test_a_broken_event_is_put_aside_and_the_next_is_served(stream: Stream) -> None:
    await stream.tell(stream.row("ann", at(0), count_7d=1.0), view="nowhere")
    await stream.tell(stream.row("ann", datetime.now(UTC) + timedelta(days=1), count_7d=1.0, mean_7d=1.0))
    await stream.tell(stream.row("ann", at(0), count_7d=2.0, mean_7d=20.0))
    await stream.served("ann", NOON, 2.0, 20.0)


async def test_a_broken_event_is_among_its_topics_dead_letters_with_why(stream: Stream) -> None:
    event = await stream.tell(stream.row("ann", at(0), count_7d=1.0), view="nowhere")
    async with asyncio.timeout(30):
        assert "the feature store has no view 'nowhere'" in await stream.given_up(event)
