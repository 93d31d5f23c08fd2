"""Poison of every kind on every topic: each has its place among the dead letters, and nothing else is disturbed."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

import services as suite
from golden.checkup import examine
from goldenpath.deployer.v1 import events_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from goldenpath.ingest.v1 import events_pb2 as ingest
from goldenpath.monitor.v1 import events_pb2 as monitor
from goldenpath.registry.v1 import events_pb2 as registry
from services.chassis.testing import eventually
from services.chassis.topics import DEPLOYER, FEATURES, GOVERNANCE, INGEST, MONITOR, OUTCOMES, RECORDS, REGISTRY, Topic
from tests.faults import poison
from tests.faults.adversary import HEARD
from tests.faults.bus import Bus, Place
from tests.faults.operating import golden, otto
from tests.faults.poison import Record
from tests.faults.publishing import event
from tests.faults.rows import VIEW
from tests.faults.serving import a_batch
from tests.faults.world import PROCESSES, PUSHER, World

PATIENCE: Final = timedelta(seconds=60)
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEARS: Final = HEARD | {"monitor": (*HEARD["monitor"], RECORDS.name)}
RECORD: Final = "0195c2f0-0000-7000-8000-000000000000"
PLACE: Final = deployer.Position(model="good", environment="production", epoch=1)
SINCE: Final = Timestamp(seconds=int(NOON.timestamp()))
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers, pytest.mark.timeout(300)]


async def is_handled(world: World, topic: Topic, good: Sequence[Record], services: Sequence[str], *words: str) -> None:
    """What is good behind the poison, one at the end of each partition, is handled by each service that handles it."""
    before = [await counted(world, service, *words) for service in services]
    await Bus(world.kafka.bootstrap).write_behind_all(good)

    async def after() -> bool:
        now = [await counted(world, service, *words) for service in services]
        return now == [count + topic.partitions for count in before]

    await eventually(after, within=PATIENCE, what=f"what is good on {topic.name}, in {', '.join(services)}")


async def counted(world: World, service: str, *words: str) -> float:
    """What a service's metrics of these words come to."""
    async with httpx.AsyncClient() as web:
        answer = await web.get(f"{world.as_('otto').endpoints.http[service]}/metrics")
    lines = (line for line in answer.text.splitlines() if not line.startswith("#"))
    return sum(float(line.split()[-1]) for line in lines if all(word in line for word in words))


async def letters(world: World, service: str) -> dict[Place, int]:
    """A service's dead letters: where each stood, and its number."""
    page = await otto(world, service, "GET", "/v1/deadletters?page_size=1000")
    return {(one["topic"], one["partition"], one["offset"]): one["id"] for one in page["letters"]}


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


def handled_by(service: str) -> set[str]:
    """The types of events for which a service has a handler, as its consumer says it."""
    source = (Path(suite.__file__).parent / service / "consumers.py").read_text()
    streamed = {"monitor": RECORDS.types}.get(service, ())
    return {*re.findall(r'consumer\.on\("([a-z_.]+)"', source), *(kind.name for kind in streamed)}


async def is_put_aside_and_given_up(world: World, topic: Topic, behind: Callable[[], Awaitable[None]]) -> None:
    """Poison of every kind dies in everybody who hears the topic; what is behind it goes on before it is given up."""
    bus = Bus(world.kafka.bootstrap)
    places = await bus.write(poison.of_every_kind(topic, random.Random(topic.name)))
    places.append(await bus.write_undecodable(topic.name))
    bodies = dict(zip(topic.types, await bus.write(poison.of_each_type(topic, random.Random())), strict=True))
    bad = await unreadable(bus, places)
    services = [service for service in PROCESSES if topic.name in HEARS[service]]
    for service in services:
        handled = {place for kind, place in bodies.items() if kind.name in handled_by(service)}
        found = await put_aside(world, service, bad | handled)
        assert found.keys() <= {*places, *handled}
        assert handled
        await are_shown(world, service, found)
    await behind()
    await are_dropped(world, PROCESSES)

    assert len(bad) >= 9
    assert await are_read_to_their_ends(world, services)


@pytest.mark.parametrize(
    ("topic", "type_name", "good", "services"),
    [
        pytest.param(
            INGEST,
            "project.started",
            ingest.ProjectStarted(model="good", started_at=SINCE),
            ["registry"],
            id="ingest",
        ),
        pytest.param(
            REGISTRY,
            "dataset.registered",
            registry.DatasetRegistered(name="good", version=1),
            ["governance"],
            id="registry",
        ),
        pytest.param(
            GOVERNANCE, "approval.revoked", governance.ApprovalRevoked(model="good"), ["deployer"], id="governance"
        ),
        pytest.param(
            DEPLOYER,
            "deployment.retired",
            deployer.DeploymentRetired(position=PLACE, effective_at=SINCE),
            ["registry", "governance", "monitor"],
            id="deployer",
        ),
        pytest.param(
            MONITOR, "drift.cleared", monitor.DriftCleared(model="good", signal_id="1"), ["deployer"], id="monitor"
        ),
        pytest.param(
            OUTCOMES,
            "outcome.recorded",
            ingest.OutcomeRecorded(model="good", record_id=RECORD, label="1"),
            ["monitor"],
            id="outcomes",
        ),
        pytest.param(
            FEATURES,
            "features.computed",
            ingest.FeaturesComputed(view=VIEW, rows=[ingest.FeatureRow(keys={"customer": "good"}, event_time=SINCE)]),
            [PUSHER],
            id="features",
        ),
    ],
)
async def test_poison_is_put_aside_by_everybody_who_hears_it_and_what_is_behind_it_is_handled(
    world: World, topic: Topic, type_name: str, good: Message, services: list[str]
) -> None:
    behind = [event(topic.name, type_name, "model/good", good, source="good") for _ in range(topic.partitions)]
    words = ("goldenpath_consumed_events_total", f'"{type_name}"', '"handled"')
    await is_put_aside_and_given_up(world, topic, lambda: is_handled(world, topic, behind, services, *words))


async def test_poison_among_records_is_put_aside_and_the_batches_behind_it_are_read(world: World, served: str) -> None:
    behind = [await a_batch(world, served)] * RECORDS.partitions
    words = ("goldenpath_monitor_batches_total", '"read"')
    await eventually(lambda: counted(world, "monitor", *words), within=PATIENCE, what="the batch that was copied")
    await is_put_aside_and_given_up(world, RECORDS, lambda: is_handled(world, RECORDS, behind, ["monitor"], *words))


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
