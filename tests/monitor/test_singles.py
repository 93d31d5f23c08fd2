"""Single events: whatever they leave out, they become the batch that a model server would have sent."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from services.chassis import parking
from services.chassis.cloudevents import JSON, PROTOBUF, CloudEvent, headers_of
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.chassis.testing import emitted
from services.monitor import batches, queries
from services.monitor.intake import Read
from services.monitor.packed import told_of, whole
from services.monitor.pane_store import Panes
from services.monitor.predictions import Predictions, gathered
from services.monitor.singles import read_all
from services.profile import CodedText, count, empty
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
    assert await intake.take(Read(0, 0, raws)) == [[False] * ROWS]
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
    event = replace(event, data=document.encode())
    dead: list[tuple[Raw, Invalid]] = []
    (told,) = read_all([raw_of(event, 0)], JSON, dead)
    (other,) = read_all([raw_of(emitted(expected, "prediction.recorded", subject="model/credit"), 0)], PROTOBUF, dead)
    assert not dead
    assert same(told, other, but_for="" if expected.record_id else "ids")


@pytest.mark.parametrize(
    "document", [b"{", b'{"model": 7}', b'{"models": "credit"}', b'{"numbers": {"age": []}}', b'{"model": "\xff"}']
)
def test_json_that_is_no_prediction_is_refused(document: bytes) -> None:
    event = replace(emitted(prediction(0), "prediction.recorded", subject="model/credit"), content_type=JSON)
    dead: list[tuple[Raw, Invalid]] = []
    assert not read_all([raw_of(replace(event, data=document), 0)], JSON, dead)
    assert len(dead) == 1


async def test_a_single_event_that_makes_no_sense_dies_alone(bench: Bench) -> None:
    bodies = [prediction(0), prediction(1, record_id="nonsense"), prediction(2, model=""), prediction(3)]
    intake = replica(bench)
    await intake.places([0])
    raws = [raw_of(event_of(body, as_json=False), offset) for offset, body in enumerate(bodies)]
    assert await intake.take(Read(0, 0, raws)) == [[False, True, True, False]]


async def test_a_single_event_that_is_replayed_is_no_repeat_of_what_was_read_with_it(bench: Bench) -> None:
    intake, bodies = replica(bench), [prediction(0, model=""), prediction(1), prediction(2)]
    await intake.places([0])
    raws = [raw_of(event_of(body, as_json=False), offset) for offset, body in enumerate(bodies)]
    assert await intake.take(Read(0, 0, raws)) == [[True, False, False]]
    mended = event_of(prediction(0), as_json=False)
    async with bench.database.begin() as uow:
        (dead,) = await parking.list_dead(uow.connection, after=0, limit=10)
        await uow.connection.execute("UPDATE parked SET value = $1", mended.data)
        await parking.replay(uow.connection, dead["id"], actor="ada", reason="this release can read it")
    assert await intake.retry_one()
    (watch,) = await bench.rows("SELECT rows_seen FROM watches")
    assert watch["rows_seen"] == 3


def test_what_an_event_leaves_out_is_missing_and_what_nobody_asked_for_is_passed_over(bench: Bench) -> None:
    profile = bench.judge.profile
    bodies = [prediction(0, numbers={}, texts={"gains": "text for a number", "shoe size": "44"}), prediction(1)]
    (told,) = read_bodies(bodies)
    batch = gathered(told, "records/0/0", 1, profile)
    assert set(batch.columns) == {"age", "education", "gains", "score"}
    assert np.isnan(np.asarray(batch.columns["gains"])).tolist() == [True, False]
    assert batches.texts_of(told_of(batch.data).inputs[-1])[0] is None
    assert count(profile, batch.columns).rows == 2


def test_a_gathered_batch_is_what_a_model_server_sends(bench: Bench) -> None:
    (told,) = read_bodies([prediction(row, label="yes") for row in range(ROWS)])
    batch = gathered(told, "records/0/0", 1, bench.judge.profile)
    body, sent = told_of(batch.data), batch_of(COLUMNS, SCORES)
    assert whole(batch.data).rows == ROWS
    assert {column.name: list(column.numbers) for column in body.inputs} == {
        column.name: list(column.numbers) for column in sent.inputs
    }
    assert [column.name for column in body.outputs] == ["score", "label"]
    assert batches.labels_of(body) == ["yes"] * ROWS


@pytest.mark.parametrize(
    "more",
    [
        *({"version": 0}, {"model": ""}, {"record_id": "x"}),
        *({"model": "a\0b"}, {"version": 2**31}, {"epoch": 2**63}, {"event_time": Timestamp(seconds=2**60)}),
    ],
)
@pytest.mark.parametrize("rows", [1, ROWS], ids=["alone", "among its like"])
def test_an_event_that_names_nothing_that_can_be_is_refused(more: dict[str, Any], rows: int) -> None:
    dead: list[tuple[Raw, Invalid]] = []
    assert not read_bodies([prediction(0, **more) for _ in range(rows)], dead)
    assert len(dead) == rows


def read_bodies(bodies: list[PredictionRecorded], dead: list[tuple[Raw, Invalid]] | None = None) -> list[Predictions]:
    raws = [raw_of(event_of(body, as_json=False), row) for row, body in enumerate(bodies)]
    return read_all(raws, PROTOBUF, [] if dead is None else dead)


def same(one: Predictions, other: Predictions, *, but_for: str) -> bool:
    """Whether two tell the same, but for a random id."""
    return rows_of(replace(one, ids=other.ids) if but_for else one) == rows_of(other)


def rows_of(told: Predictions) -> list[str]:
    """Each prediction in full, but for an id that it was given here."""
    return [
        repr(
            (
                told.place,
                "" if told.ids[row][6] >> 4 == 4 else told.ids[row].tobytes(),
                int(told.times_us[row]),
                sorted(
                    (name, float(column[row])) for name, column in told.numbers.items() if column[row] == column[row]
                ),
                sorted(
                    (name, text) for name, column in told.texts.items() if (text := text_at(column, row)) is not None
                ),
                float(told.score[row]),
                text_at(told.label, row) if told.label else None,
            )
        )
        for row in range(told.rows)
    ]


def text_at(column: CodedText, row: int) -> str | None:
    code = int(column.codes[row])
    return column.dictionary[code] if code >= 0 else None
