"""Poison of every kind on every topic: each has its place among the dead letters, and nothing else is disturbed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from golden.checkup import examine
from golden.embedded.services import SERVICES
from golden.operations import ask
from goldenpath.deployer.v1 import events_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from goldenpath.ingest.v1 import events_pb2 as ingest
from goldenpath.monitor.v1 import events_pb2 as monitor
from goldenpath.registry.v1 import events_pb2 as registry
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.testing import eventually
from services.chassis.topics import DEPLOYER, GOVERNANCE, INGEST, MONITOR, OUTCOMES, RECORDS, REGISTRY, Topic
from tests.faults import poison
from tests.faults.adversary import HEARD
from tests.faults.bus import Bus, Place
from tests.faults.world import World

PATIENCE: Final = timedelta(seconds=60)
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEARS: Final = HEARD | {"monitor": (*HEARD["monitor"], RECORDS.name)}
RECORD: Final = "0195c2f0-0000-7000-8000-000000000000"
PLACE: Final = deployer.Position(model="good", environment="production", epoch=1)
SINCE: Final = Timestamp(seconds=int(NOON.timestamp()))
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers, pytest.mark.timeout(300)]


async def hears(world: World, topic: Topic, type_name: str, body: Message) -> None:
    """What is good on a topic is handled by everybody who handles its type, or passed over."""
    event = event_of(body, type=type_name, source="good", subject="model/good", time=NOON)
    before = await handled(world, type_name)
    await Bus(world.kafka.bootstrap).write([(topic.name, b"model/good", headers_of(event), event.data)])

    async def after() -> bool:
        return bool(await handled(world, type_name) > before)

    await eventually(after, within=PATIENCE, what=f"{type_name} on {topic.name}")


async def handled(world: World, type_name: str) -> float:
    """How many events of a type were handled, by all services together."""
    said = await asyncio.gather(*(metrics(world, service) for service in SERVICES))
    counted = (line for lines in said for line in lines if line.startswith("goldenpath_consumed_events_total"))
    return sum(float(line.split()[-1]) for line in counted if f'"{type_name}"' in line and '"handled"' in line)


async def metrics(world: World, service: str) -> list[str]:
    async with httpx.AsyncClient() as web:
        answer = await web.get(f"{world.as_('otto').endpoints.http[service]}/metrics")
    return answer.text.splitlines()


async def letters(world: World, service: str) -> dict[Place, int]:
    """A service's dead letters: where each stood, and its number."""
    page = await otto(world, service, "GET", "/v1/deadletters?page_size=1000")
    return {(one["topic"], one["partition"], one["offset"]): one["id"] for one in page["letters"]}


async def otto(world: World, service: str, method: str, path: str, body: dict[str, str] | None = None) -> Any:
    """What an operator is answered."""
    return await asyncio.to_thread(ask, world.as_("otto", "operator"), service, method, path, body)


async def put_aside(world: World, service: str, places: set[Place]) -> dict[Place, int]:
    """A service's dead letters, once these places are among them."""

    async def there() -> dict[Place, int]:
        found = await letters(world, service)
        return found if places <= found.keys() else {}

    found: dict[Place, int] = await eventually(there, within=PATIENCE, what=f"the dead letters of {service}")
    return found


async def unreadable(bus: Bus, places: list[Place]) -> set[Place]:
    """Those of these places whose event nobody can read, whatever its type."""
    await bus.read()
    stood = {one.place: one for one in bus.records}
    return {place for place in places if stood[place].event is None}


async def are_shown(world: World, service: str, found: dict[Place, int]) -> None:
    """An operator sees of each where it stood, and why."""
    for place, number in found.items():
        shown = await otto(world, service, "GET", f"/v1/deadletters/{number}")
        assert (shown["topic"], shown["partition"], shown["offset"]) == place
        assert shown["error"] == "Invalid"
        assert shown["what"]


async def are_dropped(world: World, services: Iterable[str]) -> None:
    """An operator gives up what is dead, and what dies then that waited behind it, until the doctor finds nothing."""

    async def well() -> bool:
        for service in services:
            for number in (await letters(world, service)).values():
                await otto(world, service, "POST", f"/v1/deadletters/{number}/drop", {"reason": "poison"})
        return not await asyncio.to_thread(examine, world.as_("otto", "operator"))

    await eventually(well, within=PATIENCE, what="nothing wrong")


