"""The embedded platform: how long `golden up` takes, and what it weighs with two versions of a model.

Memory is counted once for what processes share (proportional set size, Linux), beside the sum of resident sets.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

from benchmarks.figures import Figure
from benchmarks.lives import serve, until
from golden.embedded import modelservers, platform
from golden.embedded.platform import Platform, Ports
from tests.e2e.world import World, trained

_MIB: Final = 1 << 20
_SERVERS: Final = 2  # the stable version, and the warm one before it
_PAUSE: Final = timedelta(milliseconds=50)  # of each client between two requests: a canary wants some


def measure() -> list[Figure]:
    """Cold and warm start, and memory."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        home, ports = Path(folder) / "home", Ports.free()

        def up() -> Platform:
            return platform.up(home, only=None, ports=ports, say=lambda _: None)

        try:
            cold, _ = _timed(up)
            platform.down(home, wipe=False)
            warm, running = _timed(up)
            world = World(home, running, trained(running, 2))
            serve(world, 1)
            with world.traffic(_PAUSE):
                serve(world, 2)
            servers = running.folders.modelservers
            until(lambda: len(modelservers.running(servers)) == _SERVERS, "the end of version 1's second server")
            return [
                Figure("platform.up.cold", round(cold, 1), "s", "databases and topics are made"),
                Figure("platform.up.warm", round(warm, 1), "s", "aim: under 25"),
                *_memory(running),
            ]
        finally:
            platform.down(home, wipe=True)


def _memory(running: Platform) -> list[Figure]:
    roots = [*running.state.parts.values(), *modelservers.running(running.folders.modelservers)]
    processes = {process.pid: process for root in roots for process in _family(root.pid)}
    shared = sum(getattr(process.memory_full_info(), "pss", 0) for process in processes.values())
    resident = sum(process.memory_info().rss for process in processes.values())
    beside = "Kafka, PostgreSQL, Envoy, four services, model servers of two versions"
    return [
        Figure("platform.memory.counted_once", round(shared / _MIB), "MiB", f"{beside}; aim: under 2048"),
        Figure("platform.memory.resident", round(resident / _MIB), "MiB", "the same, shared pages counted in each"),
    ]


def _family(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _timed(work: Callable[[], Platform]) -> tuple[float, Platform]:
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made
