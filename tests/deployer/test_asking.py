"""What a version says of rows, whether it serves or not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from goldenpath.modelserver.v1 import events_pb2 as records_pb2
from services.chassis.errors import Invalid, NotFound
from services.chassis.testing import eventually
from services.deployer.asking import columns_of
from tests.deployer.conftest import PLACE, Deployer
from tests.deployer.fakes import digest_of

ROWS = [records_pb2.Column(name="x", numbers=[0.25, 0.75])]


async def test_the_version_that_serves_answers_with_its_own_server(deployer: Deployer) -> None:
    await deployer.deployed(1)
    await deployer.has_servers(1, 1)
    before = deployer.runtime.servers_of(1)
    known, scores = await deployer.asking.scores(PLACE, 1, {"x": [0.25, 0.75]})
    assert (known.digest, scores.tolist()) == (digest_of(1), [0.25, 0.75])
    assert deployer.runtime.servers_of(1) == before


async def test_a_version_that_left_long_ago_gets_a_server_for_the_question(deployer: Deployer) -> None:
    await deployer.deployed(1, 2, 3)
    await deployer.has_servers(2, 3)
    _, scores = await deployer.asking.scores(PLACE, 1, {"x": [0.5]})
    assert scores.tolist() == [0.5]
    assert (await deployer.state()).position.stable_version == 3


async def test_a_lent_server_ends_by_itself(deployer: Deployer) -> None:
    await deployer.deployed(1, 2, 3)
    async with deployer.database.begin() as uow:
        await uow.endpoints.lend(PLACE, 1, uow.now + timedelta(seconds=5))  # longer than a start takes

    async def came() -> bool:
        return bool(deployer.runtime.servers_of(1))

    await eventually(came)
    await deployer.has_servers(2, 3)


async def test_a_version_that_was_never_admitted_scores_nothing(deployer: Deployer) -> None:
    await deployer.deployed(1)
    with pytest.raises(NotFound, match="version 9"):
        await deployer.asking.scores(PLACE, 9, {"x": [0.5]})


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param([], id="no column"),
        pytest.param([records_pb2.Column(name="x")], id="no row"),
        pytest.param([*ROWS, records_pb2.Column(name="y", numbers=[1.0])], id="of different lengths"),
        pytest.param([records_pb2.Column(name="x", numbers=[0.0] * 5_001)], id="too many"),
        pytest.param([records_pb2.Column(name="x", dictionary=["a"], codes=[1])], id="a code without a text"),
    ],
)
def test_rows_that_are_none_are_refused(columns: list[records_pb2.Column]) -> None:
    with pytest.raises(Invalid):
        columns_of(columns)


def test_a_missing_text_is_missing() -> None:
    assert columns_of([records_pb2.Column(name="x", dictionary=["a"], codes=[0, -1])]) == {"x": ["a", None]}
