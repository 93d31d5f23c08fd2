"""`golden doctor` on a real platform names in words what is broken, and what to do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.message import Message

from golden.checkup import Finding, examine
from golden.embedded.services import SERVICES
from golden.operations import ask
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from goldenpath.ingest.v1 import events_pb2 as ingest
from goldenpath.registry.v1 import events_pb2 as registry
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.testing import eventually
from tests.faults.bad_release import REASON
from tests.faults.bus import Bus
from tests.faults.link import Link
from tests.faults.world import HANDLES_NOTHING, READS_NOTHING, Replica, World

PATIENCE = timedelta(seconds=120)
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers, pytest.mark.timeout(600)]


async def finds(world: World, where: str, what: str) -> Finding:
    """What the doctor says about something, once it says so."""
    doctor = world.as_("otto", "operator")

    async def found() -> Any:
        findings = await asyncio.to_thread(examine, doctor)
        return next((one for one in findings if one.where == where and what in one.what), None)

    finding: Finding = await eventually(found, within=PATIENCE, what=f"{where}: {what}")
    return finding


async def is_well(world: World) -> None:
    """The doctor finds nothing."""
    doctor = world.as_("otto", "operator")

    async def well() -> bool:
        return not await asyncio.to_thread(examine, doctor)

    await eventually(well, within=PATIENCE, what="nothing wrong")


async def publish(world: World, topic: str, type_name: str, subject: str, body: Message) -> None:
    made = event_of(body, type=type_name, source="test", subject=subject, time=datetime.now(UTC))
    await Bus(world.kafka.bootstrap).write([(topic, subject.encode(), headers_of(made), made.data)])


async def test_a_platform_that_is_well_has_no_findings(world: World) -> None:
    await is_well(world)


async def test_a_dead_service_does_not_answer(world: World) -> None:
    await asyncio.to_thread(world.kill, "monitor/1")
    finding = await finds(world, "monitor", "doesn't answer")
    assert "golden up" in finding.fix
    world.launch(Replica("monitor", 1))
    await is_well(world)


async def test_a_service_that_hangs_does_not_answer(world: World) -> None:
    world.signal("registry/1", signal.SIGSTOP)
    finding = await finds(world, "registry", "doesn't answer")
    assert "logs folder" in finding.fix
    world.signal("registry/1", signal.SIGCONT)
    await is_well(world)


async def test_a_database_whose_machine_is_gone_is_named_by_everybody(world: World) -> None:
    await asyncio.to_thread(world.kill, "postgres")
    for service in SERVICES:
        finding = await finds(world, service, "database: ")
        assert finding.fix.startswith("is PostgreSQL up")
    await world.start_postgres()
    await is_well(world)


async def test_events_that_come_again_are_no_finding(world: World) -> None:
    await start_projects(world, "again", 0, 5)
    await eventually(lambda: started(world, "again", 5), within=PATIENCE, what="every project")
    bus = Bus(world.kafka.bootstrap)
    await bus.read()
    await bus.write((one.topic, one.key, one.headers, one.value) for one in bus.records if one.topic == "ingest.events")
    await is_well(world)
    assert await started(world, "again", 5)


async def test_a_broker_that_is_down_is_named_by_whoever_needs_it(world: World) -> None:
    world.signal("kafka", signal.SIGSTOP)
    finding = await finds(world, "governance", "kafka: ")
    assert finding.fix.startswith("is Kafka up?")
    world.signal("kafka", signal.SIGCONT)
    await is_well(world)


@pytest.mark.parametrize(
    ("service", "fail"),
    [
        pytest.param("registry", Link.close, id="is down"),
        pytest.param("monitor", lambda link: link.slow(timedelta(seconds=2)), id="is slow"),
        pytest.param("deployer", Link.hold, id="is gone without a word"),
    ],
)
async def test_a_database_in_trouble_is_named_by_whoever_needs_it(
    world: World, service: str, fail: Callable[[Link], None]
) -> None:
    fail(world.links[service])
    finding = await finds(world, service, "database: ")
    assert finding.fix.startswith("is PostgreSQL up")
    world.links[service].mend()
    await is_well(world)


async def test_a_proxy_that_is_down_is_named_by_the_deployer(world: World) -> None:
    await asyncio.to_thread(world.kill, "envoy")
    finding = await finds(world, "deployer", "proxy: ")
    assert finding.fix.startswith("is Envoy up?")
    await world.start_envoy()
    await is_well(world)


async def test_an_event_that_waits_for_what_is_not_there_is_parked(world: World) -> None:
    await publish(
        world,
        "registry.events",
        "model.registered",
        "model/nobody",
        registry.ModelRegistered(model="nobody", version=1),
    )
    finding = await finds(world, "governance", "1 events are parked since ")
    assert "NotFound: " in finding.what
    assert "nobody" in finding.what
    assert "tried again by themselves" in finding.fix


async def test_a_deployment_that_is_held_says_why(world: World) -> None:
    verdict = governance.Verdict(model="credit", version=1)
    await publish(
        world, "governance.events", "model.approved", "model/credit", governance.ModelApproved(verdict=verdict)
    )
    otto = world.as_("otto", "operator")

    async def held() -> bool:
        try:
            await asyncio.to_thread(
                otto.deployer.Hold, deployer.HoldRequest(model="credit", reason="the feed is broken")
            )
        except grpc.RpcError:
            return False
        return True

    await eventually(held, within=PATIENCE, what="a deployment that can be held")
    finding = await finds(world, "credit/production", "held: the feed is broken")
    assert finding.fix.startswith("golden release credit")


@pytest.mark.parametrize("release", [READS_NOTHING, HANDLES_NOTHING])
async def test_a_bad_release_is_stopped_its_dead_letters_are_listed_and_a_good_one_handles_them(
    world: World, release: tuple[str, str]
) -> None:
    replica, how = Replica("registry", 1), release[1]
    await start_projects(world, how, 0, 1)
    await eventually(lambda: started(world, how, 1), within=PATIENCE, what="a good release has read this publisher")
    await world.stop_replicas([replica])
    world.launch(replica, release)
    await start_projects(world, how, 1, 41)
    stopped = await finds(world, "registry", "registry stopped itself: 20 of the last 20 events on ingest.events")
    assert "restart the service" in stopped.fix
    listed = await finds(world, "registry", f"20 dead letters; the oldest: Invalid: {REASON}")
    assert listed.fix.startswith("golden deadletters show registry/")

    await world.stop_replicas([replica])
    world.launch(replica)
    await world.wait_ready([replica])
    otto = world.as_("otto", "operator")
    for letter in (await asyncio.to_thread(ask, otto, "registry", "GET", "/v1/deadletters"))["letters"]:
        path = f"/v1/deadletters/{letter['id']}/replay"
        await asyncio.to_thread(ask, otto, "registry", "POST", path, {"reason": "a good release runs again"})
    await eventually(lambda: started(world, how, 41), within=PATIENCE, what="every project")


async def start_projects(world: World, name: str, begin: int, end: int) -> None:
    """Let a publisher start projects."""
    made = []
    for number in range(begin, end):
        body = ingest.ProjectStarted(project=f"{name}{number}", model=f"{name}{number}")
        body.started_at.GetCurrentTime()
        subject = f"model/{name}{number}"
        event = event_of(body, type="project.started", source=name, subject=subject, time=datetime.now(UTC))
        made.append(("ingest.events", subject.encode(), headers_of(event), event.data))
    await Bus(world.kafka.bootstrap).write(made)


async def started(world: World, name: str, count: int) -> bool:
    """Whether the registry has noted so many projects."""
    connection = await asyncpg.connect(world.dsn("registry"))
    try:
        found: int = await connection.fetchval("SELECT count(*) FROM projects WHERE name LIKE $1", f"{name}%")
    finally:
        await connection.close()
    return found == count
