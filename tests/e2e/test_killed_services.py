"""kill -9 of each service while a version is being rolled out: the rollout still finishes, and serving goes on."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import grpc
import httpx
import pytest
import pytest_asyncio

from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as judged
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.testing import eventually
from tests.e2e.conftest import MODEL, World

PATIENCE = timedelta(seconds=90)
_numbers = itertools.count(1)


@contextmanager
def traffic(world: World) -> Iterator[list[int]]:
    """Requests without end from four clients, without retries; the status of each, 0 for none."""
    statuses: list[int] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.05):
            try:
                statuses.append(world.predict().status_code)
            except httpx.HTTPError:
                statuses.append(0)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def state(world: World) -> deployer.Deployment:
    asked = deployer.GetDeploymentRequest(model=MODEL)
    return world.as_("otto", "operator").deployer.GetDeployment(asked).deployment


async def waits_for_a_reviewer(world: World, version: int) -> None:
    async def waiting() -> bool:
        try:
            asked = governance.GetVerdictRequest(model=MODEL, version=version)
            verdict = world.as_("grace", "reviewer").governance.GetVerdict(asked).verdict
        except grpc.RpcError:
            return False
        return verdict.state == judged.VERDICT_STATE_WAITING

    await eventually(waiting, within=PATIENCE, what="a verdict that waits")


async def serves(world: World, version: int) -> None:
    async def stable() -> bool:
        try:
            at = state(world)
        except grpc.RpcError:
            return False
        return at.position.stable_version == version and not at.position.candidate_version and at.effective

    await eventually(stable, within=PATIENCE, what=f"version {version} as the stable")


async def reaches(world: World, states: set[int]) -> None:
    async def there() -> bool:
        try:
            return state(world).rollout.state in states
        except grpc.RpcError:
            return False

    await eventually(there, within=PATIENCE, what=f"a rollout in {states}")


def kill(world: World, service: str) -> None:
    os.kill(world.running.state.parts[service].pid, signal.SIGKILL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def first(world: World) -> None:
    """A first version serves."""
    version = world.register(next(_numbers))
    await waits_for_a_reviewer(world, version)
    world.approve(version)
    await serves(world, version)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("service", ["registry", "governance", "deployer", "monitor"])
@pytest.mark.parametrize(
    "states",
    [
        pytest.param(
            {deployer.ROLLOUT_STATE_ADMITTED, deployer.ROLLOUT_STATE_PROVISIONING}, id="while its server starts"
        ),
        pytest.param({deployer.ROLLOUT_STATE_CANARY}, id="in its canary"),
    ],
)
async def test_a_rollout_finishes_although_a_service_is_killed(world: World, service: str, states: set[int]) -> None:
    version = world.register(next(_numbers))
    await waits_for_a_reviewer(world, version)
    with traffic(world) as statuses:
        world.approve(version)
        await reaches(world, states)
        kill(world, service)
        world.restart()
        await serves(world, version)
    assert set(statuses) == {200}
