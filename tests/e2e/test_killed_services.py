"""kill -9 of each service in every state of a rollout: the rollout still finishes, and nothing happens twice.

One rollout per service, there and back: in each state the service is killed and started again, while clients that try
nothing again go on sending. The candidate's traffic is a trickle until a step may end. What passes in milliseconds
(admitted, decided and not yet in effect) is kept by another replica, which took the lease of the work that comes next
and hangs. That a kill hit the state that it names is read from the deployer just before it, and from its database
just after.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio

from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as judged
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.testing import eventually
from services.deployer.domain.deployment import Place
from services.deployer.domain.rollout import State
from services.deployer.store import DeployerUnitOfWork
from tests.e2e.world import MODEL, Traffic, World, hanging

pytestmark = pytest.mark.servers

PATIENCE = timedelta(seconds=90)
PLACE = Place(MODEL)
# What ends a step is half a minute of the trickle, or a second or two of the flood. Answers may differ: versions do.
STEPS: dict[str, Any] = {"minimum_sample": 100, "shadow": True, "minimum_pairs": 100, "disagreement_limit": 0.99}
TRICKLE = timedelta(seconds=1)
FLOOD = timedelta(milliseconds=5)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Stage:
    """Where a rollout stands.

    Args:
        state: Its state.
        weight: The candidate's share in percent, as decided.
        stable: The stable version, as decided.
        effective: Whether the proxy shows what was decided.
    """

    state: State
    weight: int
    stable: int
    effective: bool = True


@dataclass
class Life:
    """A version's rollout, in whose every state a service is killed.

    Args:
        world: The platform.
        database: The deployer's.
        service: The service that is killed.
        version: The version.
        killed: The stages in which it was.
    """

    world: World
    database: Database[DeployerUnitOfWork]
    service: str
    version: int
    killed: list[Stage] = field(default_factory=list)

    async def reaches(self, stage: Stage) -> None:
        """Wait until the deployer says that the rollout stands there."""

        async def there() -> bool:
            try:
                return told(self.world, self.version) == stage
            except grpc.RpcError:
                return False

        await eventually(there, within=PATIENCE, what=f"version {self.version} at {stage}")

    async def is_killed_in(self, stage: Stage) -> None:
        """Kill the service in that stage, and make sure that it was that stage."""
        await self.reaches(stage)
        process = self.world.running.state.parts[self.service]
        process.send(signal.SIGKILL)
        process.finish(timedelta(seconds=10))
        assert await kept(self.database) == stage
        self.killed.append(stage)

    async def survives_in(self, stage: Stage) -> None:
        """Kill the service in that stage, and start it again."""
        await self.is_killed_in(stage)
        self.world.start_again(self.service)


def told(world: World, version: int) -> Stage | None:
    """Where a version's rollout stands as the deployer tells by gRPC; None before it has one."""
    at = world.deployment()
    stable = at.position.stable_version
    if at.queued_version == version:
        return Stage(State.ADMITTED, 0, stable, at.effective)
    if at.rollout.version != version:
        return None
    state = deployer.RolloutState.Name(at.rollout.state).removeprefix("ROLLOUT_STATE_").lower()
    return Stage(State(state), at.rollout.weight, stable, at.effective)


async def kept(database: Database[DeployerUnitOfWork]) -> Stage:
    """Where the newest rollout stands as the deployer's database has it."""
    async with database.begin() as uow:
        opened = await uow.rollouts.open(PLACE)
        latest = opened[-1] if opened else await uow.rollouts.latest(PLACE)
        stable = (await uow.deployments.get(PLACE)).stable
        pending = await uow.history.is_pending(PLACE)
    assert latest is not None
    assert stable is not None
    return Stage(latest.rollout.state, latest.rollout.weight, stable.version, not pending)


@pytest_asyncio.fixture
async def database(world: World) -> AsyncIterator[Database[DeployerUnitOfWork]]:
    """The deployer's database."""
    made = Database(world.dsn("deployer"), source="tests", clock=SystemClock(), unit_of_work=DeployerUnitOfWork)
    await made.start()
    yield made
    await made.stop()


