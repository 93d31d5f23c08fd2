"""Single events: whatever they leave out, they become the batch that a model server would have sent."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.chassis.cloudevents import JSON, CloudEvent, headers_of
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.chassis.testing import emitted
from services.monitor import batches, queries
from services.monitor.pane_store import Panes
from services.monitor.singles import by_place, check, gathered, read
from services.profile import Column, count, empty
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit
from tests.monitor.test_intake import replica

RANDOM = np.random.default_rng(4)
ROWS = 50
COLUMNS = credit(RANDOM, ROWS)
SCORES = RANDOM.beta(1, 9, ROWS)
NOW_MS = 1_780_000_000_000


def prediction(row: int, **more: Any) -> PredictionRecorded:
    """One row of the columns, as an event tells it."""
    values = {name: np.asarray(column)[row] for name, column in COLUMNS.items()}
    told: dict[str, Any] = {
        "model": "credit",
        "version": 1,
        "record_id": str(uuid.uuid4()),
        "numbers": {name: float(value) for name, value in values.items() if not isinstance(value, str)},
        "texts": {name: value for name, value in values.items() if isinstance(value, str)},
        "score": SCORES[row],
    }
    return PredictionRecorded(**(told | more))


def raw_of(event: CloudEvent, offset: int) -> Raw:
    return Raw("records", 0, offset, None, headers_of(event), event.data, NOW_MS)


def event_of(body: PredictionRecorded, *, as_json: bool) -> CloudEvent:
    event = emitted(body, "prediction.recorded", subject="model/credit")
    document = {
        "model": body.model,
        "version": body.version,
        "record_id": body.record_id,
        "numbers": dict(body.numbers),
        "texts": dict(body.texts),
        "score": body.score,
    }
    return replace(event, data=json.dumps(document).encode(), content_type=JSON) if as_json else event


@pytest.mark.parametrize("as_json", [False, True], ids=["protobuf", "JSON"])
async def test_single_events_count_as_the_batch_of_the_same_records(bench: Bench, *, as_json: bool) -> None:
    raws = [raw_of(event_of(prediction(row), as_json=as_json), row) for row in range(ROWS)]
    intake = replica(bench)
    await intake.places([0])
    assert await intake.take(0, 0, raws) == [False] * ROWS
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        panes = await Panes(connection).all(watch.id, bench.judge.profile)
    total = sum((pane.window for pane in panes), start=empty(bench.judge.profile))
    assert watch.rows_seen == ROWS
    assert total == count(bench.judge.profile, COLUMNS | {"score": SCORES})


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            '{"model": "credit", "version": 1, "recordId": "6f0c8f9e-0000-4000-8000-000000000000"}', id="camel"
        ),
        pytest.param('{"model": "credit", "version": 1, "event_time": "2026-01-01T00:00:00Z"}', id="a timestamp"),
        pytest.param('{"model": "credit", "version": "1", "numbers": {"age": "NaN"}}', id="numbers as text"),
        pytest.param('{"model": "credit", "version": 1, "score": null}', id="null"),
    ],
)
def test_every_way_that_protobufs_json_knows_is_read(document: str) -> None:
    event = replace(emitted(prediction(0), "prediction.recorded", subject="model/credit"), content_type=JSON)
    expected = json_format.Parse(document, PredictionRecorded())
    assert read(replace(event, data=document.encode())) == expected


@pytest.mark.parametrize("document", ["{", '{"model": 7}', '{"models": "credit"}', '{"numbers": {"age": []}}'])
def test_json_that_is_no_prediction_is_refused(document: str) -> None:
    event = replace(emitted(prediction(0), "prediction.recorded", subject="model/credit"), content_type=JSON)
    with pytest.raises(Invalid):
        read(replace(event, data=document.encode()))


async def test_a_single_event_that_makes_no_sense_dies_alone(bench: Bench) -> None:
    bodies = [prediction(0), prediction(1, record_id="nonsense"), prediction(2, model=""), prediction(3)]
    intake = replica(bench)
    await intake.places([0])
    raws = [raw_of(event_of(body, as_json=False), offset) for offset, body in enumerate(bodies)]
    assert await intake.take(0, 0, raws) == [False, True, True, False]


def test_what_an_event_leaves_out_is_missing_and_what_nobody_asked_for_is_passed_over(bench: Bench) -> None:
    profile = bench.judge.profile
    bodies = [prediction(0, numbers={}, texts={"gains": "text for a number", "shoe size": "44"}), prediction(1)]
    singles = [check(body, NOW_MS) for body in bodies]
    place = singles[0].served
    body = gathered(place, by_place(singles)[place], "records/0/0", profile)
    columns: dict[str, Column] = batches.columns_of(body, PackedBatch.FromString(body.SerializeToString()))
    assert set(columns) == {"age", "education", "gains", "score"}
    assert np.isnan(np.asarray(columns["gains"])).tolist() == [True, False]
    assert batches.texts_of(body.inputs[-1])[0] is None
    assert count(profile, columns).rows == 2


def test_a_gathered_batch_is_what_a_model_server_sends(bench: Bench) -> None:
    singles = [check(prediction(row, label="yes"), NOW_MS) for row in range(ROWS)]
    body = gathered(singles[0].served, singles, "records/0/0", bench.judge.profile)
    sent = batch_of(COLUMNS, SCORES)
    assert batches.check(body) == ROWS
    assert {column.name: list(column.numbers) for column in body.inputs} == {
        column.name: list(column.numbers) for column in sent.inputs
    }
    assert [column.name for column in body.outputs] == ["score", "label"]


@pytest.mark.parametrize("more", [{"version": 0}, {"model": ""}, {"record_id": "x"}])
def test_an_event_that_names_nothing_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        check(prediction(0, **more), NOW_MS)
