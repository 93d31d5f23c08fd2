"""Servers and jobs that die: the warm version or a second server answers, and what was begun is finished."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from services.chassis.testing import eventually
from services.deployer.handlers import rollouts
from services.deployer.runtimes import Endpoint
from tests.deployer.conftest import PLACE, Deployer
from tests.deployer.fakes import digest_of


async def test_a_crash_of_the_stable_is_no_outage_while_the_warm_version_stands_behind_it(deployer: Deployer) -> None:
    await deployer.deployed(1, 2)
    await deployer.has_servers(1, 2)
    await deployer.runtime.die(2)
    assert set(await deployer.requests(100)) == {200}
    await deployer.has_servers(1, 2)


async def test_a_crash_of_a_first_version_is_no_outage(deployer: Deployer) -> None:
    await deployer.deployed(1)
    await deployer.has_servers(1, 1)
    await deployer.runtime.die(1)
    assert set(await deployer.requests(100)) == {200}
    await deployer.has_servers(1, 1)


async def test_a_crash_of_a_version_that_came_back_is_no_outage(deployer: Deployer) -> None:
    deployer.registry.policy = replace(deployer.registry.policy, back_without_answer=True)
    state = await deployer.deployed(1, 2)
    await deployer.signal(2, state.position.epoch)
    await deployer.serves(1)
    await deployer.has_servers(1, 1)  # and none of the version that was left for cause
    await deployer.runtime.die(1)
    assert set(await deployer.requests(100)) == {200}
    await deployer.has_servers(1, 1)


async def test_a_warm_version_that_no_longer_starts_is_given_up_and_the_stable_gets_a_second_server(
    deployer: Deployer,
) -> None:
    await deployer.deployed(1, 2)
    await deployer.has_servers(1, 2)
    deployer.runtime.broken.add(1)
    await deployer.runtime.die(1)
    await deployer.has_servers(2, 2)
    state = await deployer.state()
    assert state.warm_version == 0
    await deployer.signal(2, state.position.epoch)

    async def held() -> bool:
        return (await deployer.state()).held

    await eventually(held)
    assert "no earlier version" in (await deployer.state()).held_reason


async def test_a_version_that_comes_again_while_its_old_server_ends_gets_a_new_one(deployer: Deployer) -> None:
    deployer.registry.policy = replace(deployer.registry.policy, back_without_answer=True)
    state = await deployer.deployed(1, 2)
    old = deployer.runtime.servers_of(2)[0]
    old.delay = 1.0  # a request under way keeps it from ending
    slow = asyncio.ensure_future(deployer.requests(1))
    await deployer.signal(2, state.position.epoch)
    await deployer.serves(1)
    async with deployer.database.begin() as uow:
        await rollouts.admit_version(PLACE, 2, uow, commanded=True)
    await deployer.serves(2)
    assert await slow == [200]
    await deployer.has_servers(1, 2)
    assert old not in deployer.runtime.servers_of(2)


async def test_a_server_whose_start_was_interrupted_and_that_nobody_needs_is_ended(deployer: Deployer) -> None:
    await deployer.deployed(1)
    left = Endpoint(uuid4(), PLACE, 7, digest_of(7), deployer.runtime.free_address())
    await asyncio.to_thread(deployer.runtime.start, left)
    async with deployer.database.begin() as uow:
        await uow.endpoints.add(left)
    await deployer.has_servers(1, 1)
    assert deployer.runtime.servers_of(7) == []


@pytest.mark.parametrize("round_trips", [0, 4, 16])
async def test_a_rollout_finishes_after_its_jobs_were_killed(deployer: Deployer, round_trips: int) -> None:
    await deployer.deployed(1)
    await deployer.approve(2)
    await deployer.requests(round_trips)
    await deployer.restart()
    await deployer.serves(2)
    assert await deployer.history() == ["started", "promoted", "started", "promoted"]
