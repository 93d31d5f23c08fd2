"""The runner, each time in a process of its own: what it prints, and how it ends; and how things are closed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.chassis.runner import to_the_end

SCRIPT = """
import asyncio
from services.chassis.errors import Unavailable
from services.chassis.runner import Background, Closing, main, serve

def say(text):
    print(text, flush=True)

class Part:
    def __init__(self, name, fails="", hangs=False):
        self.name, self.fails, self.hangs = name, fails, hangs
    async def start(self):
        say(f"starting {self.name}")
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails == "start":
            raise Unavailable(f"{self.name} is taken")
        say(f"started {self.name}")
    async def stop(self):
        await asyncio.sleep(0)
        say(f"stopped {self.name}")
        if self.fails == "stop":
            raise RuntimeError("it can't")

async def forever():
    await asyncio.Event().wait()

async def dies():
    raise RuntimeError("it died")

async def ends():
    return

async def closed():
    say("closed")
"""


@contextmanager
def service(parts: str) -> Iterator[subprocess.Popen[str]]:
    script = f"{SCRIPT}\nasync def run():\n    return await serve([{parts}])\nmain(run)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        (process.stdout or sys.stdin).close()


def lines(process: subprocess.Popen[str], *, until: str = "") -> list[str]:
    """What it says, up to a line that holds this text, or to its end."""
    found: list[str] = []
    for line in process.stdout or ():
        found.append(line.rstrip())
        if until and until in line:
            break
    return found


def steps(said: list[str]) -> list[str]:
    return [line for line in said if line.startswith(("start", "stop", "closed"))]


def ending(parts: str) -> tuple[int, list[str]]:
    with service(parts) as process:
        said = lines(process)
        return process.wait(timeout=20), said


def test_parts_start_in_order_and_stop_in_the_opposite_order_on_sigterm() -> None:
    with service("Part('database'), Background('relay', forever), Closing(closed), Part('http')") as process:
        started = steps(lines(process, until="ready"))
        process.send_signal(signal.SIGTERM)
        stopped = steps(lines(process))
        status = process.wait(timeout=20)

    assert started == ["starting database", "started database", "starting http", "started http"]
    assert stopped == ["stopped http", "closed", "stopped database"]
    assert status == 0


def test_an_interrupt_ends_it_just_so() -> None:
    with service("Part('database')") as process:
        lines(process, until="ready")
        process.send_signal(signal.SIGINT)

        assert steps(lines(process)) == ["stopped database"]
        assert process.wait(timeout=20) == 0


def test_a_part_that_dies_ends_the_process_with_1() -> None:
    status, said = ending("Part('database'), Background('relay', dies)")

    assert status == 1
    assert steps(said)[-1] == "stopped database"
    assert any("a part died" in line and "relay" in line for line in said)


def test_a_part_that_should_run_for_ever_and_ends_is_dead_too() -> None:
    status, said = ending("Background('relay', ends)")

    assert status == 1
    assert any("a part died" in line for line in said)


def test_a_part_that_cant_start_is_said_in_words_and_the_others_stop() -> None:
    status, said = ending("Part('database'), Part('http', fails='start'), Part('grpc')")

    assert status == 1
    assert steps(said) == ["starting database", "started database", "starting http", "stopped database"]
    assert any("http is taken" in line for line in said)
    assert not any("Traceback" in line for line in said)


def test_a_part_that_doesnt_stop_well_keeps_none_of_the_others() -> None:
    with service("Part('database'), Part('http', fails='stop')") as process:
        lines(process, until="ready")
        process.send_signal(signal.SIGTERM)

        assert steps(lines(process)) == ["stopped http", "stopped database"]
        assert process.wait(timeout=20) == 0


def test_a_signal_during_the_start_ends_it() -> None:
    with service("Part('database'), Part('kafka', hangs=True)") as process:
        lines(process, until="starting kafka")
        process.send_signal(signal.SIGTERM)

        assert steps(lines(process)) == ["stopped database"]
        assert process.wait(timeout=20) == 0


async def test_what_is_closed_is_closed_to_the_end_though_it_is_cancelled_twice() -> None:
    closing, may_end, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def close() -> None:
        closing.set()
        await may_end.wait()
        closed.set()

    task = asyncio.ensure_future(to_the_end(close()))
    await closing.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()


async def test_what_fails_to_close_says_so() -> None:
    async def close() -> None:
        raise OSError("it hangs")

    with pytest.raises(OSError, match="it hangs"):
        await to_the_end(close())
