"""`golden doctor` names what waits for somebody; events that come again, late or from the beginning are no finding."""

from __future__ import annotations

import random
from typing import Any

import pytest

from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from goldenpath.registry.v1 import events_pb2 as registry
from services.chassis.testing import eventually
from services.chassis.topics import GOVERNANCE, INGEST, REGISTRY
from tests.faults import poison
from tests.faults.adversary import HEARD
from tests.faults.bus import Bus, Written
from tests.faults.operating import PATIENCE, finds, golden, is_well
from tests.faults.publishing import event, project, publish, started
from tests.faults.serving import answered
from tests.faults.world import Replica, World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers, pytest.mark.timeout(600)]
EVENTS = 20


async def stood(world: World, name: str) -> list[Written]:
    """A publisher's projects as they stand on their topic, each handled once."""
    await publish(world, *(project(name, number) for number in range(EVENTS)))
    await eventually(lambda: started(world, name, EVENTS), within=PATIENCE, what="every project")
    bus = Bus(world.kafka.bootstrap)
    await bus.read()
    return [one for one in bus.records if one.event and one.event.source == name]


async def read_to_its_ends(world: World) -> bool:
    """Whether nothing of what the registry hears waits for it."""
    bus = Bus(world.kafka.bootstrap)
    committed, ends = await bus.committed({"registry": HEARD["registry"]}), await bus.ends()
    return all(offset >= ends[place] for (_, place), offset in committed.items())


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(lambda records: records, id="again"),
        pytest.param(lambda records: random.Random(1).sample(records, EVENTS), id="late-and-out-of-order"),
    ],
)
async def test_events_that_come_again_have_no_effect_and_are_no_finding(
    world: World, request: pytest.FixtureRequest, order: Any
) -> None:
    name = request.node.callspec.id
    again = order(await stood(world, name))
    await publish(world, *((one.topic, one.key, one.headers, one.value) for one in again))
    await eventually(lambda: read_to_its_ends(world), within=PATIENCE, what="the topic's end")
    assert await started(world, name, EVENTS)
    await is_well(world)


async def test_a_topic_that_is_read_again_has_no_effect_and_is_no_finding(world: World) -> None:
    await stood(world, "reread")
    replica = Replica("registry", 1)
    await world.stop_replicas([replica])
    await Bus(world.kafka.bootstrap).forget_offsets("registry", HEARD["registry"])
    world.launch(replica)
    await world.wait_ready([replica])
    await eventually(lambda: read_to_its_ends(world), within=PATIENCE, what="the topic's end")
    assert await started(world, "reread", EVENTS)
    await is_well(world)


async def test_poison_is_named_until_an_operator_gives_it_up(world: World) -> None:
    await Bus(world.kafka.bootstrap).write(poison.of_every_kind(INGEST, random.Random(1))[:1])
    finding = await finds(world, "registry", "1 dead letters; the oldest: Invalid: ")
    letter = finding.fix.removeprefix("golden deadletters show ").partition(",")[0]
    await golden(world, "deadletters", "drop", letter, "--reason", "it is poison")
    await is_well(world)


async def test_a_deployment_that_is_held_says_why_until_it_is_released(world: World) -> None:
    approved = governance.ModelApproved(verdict=governance.Verdict(model="credit", version=1))
    await publish(world, event(GOVERNANCE.name, "model.approved", "model/credit", approved))
    otto = world.as_("otto", "operator")
    hold = deployer.HoldRequest(model="credit", reason="the feed is broken")
    await answered(lambda: otto.deployer.Hold(hold))
    finding = await finds(world, "credit/production", "held: the feed is broken")
    assert finding.fix.startswith("golden release credit")
    await golden(world, "release", "credit", "--reason", "it is mended")
    await is_well(world)


async def test_an_event_that_waits_for_what_is_not_there_is_parked(world: World) -> None:
    nobody = registry.ModelRegistered(model="nobody", version=1)
    await publish(world, event(REGISTRY.name, "model.registered", "model/nobody", nobody))
    finding = await finds(world, "governance", "1 events are parked since ")
    assert "NotFound: " in finding.what
    assert "nobody" in finding.what
    assert "tried again by themselves" in finding.fix
