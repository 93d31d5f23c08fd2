"""`golden doctor` on a real platform names in words what is broken, and what to do."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from golden.checkup import Finding, examine
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from goldenpath.ingest.v1 import events_pb2 as ingest
from goldenpath.registry.v1 import events_pb2 as registry
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.testing import eventually
from tests.faults.bad_release import REASON
from tests.faults.bus import Bus
from tests.faults.world import BAD, Replica, World

PATIENCE = timedelta(seconds=120)
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers, pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """A whole platform, with nothing in it."""
    with tempfile.TemporaryDirectory(prefix="golden-doctor-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs as another user where the tests run as root
        made = World(home / "home", home / "postgres", replicas=1)
        try:
            await made.start_parts()
            await made.start_services()
            yield made
        finally:
            await made.stop()


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


async def test_a_broker_that_is_down_is_named_by_whoever_needs_it(world: World) -> None:
    world.signal("kafka", signal.SIGSTOP)
    finding = await finds(world, "governance", "kafka: ")
    assert finding.fix.startswith("is Kafka up?")
    world.signal("kafka", signal.SIGCONT)
    await is_well(world)


async def test_a_database_that_is_down_is_named_by_whoever_needs_it(world: World) -> None:
    world.links["registry"].close()
    finding = await finds(world, "registry", "database: ")
    assert finding.fix.startswith("is PostgreSQL up")
    world.links["registry"].mend()
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
    finding = await finds(world, "governance", "1 events are parked")
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


async def test_a_release_that_fails_every_event_is_stopped_and_its_dead_letters_are_listed(world: World) -> None:
    replica = Replica("registry", 1)
    await world.stop_replicas([replica])
    world.launch(replica, BAD)
    for number in range(25):  # the limit lets twenty die
        body = ingest.ProjectStarted(project=f"p{number}", model=f"m{number}")
        await publish(world, "ingest.events", "project.started", f"model/m{number}", body)
    stopped = await finds(world, "registry", "registry stopped itself")
    assert "restart the service" in stopped.fix
    letters = await finds(world, "registry", f"dead letters; the oldest: Invalid: {REASON}")
    assert letters.fix.startswith("golden deadletters show registry/")
