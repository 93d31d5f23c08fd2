"""`golden doctor` on a real platform names in words what is broken, and what to do; what is over it doesn't name.

What the adversary does to processes, links, clocks and the disk stands here; what it does to topics, and what waits for
a person, in `test_doctor_events`; bad releases in `test_replay`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from golden.embedded.services import SERVICES
from services.chassis.testing import eventually
from tests.faults.disk import Disk
from tests.faults.link import Link
from tests.faults.operating import PATIENCE, finds, is_well
from tests.faults.publishing import project, publish, started
from tests.faults.world import PROCESSES, PUSHER, SESSION_TIMEOUT, Replica, World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers, pytest.mark.timeout(600)]
SLOW = timedelta(seconds=2)


@pytest.fixture(autouse=True)
def mended(world: World) -> Iterator[None]:
    """A test that fails leaves no link broken to those behind it."""
    yield
    for link in world.links.values():
        link.mend()


async def test_a_platform_that_is_well_has_no_findings(world: World, served: str) -> None:
    del served
    await is_well(world)


# Processes


@pytest.mark.parametrize("service", ["monitor", PUSHER])
async def test_a_dead_service_does_not_answer(world: World, service: str) -> None:
    await asyncio.to_thread(world.kill, f"{service}/1")
    finding = await finds(world, service, "doesn't answer")
    assert "golden up" in finding.fix
    world.launch(Replica(service, 1))
    await is_well(world)


@pytest.mark.parametrize("service", ["registry", PUSHER])
async def test_a_service_that_hangs_does_not_answer(world: World, service: str) -> None:
    world.signal(f"{service}/1", signal.SIGSTOP)
    finding = await finds(world, service, "doesn't answer")
    assert "logs folder" in finding.fix
    world.signal(f"{service}/1", signal.SIGCONT)
    await is_well(world)


@pytest.mark.parametrize("service", ["monitor", PUSHER])
async def test_a_service_that_comes_back_after_its_session_is_well(world: World, service: str) -> None:
    world.signal(f"{service}/1", signal.SIGSTOP)
    await passed(SESSION_TIMEOUT + timedelta(seconds=2))
    world.signal(f"{service}/1", signal.SIGCONT)
    await is_well(world)


async def test_a_database_whose_machine_is_gone_is_named_by_everybody(world: World) -> None:
    await asyncio.to_thread(world.kill, "postgres")
    for service in PROCESSES:
        finding = await finds(world, service, "database: ")
        assert finding.fix.startswith("is PostgreSQL up")
    await world.start_postgres()
    await is_well(world)


async def test_a_broker_whose_machine_is_gone_is_named_by_everybody(world: World) -> None:
    await asyncio.to_thread(world.kill, "kafka")
    for service in PROCESSES:
        finding = await finds(world, service, "kafka: ")
        assert finding.fix.startswith("is Kafka up?")
    await world.start_kafka()
    await is_well(world)


async def test_a_proxy_that_is_down_is_named_by_the_deployer(world: World) -> None:
    await asyncio.to_thread(world.kill, "envoy")
    finding = await finds(world, "deployer", "proxy: ")
    assert finding.fix.startswith("is Envoy up?")
    await world.start_envoy()
    await is_well(world)


async def test_a_model_server_that_died_is_named_until_its_successor_answers(world: World, served: str) -> None:
    one, other = world.model_servers()
    one.send(signal.SIGKILL)
    finding = await finds(world, f"{served}/production", "1 of 2 servers of version 1 answer: one died")
    assert "starts it again by itself" in finding.fix
    await is_well(world)
    assert other.alive()


async def test_a_model_server_that_dies_again_and_again_is_named_with_its_last_words(world: World, served: str) -> None:
    artifacts = world.folders.artifacts
    away = artifacts.rename(artifacts.with_name("artifacts-lost"))
    world.model_servers()[0].send(signal.SIGKILL)
    finding = await finds(world, f"{served}/production", "1 of 2 servers of version 1 answer: the last ")
    assert f"{artifacts}: the store has no artifact" in finding.what
    assert "modelservers folder" in finding.fix
    away.rename(artifacts)
    await is_well(world)


# Links


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(Link.close, id="out of reach"),
        pytest.param(lambda link: link.slow(SLOW), id="slow"),
        pytest.param(Link.hold, id="silent"),
    ],
)
@pytest.mark.parametrize(
    ("link", "service", "what", "fix"),
    [
        pytest.param("deployer", "deployer", "database: ", "is PostgreSQL up", id="a database"),
        pytest.param(PUSHER, PUSHER, "database: ", "is PostgreSQL up", id="the feature store"),
        pytest.param("kafka", "governance", "kafka: ", "is Kafka up?", id="the broker"),
    ],
)
async def test_a_dependency_that_cannot_be_reached_well_is_named(
    world: World, fail: Callable[[Link], None], link: str, service: str, what: str, fix: str
) -> None:
    fail(world.links[link])
    finding = await finds(world, service, what)
    assert finding.fix.startswith(fix)
    world.links[link].mend()
    await is_well(world)


@pytest.mark.parametrize("link", [*SERVICES, "kafka"])
async def test_connections_that_were_cut_are_made_again_and_no_finding(world: World, link: str) -> None:
    for number in range(5):
        world.links[link].cut()
        await publish(world, project(f"cut-{link}", number))
    await eventually(lambda: started(world, f"cut-{link}", 5), within=PATIENCE, what="every project")
    await is_well(world)


# Clocks and the disk


@pytest.mark.parametrize(
    ("seconds", "way"), [pytest.param(3600, "ahead of", id="ahead"), pytest.param(-90, "behind", id="behind")]
)
@pytest.mark.parametrize("service", ["monitor", PUSHER])
async def test_a_clock_that_jumps_is_named_until_it_is_right_again(
    world: World, service: str, seconds: int, way: str
) -> None:
    skew = world.skew_file(Replica(service, 1))
    skew.write_text(str(seconds))
    finding = await finds(world, service, f"clock: degraded: our clock is {abs(seconds):,} s {way} the database's")
    assert "by NTP" in finding.fix
    skew.unlink()
    await is_well(world)


async def test_a_full_disk_is_named_once_somebody_needs_room_and_what_waited_goes_on(world: World, disk: Disk) -> None:
    disk.fill()
    await publish(world, *(project("full", number, owner="somebody" * 25) for number in range(400)))
    finding = await finds(world, "registry", "the database's disk is full")
    assert finding.fix.startswith("make room on the disk")
    disk.make_room()
    await eventually(lambda: started(world, "full", 400), within=PATIENCE, what="every project")
    await is_well(world)


async def passed(time: timedelta) -> Any:
    """Let time go by."""
    loop = asyncio.get_running_loop()
    until = loop.time() + time.total_seconds()

    async def over() -> bool:
        return loop.time() >= until

    return await eventually(over, within=2 * time, what="time that goes by")