async def registered(world: World) -> int:
    """A new version that waits for its reviewer."""
    version = world.register(next(_numbers), **STEPS)

    async def waits() -> bool:
        asked = governance.GetVerdictRequest(model=MODEL, version=version)
        try:
            verdict = world.as_("grace", "reviewer").governance.GetVerdict(asked).verdict
        except grpc.RpcError:
            return False
        return verdict.state == judged.VERDICT_STATE_WAITING

    await eventually(waits, within=PATIENCE, what="a verdict that waits")
    return version


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def first(world: World) -> int:
    """A first version serves."""
    version = await registered(world)
    world.approve(version)

    async def serves() -> bool:
        try:
            return told(world, version) == Stage(State.PROMOTED, 100, version)
        except grpc.RpcError:
            return False

    await eventually(serves, within=PATIENCE, what="a first version that serves")
    return version


@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", ["registry", "governance", "deployer", "monitor"])
async def test_a_rollout_finishes_although_a_service_is_killed_in_each_of_its_states(
    world: World, database: Database[DeployerUnitOfWork], first: int, service: str
) -> None:
    before = len(history(world))
    life = Life(world, database, service, await registered(world))
    with world.traffic(TRICKLE) as traffic:
        await goes_there(life, traffic, stable=first)
        await comes_back(life, stable=first)
    assert set(traffic.statuses) == {200}
    assert history(world)[before:] == [
        "deployment.started",
        "deployment.advanced",
        "deployment.advanced",
        "deployment.promoted",
        "deployment.rollback_decided",
        "deployment.rolled_back",
    ]
    assert [stage.state for stage in life.killed] == [
        State.ADMITTED,
        State.PROVISIONING,
        State.SHADOW,
        State.CANARY,
        State.CANARY,
        State.PROMOTED,
        State.PROMOTED,
    ]
    await eventually(lambda: champions(world, [first, life.version, first]), what="the champion's way there and back")


async def goes_there(life: Life, traffic: Traffic, *, stable: int) -> None:
    """From approval to promotion, with a kill in each state."""
    async with hanging(life.database, "rollouts"):
        life.world.approve(life.version)
        await life.survives_in(Stage(State.ADMITTED, 0, stable))
    await life.survives_in(Stage(State.PROVISIONING, 0, stable))
    await life.survives_in(Stage(State.SHADOW, 0, stable))
    for step in (Stage(State.CANARY, 25, stable), Stage(State.CANARY, 50, stable)):
        traffic.pause = FLOOD
        await life.reaches(step)
        traffic.pause = TRICKLE
        await life.survives_in(step)
    async with hanging(life.database, "proxy/embedded"):
        traffic.pause = FLOOD
        await life.is_killed_in(Stage(State.PROMOTED, 100, life.version, effective=False))
    traffic.pause = TRICKLE
    life.world.start_again(life.service)
    await life.reaches(Stage(State.PROMOTED, 100, life.version))


async def comes_back(life: Life, *, stable: int) -> None:
    """An operator takes it back, with a kill between the decision and its effect."""
    async with hanging(life.database, "proxy/embedded"):
        request = deployer.RollBackRequest(model=MODEL, version=stable, reason="a test of the way back")
        life.world.as_("otto", "operator").deployer.RollBack(request)
        await life.is_killed_in(Stage(State.PROMOTED, 100, stable, effective=False))
    life.world.start_again(life.service)
    await life.reaches(Stage(State.PROMOTED, 100, stable))


def history(world: World) -> list[str]:
    """What happened to the deployment, oldest first."""
    asked = deployer.ListHistoryRequest(model=MODEL, page_size=1000)
    entries = world.as_("otto", "operator").deployer.ListHistory(asked).entries
    return [entry.type for entry in reversed(entries)]


async def champions(world: World, versions: list[int]) -> bool:
    """Whether these versions were the champion last, one after the other."""
    asked = registry.ListAliasHistoryRequest(model=MODEL)
    aliases = world.as_("ada", "scientist").registry.ListAliasHistory(asked).aliases
    return [alias.version for alias in aliases[: len(versions)]] == versions[::-1]
