"""What KServe's logger posts: both protocols, what can't be understood, and both sides joined once in any order."""

from __future__ import annotations

import json
import uuid
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.ingest.v1.events_pb2 import InferenceLogged, LoggedAnswer, LoggedInput
from services.chassis import instruments
from services.chassis.cloudevents import headers_of
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.chassis.testing import emitted
from services.monitor import batches, logged, queries
from services.monitor.intake import Read
from services.monitor.kserve import answers_of, inputs_of
from services.monitor.logged import TYPE, record_id
from services.monitor.logged_store import Asked, Logged, Sides
from services.monitor.pane_store import Panes
from services.profile import count, empty
from tests.monitor.conftest import Bench
from tests.monitor.made_up import credit
from tests.monitor.test_intake import replica

NOW_MS = 1_780_000_000_000


def row(**values: Any) -> LoggedInput:
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    return LoggedInput(numbers={name: value for name, value in values.items() if name not in texts}, texts=texts)


def tensor(name: str, shape: list[int], data: list[Any], datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        pytest.param({"instances": [{"age": 1, "town": "Oslo"}, {"age": 2.5, "town": None}]}, [], id="v1 objects"),
        pytest.param({"instances": [[1, "Oslo"], [2.5, None]]}, ["age", "town"], id="v1 lists"),
        pytest.param(
            {"inputs": [tensor("age", [2], [1, 2.5]), tensor("town", [2, 1], ["Oslo", None], "BYTES")]},
            [],
            id="v2, a tensor an input",
        ),
        pytest.param({"inputs": [tensor("x", [2, 2], [1, "Oslo", 2.5, None])]}, ["age", "town"], id="v2, one tensor"),
        pytest.param({"inputs": [tensor("x", [2, 2], [[1, "Oslo"], [2.5, None]])]}, ["age", "town"], id="v2, nested"),
    ],
)
def test_requests_of_both_protocols_are_read(body: dict[str, Any], columns: list[str]) -> None:
    assert inputs_of(json.dumps(body).encode(), columns) == [row(age=1.0, town="Oslo"), row(age=2.5)]


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        pytest.param({"instances": [{"text": [0.5, None, -1]}]}, [], id="in an object"),
        pytest.param({"instances": [[[0.5, None, -1]]]}, ["text"], id="in a list"),
        pytest.param({"instances": [[0.5, None, -1]]}, ["text"], id="alone"),
        pytest.param({"inputs": [tensor("x", [1, 3], [0.5, None, -1])]}, ["text"], id="a tensor"),
    ],
)
def test_numbers_of_one_name_are_a_vector_as_model_servers_tell_of_it(body: dict[str, Any], columns: list[str]) -> None:
    (told,) = inputs_of(json.dumps(body).encode(), columns)
    assert dict(told.numbers) == {"text[0]": 0.5, "text[2]": -1.0}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"predictions": [0.25, 1]}, [LoggedAnswer(score=0.25), LoggedAnswer(score=1)], id="scores"),
        pytest.param(
            {"predictions": ["no", "yes"]}, [LoggedAnswer(label="no"), LoggedAnswer(label="yes")], id="labels"
        ),
        pytest.param({"predictions": [[0.75, 0.25]]}, [LoggedAnswer(score=0.25)], id="probabilities of two"),
        pytest.param({"predictions": [[0.1, 0.2, 0.7]]}, [LoggedAnswer(label="2")], id="probabilities of three"),
        pytest.param(
            {"predictions": [{"score": 0.5, "label": "no"}]}, [LoggedAnswer(score=0.5, label="no")], id="objects"
        ),
        pytest.param({"outputs": [tensor("y", [2], [0.1, 0.2])]}, [LoggedAnswer(score=0.1), LoggedAnswer(score=0.2)]),
        pytest.param(
            {"outputs": [tensor("y", [1, 2], [0.75, 0.25])]}, [LoggedAnswer(score=0.25)], id="v2, two classes"
        ),
        pytest.param(
            {"outputs": [tensor("label", [1], ["no"], "BYTES"), tensor("score", [1], [0.5]), tensor("z", [1], [3])]},
            [LoggedAnswer(score=0.5, label="no")],
            id="v2, named",
        ),
    ],
)
def test_answers_of_both_protocols_are_read(body: dict[str, Any], expected: list[LoggedAnswer]) -> None:
    assert answers_of(json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        pytest.param(b"\x00\x01", [], id="binary"),
        pytest.param(b'{"instances": [{"a": "\xff"}]}', [], id="no UTF-8"),
        pytest.param(b"[" * 100_000, [], id="nested without end"),
        pytest.param(b"[]", [], id="no object"),
        pytest.param(b"{}", [], id="neither protocol"),
        pytest.param(b'{"instances": []}', [], id="no instances"),
        pytest.param(b'{"instances": [[1, 2]]}', [], id="values without names"),
        pytest.param(b'{"instances": [[1, 2, 3]]}', ["a", "b"], id="a name too few"),
        pytest.param(b'{"instances": [{"a": [1]}]}', [], id="a list in an instance"),
        pytest.param(b'{"instances": [{"a": [1, "b"]}]}', [], id="a list of anything"),
        pytest.param(b'{"instances": [{"a": 1' + b"0" * 400 + b"}]}", [], id="a number beyond doubles"),
        pytest.param(b'{"inputs": [{"name": "a", "shape": [3], "data": [1]}]}', [], id="a shape of other data"),
        pytest.param(b'{"inputs": [{"name": "a", "shape": [0], "data": []}]}', [], id="a shape of nothing"),
        pytest.param(b'{"inputs": [{"shape": [1], "data": [1]}]}', [], id="a tensor without a name"),
        pytest.param(
            b'{"inputs": [{"name": "a", "shape": [1], "data": [1]}, {"name": "b", "shape": [2], "data": [1, 2]}]}',
            [],
            id="tensors of different lengths",
        ),
        pytest.param(b'{"inputs": [{"name": "a", "shape": [1, 2], "data": [1, 2]}]}', [], id="columns without names"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(body: bytes, columns: list[str]) -> None:
    with pytest.raises(Invalid):
        inputs_of(body, columns)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"predictions": []}',
        b'{"predictions": [null]}',
        b'{"predictions": [{"a": 1}]}',
        b"nonsense",
        b'{"\xff": 1}',
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        answers_of(body)


def sides(request: str, rows: int = 2, answers: int | None = None) -> list[InferenceLogged]:
    """Both sides of a request about some applicants."""
    random = np.random.default_rng(uuid.uuid5(uuid.NAMESPACE_URL, request).int % 2**32)
    columns = {name: np.asarray(column).tolist() for name, column in credit(random, rows).items()}
    inputs = [row(**{name: column[at] for name, column in columns.items()}) for at in range(rows)]
    scores = random.random(rows if answers is None else answers).tolist()
    place: dict[str, Any] = {"model": "credit", "version": 1, "request_id": request}
    return [
        InferenceLogged(**place, inputs=inputs),
        InferenceLogged(**place, answers=[LoggedAnswer(score=score) for score in scores]),
    ]


def raws(bodies: list[InferenceLogged], first: int = 0) -> list[Raw]:
    events = [emitted(body, TYPE, subject="model/credit") for body in bodies]
    return [
        Raw("records", 0, first + at, None, headers_of(event), event.data, NOW_MS) for at, event in enumerate(events)
    ]


async def seen(bench: Bench) -> tuple[int, bytes]:
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        panes = await Panes(connection).all(watch.id, bench.judge.profile)
    return watch.rows_seen, sum((pane.window for pane in panes), start=empty(bench.judge.profile)).to_bytes()


def expected(bench: Bench, bodies: list[InferenceLogged]) -> bytes:
    asked = [one for body in bodies for one in body.inputs]
    columns: dict[str, Any] = {
        "age": np.array([each.numbers["age"] for each in asked]),
        "gains": np.array([each.numbers["gains"] for each in asked]),
        "education": np.array([each.texts["education"] for each in asked], dtype=object),
        "score": np.array([one.score for body in bodies for one in body.answers]),
    }
    return count(bench.judge.profile, columns).to_bytes()


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5], ids=str)
@pytest.mark.parametrize("polls", [1, 4])
async def test_in_whatever_order_sides_come_each_record_counts_once(
    bench: Bench, order: tuple[int, ...], polls: int
) -> None:
    bodies = [*sides("one"), *sides("two", rows=3)]
    pieces = raws([bodies[place] for place in order])
    intake = replica(bench)
    await intake.places([0])
    step = len(pieces) // polls
    for start in range(0, len(pieces), step):
        (died,) = await intake.take(Read(0, start, pieces[start : start + step]))
        assert not any(died)
    assert await seen(bench) == (5, expected(bench, bodies))


