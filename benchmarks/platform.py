"""The embedded platform: how long `golden up` takes, what it weighs, and how fast a version is taken back.

Memory is counted once for what processes share (proportional set size, Linux), beside the sum of resident sets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import psutil

from benchmarks.figures import Figure, percentiles
from golden.embedded import modelservers, platform
from golden.embedded.platform import Ports
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from tests.e2e.world import MODEL, World

_ROLLBACKS: Final = 4
_MIB: Final = 1 << 20
_PATIENCE_S: Final = 120.0
_PAUSE: Final = timedelta(milliseconds=20)  # of each client between two requests


def measure() -> list[Figure]:
    """Cold and warm start, memory with two versions, rollback under traffic."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        ports = Ports.free()
        cold = _timed(lambda: platform.up(home, only=None, ports=ports, say=lambda _: None))
        platform.down(home, wipe=False)
        warm = _timed(lambda: platform.up(home, only=None, ports=ports, say=lambda _: None))
        try:
            return [
                Figure("platform.up.cold", round(cold, 1), "s", "databases and topics are made"),
                Figure("platform.up.warm", round(warm, 1), "s", "aim: under 25"),
                *_with_versions(home),
            ]
        finally:
            platform.down(home, wipe=True)


def _with_versions(home: Path) -> list[Figure]:
    running = platform.attach(home)
    assert running is not None, "it was just started"
    script = Path(__file__).parents[1] / "tests" / "e2e" / "train_tiny.py"
    command = [sys.executable, str(script), running.endpoints().tracking, str(running.folders.mlflow / "t"), "6"]
    runs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    world = World(home, running, runs)
    _serve(world, 1)
    switches, failures = [], 0
    figures: list[Figure] = []
    with world.traffic(_PAUSE) as traffic:
        for version in range(2, 2 + _ROLLBACKS):
            _serve(world, version)
            figures = figures or _memory(home)
            switches.append(_roll_back(world))
        failures = sum(status != httpx.codes.OK for status in traffic.statuses)
    return [
        *figures,
        *percentiles(switches, "rollback.decided_to_effective", "aim: under 100; under traffic"),
        Figure(
            "rollback.failed_requests",
            failures,
            "requests",
            f"of {len(traffic.statuses)}, over {_ROLLBACKS} rollouts and rollbacks",
        ),
    ]


def _serve(world: World, number: int) -> None:
    version = world.register(number)
    _until(lambda: _approved(world, version))
    _until(lambda: _stable(world) == version)


def _approved(world: World, version: int) -> bool:
    try:
        world.approve(version)
    except Exception:  # noqa: BLE001 - governance hasn't judged it yet
        return False
    return True


def _stable(world: World) -> int:
    try:
        at = world.as_("otto", "operator").deployer.GetDeployment(deployer.GetDeploymentRequest(model=MODEL)).deployment
    except Exception:  # noqa: BLE001 - nothing is deployed yet
        return 0
    return at.position.stable_version if at.effective and not at.position.candidate_version else 0


def _roll_back(world: World) -> float:
    """Seconds from the decision to the proxy showing it."""
    service = world.as_("otto", "operator").deployer
    made = service.RollBack(deployer.RollBackRequest(model=MODEL, version=1, reason="measured")).decision
    _until(lambda: _stable(world) == 1)
    decision = service.GetDecision(deployer.GetDecisionRequest(id=made.id)).decision
    return (decision.effective_at.ToDatetime() - decision.decided_at.ToDatetime()).total_seconds()


def _memory(home: Path) -> list[Figure]:
    running = platform.attach(home)
    assert running is not None, "it runs"
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


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"the platform didn't get there within {_PATIENCE_S:.0f} s")
        time.sleep(0.05)
