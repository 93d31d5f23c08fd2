"""Requests that wait for the feature store at the same time are read together, and each gets its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from services.chassis.clock import SystemClock
from services.chassis.errors import Unavailable
from services.chassis.testing import eventually
from services.modelserver.reading import Part, Reading


class Slow:
    """A source that answers when it is let, and gives each key back."""

    def __init__(self) -> None:
        self.key_types = {"customer": "BYTES"}
        self.asked: list[list[Any]] = []
        self.go = threading.Event()
        self.down = False

    def datatypes(self) -> dict[str, str]:
        return {"name": "BYTES"}

    def read(self, keys: Mapping[str, Sequence[Any]], now: datetime) -> Sequence[Part]:
        names = list(keys["customer"])
        self.asked.append(names)
        assert self.go.wait(20), now
        if self.down:
            raise Unavailable("it is down")
        return [Part([names], list(range(len(names))), ["found"] * len(names))]

    async def close(self) -> None:
        pass


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def reading(slow: Slow) -> Reading:
    return Reading(slow, ["customer"], SystemClock())


async def began(reading: Reading, slow: Slow, *names: str) -> list[asyncio.Task[list[Part]]]:
    """Requests that wait, the first two of them under way."""
    made = [asyncio.create_task(reading.read([[name, f"{name}'s"]], 2)) for name in names]

    async def under_way() -> bool:
        return len(slow.asked) == 2

    await eventually(under_way, what="two reads")
    return made


async def test_what_arrives_meanwhile_goes_in_as_one_and_each_gets_its_own(reading: Reading, slow: Slow) -> None:
    waiting = await began(reading, slow, "a", "b", "c", "d")
    slow.go.set()
    found = [await one for one in waiting]
    assert [parts[0].columns for parts in found] == [[[name, f"{name}'s"]] for name in "abcd"]
    assert found[3][0].event_times_us == [2, 3]
    assert slow.asked[2:] == [["c", "c's", "d", "d's"]]


async def test_whoever_gave_up_is_not_read_for(reading: Reading, slow: Slow) -> None:
    *_, third, fourth = await began(reading, slow, "a", "b", "c", "d")
    third.cancel()
    await asyncio.wait([third])
    slow.go.set()
    assert (await fourth)[0].columns == [["d", "d's"]]
    assert slow.asked[2:] == [["d", "d's"]]


async def test_all_that_went_in_together_learn_that_the_store_fails(reading: Reading, slow: Slow) -> None:
    waiting = await began(reading, slow, "a", "b", "c", "d")
    slow.down = True
    slow.go.set()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in ended] == ["it is down"] * 4


async def test_more_than_one_read_takes_goes_in_several(reading: Reading, slow: Slow) -> None:
    first = await began(reading, slow, "a", "b")
    more = [asyncio.create_task(reading.read([["x"] * 200], 200)) for _ in range(3)]
    await asyncio.sleep(0)
    slow.go.set()
    await asyncio.gather(*first, *more)
    assert [len(asked) for asked in slow.asked[2:]] == [200, 200, 200]
