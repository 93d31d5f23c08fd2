"""Signals and going back: only where it helps, once per promotion, and while every sibling is down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from goldenpath.deployer.v1 import events_pb2
from services.chassis.errors import Unavailable
from services.chassis.testing import eventually
from tests.deployer.conftest import Deployer
from tests.deployer.fakes import sample_of


async def test_a_signal_about_the_stable_goes_back_when_that_helps(deployer: Deployer) -> None:
    state = await deployer.deployed(1, 2)
    x = np.linspace(0, 1, 400)
    deployer.monitor.given = sample_of(current=(1 - x).tolist(), outcomes=(x > 0.5).astype(float).tolist())
    await deployer.signal(2, state.position.epoch)
    state = await deployer.serves(1)
    decision = await deployer.decision()
    assert decision.verb == events_pb2.VERB_ROLL_BACK
    assert decision.comparison.current_loss > decision.comparison.target_loss
    assert decision.comparison.rows == 400
    assert (await deployer.history())[-2:] == ["rollback_decided", "rolled_back"]

    async def effective() -> bool:
        return (await deployer.decision()).HasField("effective_at")

    await eventually(effective)
    decided = await deployer.decision()
    took = decided.effective_at.ToDatetime() - decided.decided_at.ToDatetime()
    assert timedelta() < took


async def test_a_signal_holds_when_going_back_is_worse_and_clearing_it_releases(deployer: Deployer) -> None:
    state = await deployer.deployed(1, 2)
    for server in deployer.runtime.servers_of(1):
        server.score = lambda value: 1 - value
    x = np.linspace(0, 1, 400)
    deployer.monitor.given = sample_of(current=x.tolist(), outcomes=(x > 0.5).astype(float).tolist())
    await deployer.signal(2, state.position.epoch)

    async def held() -> bool:
        return (await deployer.state()).held

    await eventually(held)
    assert (await deployer.decision()).verb == events_pb2.VERB_HOLD
    assert (await deployer.state()).held_for_signal == "signal"
    await deployer.signal(2, state.position.epoch, cleared=True)
    assert not (await deployer.state()).held
    assert (await deployer.history())[-2:] == ["held", "released"]


async def test_going_back_works_while_every_sibling_is_down(deployer: Deployer) -> None:
    deployer.registry.policy = replace(deployer.registry.policy, back_without_answer=True)
    state = await deployer.deployed(1, 2)
    deployer.governance.error = Unavailable("down")
    deployer.registry.error = Unavailable("down")
    deployer.monitor.hangs = True
    await deployer.signal(2, state.position.epoch)
    await deployer.serves(1)


async def test_a_late_signal_cannot_take_back_a_newer_version(deployer: Deployer) -> None:
    old = await deployer.deployed(1)
    await deployer.deployed(2)
    await deployer.signal(1, old.position.epoch)
    await deployer.requests(20)
    assert (await deployer.state()).position.stable_version == 2
    async with deployer.database.begin() as uow:
        assert await uow.decisions.waiting() == []


async def test_a_signal_about_the_candidate_takes_its_traffic(deployer: Deployer) -> None:
    await deployer.deployed(1)
    deployer.registry.policy = replace(deployer.registry.policy, minimum_sample=10_000)
    await deployer.approve(2)

    async def has_traffic() -> bool:
        return (await deployer.state()).position.candidate_weight == 20

    await deployer.meanwhile(has_traffic)
    await deployer.signal(2, (await deployer.state()).position.epoch)
    await deployer.serves(1)
    assert (await deployer.decision()).verb == events_pb2.VERB_ABORT


async def test_it_goes_back_by_itself_only_once_per_promotion(deployer: Deployer) -> None:
    deployer.registry.policy = replace(deployer.registry.policy, back_without_answer=True)
    state = await deployer.deployed(1, 2, 3)
    await deployer.signal(3, state.position.epoch, name="first")
    state = await deployer.serves(2)
    await deployer.signal(2, state.position.epoch, name="second")

    async def held() -> bool:
        return (await deployer.state()).held

    await eventually(held)
    assert (await deployer.state()).position.stable_version == 2


async def test_without_an_earlier_version_that_served_long_enough_it_holds(deployer: Deployer) -> None:
    state = await deployer.deployed(1)
    await deployer.signal(1, state.position.epoch)

    async def held() -> bool:
        return (await deployer.state()).held

    await eventually(held)
    assert "no earlier version" in (await deployer.state()).held_reason
