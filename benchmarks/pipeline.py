"""Events per second through the real registry, governance and deployer, and how long one takes to pass all three.

Versions are registered by the registry's own commands while its process is stopped. Then it starts: its relay tells of
them, governance asks it by gRPC for each version's facts, judges and tells, and the deployer admits a rollout. What
would come next, a server for each, is another replica's, which holds the lease and does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from benchmarks.figures import Figure, percentiles
from golden.embedded import platform
from golden.embedded.parts import Parts
from golden.embedded.platform import Platform
from goldenpath.registry.v1 import events_pb2 as events
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.deployer.store import DeployerUnitOfWork
from services.registry.app import database_of
from services.registry.artifacts import ArtifactStore
from services.registry.commands import Commands
from tests.e2e.world import embedded, hanging
from tests.registry.made_up import ADA, FakeDeployments, FakeRuns, registration

_SERVICES: Final = frozenset({"registry", "governance", "deployer"})
_BACKLOG: Final = 2_000
_MODELS: Final = 96
_WRITERS: Final = 8  # each has models of its own: the registry numbers a model's versions as they come
_RATE: Final = 20.0  # versions a second while passing is timed: more than any company registers
_TIMED: Final = 300
_PATIENCE_S: Final = 600.0


def measure() -> list[Figure]:
    """A backlog drained, then versions at a steady rate."""
    with embedded(_SERVICES) as running:
        return asyncio.run(_measure(running))


async def _measure(running: Platform) -> list[Figure]:
    dsns = Parts(running.folders, running.state).dsns()
    registry = database_of(dsns["registry"])
    deployer = Database(dsns["deployer"], source="bench", clock=SystemClock(), unit_of_work=DeployerUnitOfWork)
    runs = FakeRuns(ArtifactStore(running.folders.artifacts))
    commands = Commands(registry, runs, FakeDeployments())
    await registry.start()
    await deployer.start()
    try:
        async with hanging(deployer, "rollouts"):
            running.stop("registry")
            await asyncio.gather(*[_fill(commands, runs, writer) for writer in range(_WRITERS)])
            platform.up(running.home, only=_SERVICES, ports=running.state.ports, say=lambda _: None)
            drained = await _admitted(deployer, _BACKLOG)
            began = await _at_a_rate(commands, runs)
            passed = await _admitted(deployer, _BACKLOG + _TIMED)
    finally:
        await registry.stop()
        await deployer.stop()
    moments = sorted(drained.values())
    seconds = (moments[-1] - moments[0]).total_seconds()
    took = [(passed[number] - at).total_seconds() for number, at in began.items()]
    return [
        Figure(
            "pipeline.events_per_second",
            round((_BACKLOG - 1) / seconds),
            "events/s",
            f"registered → judged → rollout admitted, a backlog of {_BACKLOG:,} versions",
        ),
        *percentiles(took, "pipeline.registered_to_admitted", f"at {_RATE:g} versions/s, through all three"),
    ]


async def _fill(commands: Commands, runs: FakeRuns, writer: int) -> None:
    for number in range(writer, _BACKLOG, _WRITERS):
        await _one(commands, runs, number)


async def _one(commands: Commands, runs: FakeRuns, number: int) -> None:
    run = f"run-{number}"
    runs.add(run, {"MLmodel": run}, signature_json='{"inputs": "[]"}', requirements=("scikit-learn==1.6.0",))
    request = registration(f"model-{number % _MODELS}", run, risk_tier=events.RISK_TIER_MINIMAL)
    await commands.register_version(request, ADA)


async def _at_a_rate(commands: Commands, runs: FakeRuns) -> dict[tuple[str, int], datetime]:
    """Register at a steady rate; when each version was committed."""
    start, committed = time.perf_counter(), {}
    for number in range(_BACKLOG, _BACKLOG + _TIMED):
        await asyncio.sleep(max(start + (number - _BACKLOG) / _RATE - time.perf_counter(), 0))
        await _one(commands, runs, number)
        committed[(f"model-{number % _MODELS}", number // _MODELS + 1)] = datetime.now(UTC)
    return committed


async def _admitted(deployer: Database[DeployerUnitOfWork], wanted: int) -> dict[tuple[str, int], datetime]:
    """Wait for so many rollouts; when each was admitted."""
    deadline = time.monotonic() + _PATIENCE_S
    rows: Sequence[tuple[str, int, datetime]] = ()
    while len(rows) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(rows)} of {wanted} versions arrived")
        await asyncio.sleep(0.2)
        async with deployer.read() as connection:
            rows = [tuple(row) for row in await connection.fetch("SELECT model, version, started_at FROM rollouts")]
    return {(model, version): at for model, version, at in rows}