async def are_read_to_their_ends(world: World, services: Iterable[str]) -> bool:
    """Whether nothing that consumers hear waits for them."""
    bus = Bus(world.kafka.bootstrap)
    committed, ends = await bus.committed({service: HEARD[service] for service in services}), await bus.ends()
    return all(offset >= ends[place] for (_, place), offset in committed.items())


@pytest.mark.parametrize(
    ("topic", "type_name", "good"),
    [
        pytest.param(INGEST, "project.started", ingest.ProjectStarted(model="good", started_at=SINCE), id="ingest"),
        pytest.param(REGISTRY, "dataset.registered", registry.DatasetRegistered(name="good", version=1), id="registry"),
        pytest.param(GOVERNANCE, "approval.revoked", governance.ApprovalRevoked(model="good"), id="governance"),
        pytest.param(
            DEPLOYER,
            "deployment.retired",
            deployer.DeploymentRetired(position=PLACE, effective_at=SINCE),
            id="deployer",
        ),
        pytest.param(MONITOR, "drift.cleared", monitor.DriftCleared(model="good", signal_id="1"), id="monitor"),
        pytest.param(
            OUTCOMES,
            "outcome.recorded",
            ingest.OutcomeRecorded(model="good", record_id=RECORD, label="1"),
            id="outcomes",
        ),
        # Of records nothing good is sent: the stream would ask for a profile. Its letters, and its end, are looked at.
        pytest.param(RECORDS, "project.started", ingest.ProjectStarted(model="good", started_at=SINCE), id="records"),
    ],
)
async def test_poison_is_put_aside_by_everybody_who_hears_it_and_they_go_on(
    world: World, topic: Topic, type_name: str, good: Message
) -> None:
    bus = Bus(world.kafka.bootstrap)
    places = await bus.write(poison.of_every_kind(topic, random.Random(topic.name)))
    places.append(await bus.write_undecodable(topic.name))
    bad = await unreadable(bus, places)
    services = [service for service in SERVICES if topic.name in HEARS[service]]
    for service in services:
        found = await put_aside(world, service, bad)
        assert found.keys() <= set(places)
        await are_shown(world, service, found)
    await hears(world, replace(topic, name=INGEST.name) if topic is RECORDS else topic, type_name, good)
    await are_dropped(world, SERVICES)

    assert len(bad) >= 9
    assert await are_read_to_their_ends(world, services)


async def test_an_operator_lists_shows_replays_and_drops_them_by_name(world: World) -> None:
    bus = Bus(world.kafka.bootstrap)
    garbage = (INGEST.name, b"model/garbage", [("ce_id", b"\xff")], b"\x00\xff")
    (place,) = await bus.write([garbage])
    await put_aside(world, "registry", {place})
    (listed,) = json.loads(await golden(world, "deadletters", "list", "--json"))
    shown = json.loads(await golden(world, "deadletters", "show", listed["id"]))
    replayed = await golden(world, "deadletters", "replay", listed["id"], "--reason", "perhaps it is mended")
    await put_aside(world, "registry", {place})
    dropped = await golden(world, "deadletters", "drop", listed["id"], "--reason", "it is garbage")

    assert (listed["topic"], listed["error"]) == (INGEST.name, "Invalid")
    assert (shown["what"], shown["body_base64"]) == (listed["what"], "AP8=")
    assert replayed.strip() == f"{listed['id']} is tried again."
    assert dropped.strip() == f"{listed['id']} is given up; its topic keeps it."
    assert await letters(world, "registry") == {}


async def golden(world: World, *words: str) -> str:
    """What `golden` says to an operator."""
    there = world.as_("otto", "operator")
    told = {f"GOLDEN_{name.upper()}": there.endpoints.grpc[name] for name in SERVICES}
    told |= {f"GOLDEN_{name.upper()}_HTTP": there.endpoints.http[name] for name in SERVICES}
    command = [sys.executable, "-m", "golden", *words]
    environment = os.environ | told | {"GOLDEN_TOKEN": there.token(), "COLUMNS": "200"}
    # In a thread: the links between services and what they depend on are here.
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
