"""After a promotion: some units stay with the version before, and the two are compared for as long as it serves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from goldenpath.deployer.v1 import deployer_service_pb2 as service_pb2
from goldenpath.deployer.v1 import events_pb2
from services.chassis.testing import eventually
from services.deployer.handlers import holds
from tests.deployer.conftest import PLACE, Deployer


@pytest.fixture
async def held_back(deployer: Deployer) -> service_pb2.Deployment:
    """Version 2 serves, and five percent of the units stay with version 1."""
    deployer.registry.policy = replace(deployer.registry.policy, holdback=5, minimum_sample=40)
    state = await deployer.deployed(1, 2)
    await deployer.has_servers(1, 2)  # the second one that version 1 had has ended
    return state


async def test_a_share_of_the_units_stays_with_the_version_before(
    deployer: Deployer, held_back: service_pb2.Deployment
) -> None:
    at = held_back.position
    assert (at.stable_version, at.holdback_version, at.holdback_weight) == (2, 1, 5)
    stayed = deployer.runtime.servers_of(1)[0].seen

    async def stamped() -> bool:
        return stayed[-1]["x-goldenpath-arm"] == "holdback"

    await deployer.meanwhile(stamped)
    assert (stayed[-1]["x-goldenpath-probability"], stayed[-1]["x-goldenpath-epoch"]) == ("0.05", str(at.epoch))


@pytest.mark.usefixtures("held_back")
async def test_a_stable_that_fails_more_than_its_holdback_is_taken_back_by_itself(deployer: Deployer) -> None:
    deployer.runtime.servers_of(2)[0].status = 500
    state = await deployer.serves(1)
    assert state.position.holdback_weight == 0
    assert (await deployer.history())[-2:] == ["rollback_decided", "rolled_back"]
    decision = await deployer.newest_decision()
    assert (decision.verb, decision.target_version, decision.signal_id, decision.actor) == (
        events_pb2.VERB_ROLL_BACK,
        1,
        "",
        "",
    )
    assert "stayed behind: failures" in decision.reason


async def test_a_stable_without_anywhere_to_go_back_to_is_held(
    deployer: Deployer, held_back: service_pb2.Deployment
) -> None:
    async with deployer.database.begin() as uow:
        await uow.versions.revoke(PLACE, 1)
    deployer.runtime.servers_of(2)[0].status = 500

    async def held() -> bool:
        return (await deployer.state()).held

    await deployer.meanwhile(held)
    assert (await deployer.state()).position.stable_version == held_back.position.stable_version
    assert (await deployer.newest_decision()).verb == events_pb2.VERB_HOLD


async def test_while_a_person_holds_the_deployment_the_guard_changes_nothing(
    deployer: Deployer, held_back: service_pb2.Deployment
) -> None:
    async with deployer.database.begin() as uow:
        await holds.hold(PLACE, "audit", uow)
    deployer.runtime.servers_of(2)[0].status = 500
    await deployer.requests(400)
    async with deployer.database.begin() as uow:
        assert await uow.deployments.get(PLACE) == (await uow.deployments.get(PLACE)).held("audit")
        await holds.release(PLACE, "done", uow)
    state = await deployer.serves(1)
    assert state.position.epoch > held_back.position.epoch


async def test_a_holdback_whose_server_no_longer_starts_ends_and_that_is_told(
    deployer: Deployer, held_back: service_pb2.Deployment
) -> None:
    deployer.runtime.broken.add(1)
    await deployer.runtime.die(1)
    assert set(await deployer.requests(60)) == {200}  # the stable stands behind it

    async def told() -> bool:
        return (await deployer.history())[-1] == "advanced"

    await eventually(told)
    at = (await deployer.state()).position
    assert (at.epoch, at.holdback_version, at.holdback_weight) == (held_back.position.epoch, 0, 0)
    assert "5 % of the units that stayed with version 1 left it" in (await deployer.sentences())[-1]


async def test_without_a_holdback_the_version_before_answers_nobody(deployer: Deployer) -> None:
    state = await deployer.deployed(1, 2)
    seen = len(deployer.runtime.servers_of(1)[0].seen)
    await deployer.requests(100)
    assert len(deployer.runtime.servers_of(1)[0].seen) == seen
    assert state.position.holdback_version == 0
