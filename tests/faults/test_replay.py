"""A bad release of each service is stopped by the limit; a good one and `golden deadletters replay` handle it all.

Each aggregate has two events. The bad release makes a dead letter of the first, behind which the second waits; after
the replay both have had their effect, once, in their order. On others' topics, which registry and pusher hear,
nothing waits behind a dead letter, and no order is promised.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.deployer.v1 import events_pb2 as deployer
from goldenpath.governance.v1 import events_pb2 as governance
from goldenpath.ingest.v1 import events_pb2 as ingest
from services.chassis.testing import eventually
from services.chassis.topics import DEPLOYER, FEATURES, GOVERNANCE, INGEST, RECORDS
from tests.faults.bad_release import REASON
from tests.faults.operating import PATIENCE, finds, golden
from tests.faults.poison import Record
from tests.faults.publishing import event, project, publish, rows_of
from tests.faults.rows import VIEW
from tests.faults.serving import a_batch, another
from tests.faults.world import HANDLES_NOTHING, PUSHER, READS_NOTHING, Replica, World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers, pytest.mark.timeout(600)]
DIE: Final = 20  # the dead-letter limit's floor
AGGREGATES: Final = 25
NOON: Final = Timestamp(seconds=1_772_366_400)
Told = tuple[str, int]  # an aggregate, and which of its events


@dataclass(frozen=True)
class Consumption:
    """What one service hears, and what comes of it.

    Args:
        service: The service.
        topic: The topic.
        made: An aggregate's event of a number, 1 or 2.
        effects: A query for the aggregates that begin with $1, and the numbers of their events, as they took effect.
    """

    service: str
    topic: str
    made: Callable[[str, int], Record]
    effects: str


def told(name: str, number: int) -> Record:
    """One publisher tells of all of them: a release is judged only by publishers that it has read before."""
    return project(f"{name}-", number, owner=name, publisher=name.rpartition("-")[0])


def computed(name: str, number: int) -> Record:
    """A row of a customer; one publisher sends all of them."""
    row = ingest.FeatureRow(keys={"customer": name}, event_time=NOON, numbers={"count_7d": number})
    body = ingest.FeaturesComputed(view=VIEW, rows=[row])
    return event(FEATURES.name, "features.computed", f"features/{VIEW}", body, source=name.rpartition("-")[0])


def approved(name: str, number: int) -> Record:
    body = governance.ModelApproved(verdict=governance.Verdict(model=name, version=number))
    return event(
        GOVERNANCE.name, "model.approved", f"model/{name}", body, source="goldenpath/governance", sequence=number
    )


def moved(name: str, number: int) -> Record:
    """A version became the candidate, and then the next one."""
    position = deployer.Position(
        model=name, environment="production", epoch=number, candidate_version=number, candidate_weight=number
    )
    body = deployer.DeploymentStarted(position=position, effective_at=NOON)
    return event(
        DEPLOYER.name, "deployment.started", f"model/{name}", body, source="goldenpath/deployer", sequence=number
    )


HEARD: Final = [
    Consumption(
        "registry",
        INGEST.name,
        told,
        "SELECT owner, substring(name from '[0-9]+$')::integer FROM projects WHERE owner ^@ $1 ORDER BY 1, 2",
    ),
    Consumption(
        "governance",
        DEPLOYER.name,
        moved,
        "SELECT model, epoch::integer FROM moments WHERE model ^@ $1 ORDER BY model, xmin::text::bigint, ctid",
    ),
    Consumption(
        "deployer",
        GOVERNANCE.name,
        approved,
        "SELECT model, version FROM rollouts WHERE model ^@ $1 ORDER BY model, number",
    ),
    Consumption(
        "monitor",
        DEPLOYER.name,
        moved,
        "SELECT model, version FROM watches WHERE model ^@ $1 ORDER BY model, id",
    ),
    Consumption(
        PUSHER,
        FEATURES.name,
        computed,
        f"SELECT customer, count_7d::integer FROM {VIEW}_history WHERE customer ^@ $1 ORDER BY 1, 2",
    ),
]


@pytest.mark.parametrize("release", [READS_NOTHING, HANDLES_NOTHING], ids=lambda release: str(release[1]))
@pytest.mark.parametrize("heard", HEARD, ids=lambda heard: str(heard.service))
async def test_what_a_bad_release_could_not_handle_has_its_effect_once_and_in_order_after_a_good_one_and_a_replay(
    world: World, heard: Consumption, release: tuple[str, str]
) -> None:
    replica, name = Replica(heard.service, 1), f"{release[1]}-{heard.service}"
    first, second = ([f"{name}-{letter}{number}" for number in range(AGGREGATES)] for letter in "ab")

    async def have_had_theirs(aggregates: list[str], prefix: str) -> bool:
        rows = await rows_of(world, heard.service, heard.effects, prefix)
        return rows == sorted((one, number) for one in aggregates for number in (1, 2))

    await publish(world, *(heard.made(one, number) for number in (1, 2) for one in first))
    await eventually(
        lambda: have_had_theirs(first, f"{name}-a"), within=PATIENCE, what="a good release reads these publishers"
    )
    await world.stop_replicas([replica])
    world.launch(replica, release)
    await publish(world, *(heard.made(one, number) for number in (1, 2) for one in second))
    stopped = await finds(
        world, heard.service, f"stopped itself: {DIE} of the last {DIE} events on {heard.topic} became"
    )
    assert "restart the service" in stopped.fix
    listed = await finds(world, heard.service, f"{DIE} dead letters; the oldest: Invalid: {REASON}")
    assert listed.fix.startswith(f"golden deadletters show {heard.service}/")

    await world.stop_replicas([replica])
    world.launch(replica)
    await world.wait_ready([replica])
    letters = json.loads(await golden(world, "deadletters", "list", "--json"))
    mended = [one["id"] for one in letters if one["service"] == heard.service]
    await golden(world, "deadletters", "replay", *mended, "--reason", "a good release runs again")
    await eventually(
        lambda: have_had_theirs(second, f"{name}-b"), within=PATIENCE, what="every effect, once and in order"
    )
    assert len(mended) == DIE
    assert json.loads(await golden(world, "deadletters", "list", "--json")) == []


async def test_records_that_a_bad_release_could_not_read_are_counted_once_after_a_good_one_and_a_replay(
    world: World, served: str
) -> None:
    replica, batch = Replica("monitor", 1), await a_batch(world, served)

    async def counted(records: int) -> bool:
        return await rows_of(world, "monitor", "SELECT sum(rows_seen) FROM watches WHERE model = $1", served) == [
            (records,)
        ]

    await eventually(lambda: counted(1), within=PATIENCE, what="the record before")
    await world.stop_replicas([replica])
    world.launch(replica, READS_NOTHING)
    await publish(world, *(another(batch) for _ in range(AGGREGATES)))
    stopped = await finds(world, "monitor", f"events on {RECORDS.name} became dead letters")
    assert "restart the service" in stopped.fix

    await world.stop_replicas([replica])
    world.launch(replica)
    await world.wait_ready([replica])
    letters = [one["id"] for one in json.loads(await golden(world, "deadletters", "list", "--json"))]
    await golden(world, "deadletters", "replay", *letters, "--reason", "a good release runs again")
    await eventually(lambda: counted(1 + AGGREGATES), within=PATIENCE, what="every record, once")
    assert DIE <= len(letters) <= AGGREGATES
    assert json.loads(await golden(world, "deadletters", "list", "--json")) == []