async def test_a_side_that_is_sent_again_changes_nothing(bench: Bench) -> None:
    bodies = sides("one")
    intake = replica(bench)
    await intake.places([0])
    await intake.take(Read(0, 0, raws([bodies[0], bodies[0], bodies[1], bodies[1]])))
    await intake.take(Read(0, 4, raws([*bodies, *bodies], 4)))
    assert await seen(bench) == (2, expected(bench, bodies))


async def test_answers_that_are_not_as_many_as_the_records_die_and_the_others_go_on(bench: Bench) -> None:
    bodies = [*sides("one", answers=1), *sides("two")]
    intake = replica(bench)
    await intake.places([0])
    assert await intake.take(Read(0, 0, raws(bodies))) == [[False, True, False, False]]
    assert (await seen(bench))[0] == 2


async def test_a_side_that_is_neither_or_both_dies(bench: Bench) -> None:
    asked, answered = sides("one")
    both = InferenceLogged.FromString(asked.SerializeToString() + answered.SerializeToString())
    neither = InferenceLogged(model="credit", version=1, request_id="one")
    intake = replica(bench)
    await intake.places([0])
    assert await intake.take(Read(0, 0, raws([both, neither, asked, answered]))) == [[True, True, False, False]]


@pytest.mark.parametrize(
    "more",
    [
        *({"model": "a\0b"}, {"version": 2**31}, {"epoch": 2**63}, {"event_time": Timestamp(seconds=2**60)}),
        *({"request_id": ""}, {"request_id": "a\0b"}, {"request_id": "a" * 201}),
    ],
)
def test_a_side_that_no_table_can_hold_is_refused(more: dict[str, Any]) -> None:
    told: dict[str, Any] = {"model": "credit", "version": 1, "request_id": "one", "answers": [LoggedAnswer(score=0.5)]}
    assert logged.check(InferenceLogged(**told)) == InferenceLogged(**told)
    with pytest.raises(Invalid):
        logged.check(InferenceLogged(**told | more))


async def test_those_that_wait_are_bounded_and_counted_when_they_are_let_go(bench: Bench) -> None:
    async with bench.database.begin() as uow:
        waiting = {Asked("credit", "production", 1, str(at)): Sides(asked=b"x") for at in range(5)}
        await uow.logged.keep(waiting | {Asked("credit", "production", 1, "joined"): Sides(joined=True)})
        assert await uow.logged.let_go(kept=3) == 3
    async with bench.database.read() as connection:
        assert len(await Logged(connection).of(set(waiting))) == 2
    assert instruments.MONITOR_UNJOINED._value.get() >= 0


def test_an_outcome_may_name_a_request_by_its_own_id() -> None:
    name = str(uuid.uuid4())
    assert record_id(name, 0) == name
    assert record_id(name, 1) == str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/1"))
    assert uuid.UUID(record_id("not a uuid", 0)).version == 5
    assert batches.ID_BYTES == 16
