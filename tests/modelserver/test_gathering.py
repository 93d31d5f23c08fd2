from __future__ import annotations

import asyncio

import pytest

from services.modelserver.gathering import GATHERED_ROWS, Gathering
from services.modelserver.predict import SCORE, Output, Prediction
from services.modelserver.schema import Rows


class Doubler:
    """Doubles its one column, and remembers how many rows each call had; it refuses negative numbers."""

    outputs: tuple[Output, ...] = (SCORE,)

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, rows: Rows) -> Prediction:
        self.calls.append(rows.size)
        if min(rows.columns[0]) < 0:
            raise ValueError("negative")
        return Prediction([2 * value for value in rows.columns[0]], None)


def rows(*values: float) -> Rows:
    return Rows([list(values)], len(values))


async def test_requests_of_one_turn_are_predicted_in_one_call_and_each_gets_its_own() -> None:
    model = Doubler()
    gathering = Gathering(model)
    answers = await asyncio.gather(*(gathering.predict(rows(*values)) for values in ([1.0], [2.0, 3.0], [4.0])))
    assert [answer.scores for answer in answers] == [[2.0], [4.0, 6.0], [8.0]]
    assert model.calls == [4]


async def test_a_request_alone_is_predicted_alone() -> None:
    model = Doubler()
    assert (await Gathering(model).predict(rows(1.0))).scores == [2.0]
    assert model.calls == [1]


async def test_gathering_leaves_the_requests_own_values_as_they_were() -> None:
    gathering, first = Gathering(Doubler()), rows(1.0)
    await asyncio.gather(gathering.predict(first), gathering.predict(rows(2.0)))
    assert first == rows(1.0)


async def test_only_the_guilty_request_gets_the_error() -> None:
    gathering = Gathering(Doubler())
    tasks = [asyncio.ensure_future(gathering.predict(rows(value))) for value in (1.0, -1.0, 3.0)]
    good, bad, also_good = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(bad, ValueError)
    assert (good, also_good) == (Prediction([2.0], None), Prediction([6.0], None))


async def test_one_call_never_has_more_rows_than_a_turn_may_take() -> None:
    model = Doubler()
    gathering = Gathering(model)
    many = [gathering.predict(rows(*([1.0] * 30))) for _ in range(5)]
    await asyncio.gather(*many)
    assert sum(model.calls) == 150
    assert max(model.calls) <= GATHERED_ROWS


async def test_a_request_whose_client_has_gone_disturbs_nobody() -> None:
    gathering = Gathering(Doubler())
    gone = asyncio.ensure_future(gathering.predict(rows(1.0)))
    stays = asyncio.ensure_future(gathering.predict(rows(2.0)))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).scores == [4.0]
    with pytest.raises(asyncio.CancelledError):
        await gone
