"""Batches that a careless or hostile sender makes up: refused in words where they make no sense, and no hold-up."""

from __future__ import annotations

from datetime import timedelta
from math import isfinite
from typing import Any

import numpy as np
import pytest

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.errors import Invalid
from services.monitor import queries
from services.monitor.batches import picked, texts_of, whole
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.performance import CostMatrix
from services.monitor.domain.promise import Promise
from services.monitor.join_store import PATIENCE
from services.monitor.packed import whole as checked
from services.profile import profile_of
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.outcomes import count, turn_out

RANDOM = np.random.default_rng(12)
WEEK = timedelta(days=7)
ROWS = 4
COST = CostMatrix(fixed=((0.0, 0.0), (1.0, 1.0)), of_amount=((0.0, 5.0), (5.0, 5.0)))
SCORES = pb.Column(name="score", numbers=[0.1] * ROWS)
TEXTS: dict[str, Any] = {"dictionary": ["a"], "codes": [0] * ROWS}
READ: dict[str, Any] = {"view": "v", "event_times_us": [1] * ROWS, "codes": [0] * ROWS, "outcomes": ["found"]}


def made(**more: Any) -> pb.InferenceRecorded:
    return batch_of(credit(RANDOM, ROWS), np.full(ROWS, 0.1), **more)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"outputs": [pb.Column(name="score", **TEXTS)]}, id="a score of text"),
        pytest.param({"outputs": [SCORES, pb.Column(name="label", numbers=[1.0] * ROWS)]}, id="a label of numbers"),
        pytest.param({"outputs": [SCORES, SCORES]}, id="two scores"),
        pytest.param({"inputs": [pb.Column(name="age", numbers=[1.0] * ROWS)] * 2}, id="an input twice"),
        pytest.param({"features": [pb.FeaturesRead(**READ | {"codes": [0]})]}, id="features of one record"),
        pytest.param({"features": [pb.FeaturesRead(**READ | {"codes": [1] * ROWS})]}, id="an outcome without a name"),
        pytest.param({"features": [pb.FeaturesRead(**READ | {"event_times_us": []})]}, id="features without times"),
        pytest.param(
            {"features": [pb.FeaturesRead(**READ)], "keys": [pb.Column(name="k", numbers=[1.0])]},
            id="a key of one record",
        ),
    ],
)
def test_what_can_not_be_told_of_each_record_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        checked(made(**more).SerializeToString())


@pytest.mark.parametrize(
    "more",
    [
        *({"model": ""}, {"model": "a\0b"}, {"model": "a" * 201}, {"model": "ü" * 101}),
        *({"environment": "a\0b"}, {"environment": "a" * 201}),
        *({"version": 0}, {"version": 2**31}, {"epoch": 2**63}),
        *({"server": ""}, {"server": "a\0b"}, {"server": "a" * 1_001}, {"batch": 0}, {"batch": 2**63}),
    ],
)
def test_what_no_table_can_hold_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        checked(made(**more).SerializeToString())


def test_features_of_each_record_are_taken() -> None:
    body = made(features=[pb.FeaturesRead(**READ)], keys=[pb.Column(name="k", **TEXTS)])
    assert checked(body.SerializeToString()).rows == ROWS
    assert whole(body, 2).features[0].outcomes == ["found"]


def test_an_input_that_only_some_batches_have_is_missing_in_the_others() -> None:
    plain, more = made(), made()
    more.inputs.add(name="extra", numbers=[1.0, 2.0, 3.0, 4.0])
    more.inputs.add(name="note", dictionary=["x"], codes=[0, -1, 0, 0])
    found = {column.name: column for column in picked([plain, more, plain], [0, 4, 6, 11])}
    assert np.array_equal(found["extra"].numbers, [np.nan, 1.0, 3.0, np.nan], equal_nan=True)
    assert texts_of(found["note"]) == [None, "x", "x", None]
    assert [len(column.codes) or len(column.numbers) for column in found.values()] == [4] * 5


def test_an_input_that_changes_its_kind_between_batches_is_missing_where_it_was_a_number() -> None:
    first, second = made(), made()
    first.inputs.add(name="extra", numbers=[1.0] * ROWS)
    second.inputs.add(name="extra", **TEXTS)
    found = {column.name: column for column in picked([first, second], [3, 4])}
    assert texts_of(found["extra"]) == [None, "a"]


@pytest.mark.servers
async def test_what_a_signal_speaks_of_is_shown_though_a_server_told_more_than_the_others(bench: Bench) -> None:
    await bench.see(600, broken={"education": "school"})
    (row,) = await bench.rows("SELECT id FROM signals WHERE level = 'detected'")
    more = made()
    more.inputs.add(name="extra", numbers=[1.0] * ROWS)
    await bench.take(more)
    await bench.see(200, broken={"education": "school"})
    async with bench.database.read() as connection:
        sample = await queries.sample(str(row["id"]), 10_000, connection)
    assert {len(column.codes) or len(column.numbers) for column in sample.inputs} == {sample.rows}
    assert "extra" in {column.name for column in sample.inputs}


@pytest.mark.servers
@pytest.mark.parametrize("rows", [1, 2])
async def test_a_reference_of_one_row_or_two_is_counted_under_and_judged(bench: Bench, rows: int) -> None:
    reference = profile_of(credit(RANDOM, rows), scores={"score": np.full(rows, 0.5)})
    bench.judge = Judge(reference, Settings(), Promise("log_loss", 0.4, WEEK))
    await bench.see(1_000)
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        report = await queries.report(watch, bench.judge, connection)
        history = await queries.history(watch, bench.judge, connection)
    assert report.rows_seen == 1_000
    assert {effect.feature for effect in report.features} == {"age", "education", "gains", "score"}
    assert all(0 <= effect.lower <= effect.upper for effect in report.features)
    assert history.reference_rows == rows


@pytest.mark.servers
@pytest.mark.parametrize(
    "promise",
    [
        pytest.param(Promise("log_loss", 0.4, WEEK, amount="gains", segments=("education",)), id="log loss"),
        pytest.param(Promise("cost", 1.0, WEEK, amount="gains", cost=COST), id="cost"),
        pytest.param(Promise("rmse", 1.0, WEEK), id="rmse"),
    ],
)
async def test_amounts_and_scores_without_measure_break_no_days_sums(bench: Bench, promise: Promise) -> None:
    bench.judge = Judge(profile(), Settings(), promise)
    scores = np.array([np.nan, np.inf, -np.inf, 1.7e308, -1.7e308, 5e-324, 0.5, 0.5])
    gains = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.7e308, 1.7e308, -np.inf])
    times = [int(bench.clock.now().timestamp() * 1e6)] * scores.size
    body = batch_of(credit(RANDOM, scores.size, gains=gains), scores, event_times_us=times)
    await bench.take(body)
    await turn_out(bench, body, [1.0, 0.0] * 4)
    bench.clock.advance(PATIENCE * WEEK)
    found = await count(bench)
    assert (found.known, found.missing) == (3, 5)
    assert 0 <= found.lower <= found.loss <= found.upper <= found.bound
    assert all(map(isfinite, found.metrics.values()))
