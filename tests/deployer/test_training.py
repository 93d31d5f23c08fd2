"""A broken promise that going back doesn't mend asks for a new version: once, until one comes."""

from __future__ import annotations

from uuid import uuid4

import numpy as np
import pytest

from goldenpath.deployer.v1 import deployer_service_pb2 as pb2
from goldenpath.deployer.v1 import events_pb2
from services.chassis.testing import eventually
from services.deployer.domain.going_back import Signal, Trouble
from services.deployer.handlers import going_back, training
from tests.deployer.conftest import PLACE, Deployer
from tests.deployer.fakes import sample_of


async def broken_promise(deployer: Deployer, version: int, epoch: int, name: str = "signal") -> events_pb2.Decision:
    signal = Signal(name, Trouble.PERFORMANCE, version, epoch, (), "it costs more than promised")
    async with deployer.database.begin() as uow:
        await going_back.open_decision(signal, PLACE, uow)

    async def decided() -> bool:
        async with deployer.database.begin() as uow:
            return not await uow.decisions.waiting()

    await eventually(decided)
    return await deployer.decision(name)


async def both_beaten(deployer: Deployer) -> pb2.Deployment:
    """Version 2 serves, its promise is broken, and version 1 would do worse."""
    state = await deployer.deployed(1, 2)
    for server in deployer.runtime.servers_of(1):
        server.score = lambda value: 1 - value
    x = np.linspace(0, 1, 400)
    deployer.monitor.given = sample_of(current=x.tolist(), outcomes=(x > 0.5).astype(float).tolist())
    decision = await broken_promise(deployer, 2, state.position.epoch)
    assert decision.verb == events_pb2.VERB_RETRAIN
    return await deployer.state()


async def answer(deployer: Deployer, request: str, *, model: str = "credit") -> None:
    async with deployer.database.begin() as uow:
        await training.answer(model, 3, request, uow)


async def test_where_both_versions_are_beaten_a_new_one_is_asked_for_and_nothing_is_held(deployer: Deployer) -> None:
    state = await both_beaten(deployer)
    (told,) = [events_pb2.TrainingRequested.FromString(one) for one in await deployer.told("training.requested")]
    assert (told.id, told.actor, told.position.stable_version) == (state.training.id, "", 2)
    assert "going back is worse" in told.reason
    assert told.decision == await deployer.decision()
    assert not state.held
    assert (await deployer.sentences())[-1].startswith("asked for a new version: going back is worse")


async def test_it_is_asked_for_once_however_many_signals_come(deployer: Deployer) -> None:
    state = await both_beaten(deployer)
    again = await broken_promise(deployer, 2, state.position.epoch, "a second signal")
    assert again.verb == events_pb2.VERB_RETRAIN
    assert len(await deployer.told("training.requested")) == 1
    assert (await deployer.state()).training == state.training


async def test_a_first_version_that_breaks_its_promise_asks_for_a_second(deployer: Deployer) -> None:
    state = await deployer.deployed(1)
    decision = await broken_promise(deployer, 1, state.position.epoch)
    assert decision.verb == events_pb2.VERB_RETRAIN
    assert "no earlier version" in (await deployer.state()).training.reason


async def test_a_version_that_names_the_request_answers_it(deployer: Deployer) -> None:
    asked = (await both_beaten(deployer)).training.id
    await answer(deployer, asked)
    state = await deployer.state()
    assert not state.HasField("training")
    await broken_promise(deployer, 2, state.position.epoch, "a later signal")
    assert (await deployer.state()).training.id not in {"", asked}


@pytest.mark.parametrize(
    ("model", "request_"),
    [
        pytest.param("credit", "", id="nobody's request"),
        pytest.param("credit", "soon", id="no request at all"),
        pytest.param("credit", str(uuid4()), id="one that isn't known"),
    ],
)
async def test_another_registration_answers_nothing(deployer: Deployer, model: str, request_: str) -> None:
    asked = (await both_beaten(deployer)).training
    await answer(deployer, request_, model=model)
    await answer(deployer, asked.id, model="somebody-elses")
    assert (await deployer.state()).training == asked


async def test_a_version_that_takes_over_answers_it_too(deployer: Deployer) -> None:
    await both_beaten(deployer)
    state = await deployer.deployed(3)
    assert not state.HasField("training")
