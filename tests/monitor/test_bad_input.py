"""What is wrong in one record, batch or event harms nothing else: each has a clear result, and the stream goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis import instruments
from services.chassis.cloudevents import headers_of
from services.chassis.parking import Raw
from services.chassis.testing import emitted
from services.monitor import queries
from services.monitor.domain.judge import Judge
from services.monitor.intake import Intake, Read
from services.monitor.packed import AHEAD
from services.monitor.pane_store import Panes
from services.profile import CodedText, Window, empty
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit
from tests.monitor.test_intake import replica

RANDOM = np.random.default_rng(9)
NOW_MS = 1_780_000_000_000


def good(rows: int = 20, **more: Any) -> pb.InferenceRecorded:
    return batch_of(credit(RANDOM, rows), RANDOM.beta(1, 9, rows), **more)


def without(name: str) -> pb.InferenceRecorded:
    body = good()
    kept = [column for column in body.inputs if column.name != name]
    del body.inputs[:]
    body.inputs.extend(kept)
    return body


def as_text(name: str) -> pb.InferenceRecorded:
    body = without(name)
    body.inputs.add(name=name, dictionary=["old"], codes=[0] * 20)
    return body


def raw_of(body: pb.InferenceRecorded, offset: int) -> Raw:
    event = emitted(body, "inference.recorded", subject="model/credit")
    return Raw("records", 0, offset, None, headers_of(event), event.data, NOW_MS)


async def take(bench: Bench, bodies: list[pb.InferenceRecorded], intake: Intake | None = None) -> list[bool]:
    intake = intake or replica(bench)
    await intake.places([0])
    (died,) = await intake.take(Read(0, 0, [raw_of(body, offset) for offset, body in enumerate(bodies)]))
    return died


async def total(bench: Bench) -> Window:
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        panes = await Panes(connection).all(watch.id, bench.judge.profile)
    return sum((pane.window for pane in panes), start=empty(bench.judge.profile))


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(without("age"), id="without a feature"),
        pytest.param(as_text("age"), id="text for a number"),
        pytest.param(good(inputs=[]), id="without inputs"),
        pytest.param(good(outputs=[]), id="without a score"),
        pytest.param(good(record_ids=b""), id="without records"),
        pytest.param(pb.InferenceRecorded(), id="nothing"),
    ],
)
async def test_records_that_do_not_match_the_reference_die_with_why_and_the_others_count(
    bench: Bench, bad: pb.InferenceRecorded
) -> None:
    before = instruments.MONITOR_BATCHES.labels("dead")._value.get()
    assert await take(bench, [good(), bad, good()]) == [False, True, False]
    (letter,) = await bench.rows("SELECT what FROM parked WHERE dead")
    assert letter["what"]
    assert instruments.MONITOR_BATCHES.labels("dead")._value.get() == before + 1
    assert (await total(bench)).rows == 40


async def test_a_version_that_nobody_knows_is_kept_and_not_judged(bench: Bench) -> None:
    class Unknown:
        async def of(self, _model: str, _version: int) -> Judge | None:
            return None

    judges: Any = Unknown()
    intake = Intake("test", "records", bench.database, judges, kept=10_000)
    assert await take(bench, [good()], intake) == [False]
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
    assert (watch.rows_seen, watch.state) == (20, None)
    assert not await bench.rows("SELECT 1 FROM panes")


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=300_000)])
async def test_a_clock_in_the_future_opens_no_pane_there(bench: Bench, ahead: timedelta) -> None:
    body = good()
    body.event_times_us[3] = int(NOW_MS * 1000 + ahead.total_seconds() * 1e6)
    assert await take(bench, [body, good()]) == [False, False]
    latest = datetime.fromtimestamp(NOW_MS / 1000, UTC) + AHEAD
    (newest,) = await bench.rows("SELECT max(began) AS began, sum(1) AS panes FROM panes")
    assert newest["began"] <= latest
    assert (await total(bench)).rows == 40


def with_numbers(rows: int, numbers: list[float], code: int | None = None) -> pb.InferenceRecorded:
    """A batch with these numbers over and over in every number, and perhaps one code in every text."""
    made = good(rows)
    for column in (*made.inputs, *made.outputs):
        if column.numbers:
            column.numbers[:] = numbers * (rows // len(numbers))
        elif code is not None:
            column.codes[:] = [code] * rows
    return made


async def test_nan_and_infinity_in_every_place_are_counted_where_they_belong(bench: Bench) -> None:
    rows = 20
    nothing = with_numbers(rows, [float("nan")], code=-1)
    endless = with_numbers(rows, [float("inf"), float("-inf")])
    assert await take(bench, [nothing, endless]) == [False, False]
    window = await total(bench)
    for feature in bench.judge.profile.features:
        assert window.of(feature.name)[-1] == rows
    age = window.of("age")
    assert (age[0], age[-2]) == (rows // 2, rows // 2)


async def test_a_batch_of_a_hundred_megabytes_counts_like_any_other(bench: Bench) -> None:
    rows = 100_000
    text = CodedText(RANDOM.integers(0, 4, rows), ("school", "college", "masters", "none"))
    body = pb.InferenceRecorded(model="credit", version=1, environment="production", epoch=1, arm=pb.ARM_STABLE)
    body.server, body.batch = "large", 1
    body.record_ids = RANDOM.bytes(16 * rows)
    body.event_times_us.extend([NOW_MS * 1000] * rows)
    for name in ("age", "gains", *(f"unused-{place:03}" for place in range(120))):
        body.inputs.add(name=name, numbers=np.ones(rows))
    body.inputs.add(name="education", dictionary=text.dictionary, codes=text.codes)
    body.outputs.add(name="score", numbers=np.full(rows, 0.5))
    assert body.ByteSize() > 95 * 2**20
    assert await take(bench, [good(), body, good()]) == [False, False, False]
    assert (await total(bench)).rows == rows + 40
