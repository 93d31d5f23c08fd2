"""Requests that wait for the feature store together are read together.

A read has a fixed cost, in Feast and on the way to the store, that one row pays as well as fifty, and it holds the
interpreter for most of it. So at most two are under way, and whatever arrives meanwhile goes in as one when the next
begins. Nobody waits for company: where no read is under way, a request is read at once and alone.

Whoever gave up waiting isn't read for any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from services.chassis.clock import Clock

_AT_ONCE: Final = 2  # one that waits for the store, and one that is being read out
_MOST_ROWS: Final = 256  # in one read, so that the first of many needn't wait for the last


class ViewRead(Protocol):
    """What a view gave; see `services.features.reader.Read`."""

    @property
    def columns(self) -> list[list[Any]]:
        """A list per input."""
        ...

    @property
    def event_times_us(self) -> list[int]:
        """Per row when the values came true; 0: there are none."""
        ...

    @property
    def outcomes(self) -> list[str]:
        """Per row what came of it."""
        ...


class Source(Protocol):
    """What reads; see `services.features.reader.Reader`."""

    @property
    def key_types(self) -> Mapping[str, str]:
        """By join key, its datatype."""
        ...

    def datatypes(self) -> Mapping[str, str]:
        """By input, its datatype."""
        ...

    def read(self, keys: Mapping[str, Sequence[Any]], now: datetime) -> Sequence[ViewRead]:
        """What every view has for some rows."""
        ...

    async def close(self) -> None:
        """End the connections."""
        ...


class Part(NamedTuple):
    """What a view gave for some of the rows that were read."""

    columns: list[list[Any]]
    event_times_us: list[int]
    outcomes: list[str]


class _Waiting(NamedTuple):
    keys: list[list[Any]]
    size: int
    answer: asyncio.Future[list[Part]]


class Reading:
    """Reads for requests, those that wait at the same time together.

    Args:
        source: Reads.
        names: The join keys, in the order in which requests give them.
        clock: By which age is judged.
    """

    def __init__(self, source: Source, names: Sequence[str], clock: Clock) -> None:
        self._source = source
        self._names = names
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._under_way = 0
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="features")

    async def read(self, keys: list[list[Any]], size: int) -> list[Part]:
        """What every view has for a request's rows.

        Raises:
            Unavailable: the store doesn't answer, or fails.
        """
        one = _Waiting(keys, size, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._begin()
        return await one.answer

    def close(self) -> None:
        """Read nothing more; a read that still hangs is left to its own end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        while self._under_way < _AT_ONCE and (taken := self._take()):
            self._under_way += 1
            named = {
                name: [value for one in taken for value in one.keys[place]] for place, name in enumerate(self._names)
            }
            loop = asyncio.get_running_loop()
            asking = loop.run_in_executor(self._threads, self._source.read, named, self._clock.now())
            asking.add_done_callback(partial(self._done, taken))

    def _take(self) -> list[_Waiting]:
        """Those that go in together: the first that still waits, and as many behind it as fit."""
        waiting = [one for one in self._waiting if not one.answer.done()]
        rows = taken = 0
        while taken < len(waiting) and (not taken or rows + waiting[taken].size <= _MOST_ROWS):
            rows += waiting[taken].size
            taken += 1
        self._waiting = waiting[taken:]
        return waiting[:taken]

    def _done(self, taken: Sequence[_Waiting], asking: asyncio.Future[Sequence[ViewRead]]) -> None:
        self._under_way -= 1
        if asking.cancelled():
            return
        error, start = asking.exception(), 0
        for one in taken:
            end = start + one.size
            if one.answer.done():
                pass  # its deadline is over
            elif error is not None:
                one.answer.set_exception(error)
            else:
                one.answer.set_result([_part(view, start, end) for view in asking.result()])
            start = end
        self._begin()


def _part(view: ViewRead, start: int, end: int) -> Part:
    columns = [column[start:end] for column in view.columns]
    return Part(columns, view.event_times_us[start:end], view.outcomes[start:end])
