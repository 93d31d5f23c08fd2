"""Rollouts from the approval to the end, with shadow steps among them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from goldenpath.deployer.v1 import deployer_service_pb2 as service_pb2
from services.chassis.errors import Unavailable
from services.chassis.testing import eventually
from services.deployer.domain.shadow import Disagreement
from services.deployer.handlers import going_back, rollouts
from tests.deployer.conftest import PLACE, Deployer


async def test_a_first_version_takes_all_the_traffic(deployer: Deployer) -> None:
    await deployer.approve(1)
    state = await deployer.serves(1)
    assert (await deployer.client.post("/v2/models/credit/infer", json={})).json()["name"] == "1"
    assert await deployer.history() == ["started", "promoted"]
    assert state.position.epoch == 2


async def test_a_second_version_goes_through_its_steps_and_the_first_stays_warm(deployer: Deployer) -> None:
    state = await deployer.deployed(1, 2)
    assert state.warm_version == 1
    assert await deployer.history() == ["started", "promoted", "started", "promoted"]
    assert "failures 0" in state.rollout.judgement
    await deployer.has_servers(1, 2)


async def test_a_third_version_ends_the_first_ones_server(deployer: Deployer) -> None:
    await deployer.deployed(1, 2, 3)
    await deployer.has_servers(2, 3)


async def test_a_version_that_fails_requests_is_aborted_and_the_stable_stays(deployer: Deployer) -> None:
    await deployer.deployed(1)
    await deployer.approve(2)

    async def has_traffic() -> bool:
        return (await deployer.state()).position.candidate_weight == 20

    await deployer.meanwhile(has_traffic)
    deployer.runtime.servers_of(2)[0].status = 500
    await deployer.serves(1)
    assert (await deployer.history())[-1] == "rolled_back"
    assert "failures" in (await deployer.state()).rollout.judgement


async def test_a_version_whose_server_does_not_start_fails_with_its_own_words(deployer: Deployer) -> None:
    deployer.runtime.broken.add(1)
    await deployer.approve(1)

    async def failed() -> bool:
        return await deployer.history() == ["failed"]

    await eventually(failed)
    assert "version 1 is broken" in (await deployer.state()).rollout.judgement


async def test_nothing_advances_while_governance_is_silent(deployer: Deployer) -> None:
    await deployer.deployed(1)
    await deployer.approve(2)

    async def has_traffic() -> bool:
        return (await deployer.state()).position.candidate_weight == 20

    await deployer.meanwhile(has_traffic)
    deployer.governance.error = Unavailable("down")
    deployer.governance.asked.clear()

    async def was_asked() -> bool:
        return len(deployer.governance.asked) > 2

    await deployer.meanwhile(was_asked)
    assert (await deployer.state()).position.candidate_weight == 20
    deployer.governance.error = None
    await deployer.serves(2)


async def test_a_verdict_that_is_revoked_mid_rollout_ends_it(deployer: Deployer) -> None:
    await deployer.deployed(1)
    await deployer.approve(2)

    async def has_traffic() -> bool:
        return (await deployer.state()).position.candidate_weight == 20

    await deployer.meanwhile(has_traffic)
    deployer.governance.refused.add(2)
    async with deployer.database.begin() as uow:
        await going_back.revoke_version(PLACE, 2, "found a leak", uow)
    await deployer.serves(1)
    assert (await deployer.history())[-1] == "rolled_back"


async def test_a_version_that_governance_refuses_never_starts(deployer: Deployer) -> None:
    deployer.governance.refused.add(1)
    await deployer.approve(1)

    async def failed() -> bool:
        return await deployer.history() == ["failed"]

    await eventually(failed)
    assert deployer.runtime.backends == {}


async def test_an_older_version_is_not_deployed_because_it_was_approved_again(deployer: Deployer) -> None:
    await deployer.deployed(1, 2)
    await deployer.approve(1)
    await deployer.approve(2)
    async with deployer.database.begin() as uow:
        assert await uow.rollouts.open(PLACE) == []


async def test_of_several_that_wait_only_the_newest_goes_on(deployer: Deployer) -> None:
    await deployer.deployed(1)
    async with deployer.database.begin() as uow:
        await rollouts.admit_version(PLACE, 2, uow)
        await rollouts.admit_version(PLACE, 3, uow)
    await deployer.serves(3)
    assert deployer.runtime.servers_of(2) == []


async def test_a_step_without_an_answer_in_time_is_held_and_a_person_is_asked(deployer: Deployer) -> None:
    await deployer.deployed(1)
    deployer.registry.policy = replace(deployer.registry.policy, maximum_step=timedelta(milliseconds=300))
    await deployer.approve(2)

    async def held() -> bool:
        return (await deployer.state()).held

    await eventually(held)
    assert "can't be judged" in (await deployer.state()).held_reason


async def mirrored(deployer: Deployer) -> None:
    """Version 2 gets a copy of version 1's traffic."""
    await deployer.deployed(1)
    deployer.registry.policy = replace(deployer.registry.policy, shadow=True, minimum_pairs=50)
    await deployer.approve(2)

    async def copied() -> bool:
        return (await deployer.state()).rollout.state == service_pb2.ROLLOUT_STATE_SHADOW and bool(
            deployer.monitor.asked
        )

    await deployer.meanwhile(copied)


async def test_a_mirrored_candidate_that_answers_as_the_stable_does_gets_traffic(deployer: Deployer) -> None:
    await mirrored(deployer)
    state = await deployer.state()
    assert (state.position.candidate_version, state.position.candidate_weight) == (2, 0)
    assert deployer.monitor.asked[-1].epoch == state.position.epoch
    deployer.monitor.answers = Disagreement(400, 4)
    await deployer.serves(2)
    assert await deployer.history() == ["started", "promoted", "started", "advanced", "promoted"]
    sentences = await deployer.sentences()
    assert sentences[2] == "version 2 began with a copy of the traffic"
    assert "4 of 400 answers differ" in sentences[3]
    arms = [headers["x-goldenpath-arm"] for headers in deployer.runtime.servers_of(2)[0].seen]
    assert arms[0] == "shadow"


async def test_a_mirrored_candidate_that_answers_otherwise_is_taken_back(deployer: Deployer) -> None:
    await mirrored(deployer)
    deployer.monitor.answers = Disagreement(400, 80)
    await deployer.serves(1)
    assert (await deployer.history())[-1] == "rolled_back"
    assert "80 of 400 answers differ" in (await deployer.state()).rollout.judgement


async def test_a_mirrored_candidate_that_fails_its_copies_is_taken_back_and_nobody_saw_it(deployer: Deployer) -> None:
    await mirrored(deployer)
    deployer.runtime.servers_of(2)[0].status = 500
    statuses: list[int] = []

    async def taken_back() -> bool:
        statuses.extend(await deployer.requests(20))
        return (await deployer.history())[-1] == "rolled_back"

    await eventually(taken_back)
    assert set(statuses) == {200}
    assert "failures" in (await deployer.state()).rollout.judgement


async def test_a_shadow_step_without_an_answer_of_the_monitor_stays_and_is_held_in_the_end(deployer: Deployer) -> None:
    deployer.registry.policy = replace(deployer.registry.policy, maximum_step=timedelta(seconds=3))
    await mirrored(deployer)

    async def held() -> bool:
        return (await deployer.state()).held

    await deployer.meanwhile(held)
    assert "the monitor gives no answer" in (await deployer.state()).held_reason
    assert (await deployer.history())[-1] == "held"
