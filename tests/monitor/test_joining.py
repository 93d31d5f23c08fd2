"""Records meet their outcomes, late, repeated, corrected or never, and a broken promise is told once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1 import events_pb2 as told
from services.chassis.errors import Invalid
from services.monitor import batches, handlers, joining, queries
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.performance import CostMatrix
from services.monitor.domain.promise import Promise
from services.monitor.join_store import PATIENCE, is_kept
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile

pytestmark = pytest.mark.servers

WEEK = timedelta(days=7)
PROMISE = Promise("log_loss", 0.4, WEEK, segments=("education",), amount="gains")


@pytest.fixture
def promised(bench: Bench) -> Bench:
    """A monitor whose versions promise a log loss of at most 0.4."""
    bench.judge = Judge(profile(), Settings(), PROMISE)
    return bench


async def arrive(bench: Bench, rows: int = 400, **more: Any) -> pb.InferenceRecorded:
    """A batch of records arrives, a minute after the one before."""
    bench.clock.advance(timedelta(minutes=1))
    times = [int(bench.clock.now().timestamp() * 1e6)] * rows
    body = batch_of(credit(bench.random, rows), bench.random.beta(1, 9, rows), event_times_us=times, **more)
    await bench.take(body)
    return body


async def turn_out(bench: Bench, body: pb.InferenceRecorded, outcomes: Sequence[float] | None = None) -> None:
    """Outcomes of all records of a batch arrive: as the scores say, or as is said."""
    scores = np.array(batches.scores_of(body))
    values = outcomes if outcomes is not None else (bench.random.random(scores.size) < scores).astype(float).tolist()
    async with bench.database.begin() as uow:
        for record, value in zip(batches.ids_of(body), values, strict=True):
            await handlers.take_outcome(outcome(bench, record, value), uow)


def outcome(bench: Bench, record: uuid.UUID, value: float) -> ingest_pb.OutcomeRecorded:
    body = ingest_pb.OutcomeRecorded(model="credit", record_id=str(record), value=value)
    body.occurred_at.FromDatetime(bench.clock.now())
    return body


async def count(bench: Bench) -> told.Performance:
    """All that is due is counted; how the promise is kept then."""
    async with bench.database.begin() as uow:
        due = await uow.join.watches_due(uow.now)
        while any([await joining.count_due(watch, bench.judge.promise or PROMISE, uow) for watch in due]):
            pass
    async with bench.database.begin() as uow:
        watch = await queries.find_watch("credit", "production", 1, uow.connection)
        return await joining.performance(watch.id, bench.judge.promise or PROMISE, uow.connection) or told.Performance()


async def signals(bench: Bench) -> list[told.Signal]:
    rows = await bench.rows("SELECT body FROM signals WHERE level = 'degraded'")
    return [told.Signal.FromString(row["body"]) for row in rows]


async def test_records_count_once_they_are_due_and_not_before(promised: Bench) -> None:
    first = await arrive(promised)
    await turn_out(promised, first)
    assert (await count(promised)).known == 0
    promised.clock.advance(WEEK)
    newer = await arrive(promised)
    assert (await count(promised)).known == 0  # outcomes haven't come so far
    await turn_out(promised, newer)
    found = await count(promised)
    assert (found.known, found.missing) == (400, 0)
    assert found.metrics["log_loss"] == pytest.approx(found.loss, rel=0.01)


async def test_where_nothing_comes_any_more_our_clock_says_what_is_due(promised: Bench) -> None:
    await turn_out(promised, await arrive(promised))
    promised.clock.advance(PATIENCE * WEEK)
    assert (await count(promised)).known == 400


async def test_an_outcome_that_never_came_is_missing_and_one_too_late_changes_nothing(promised: Bench) -> None:
    body = await arrive(promised)
    promised.clock.advance(PATIENCE * WEEK)
    before = await count(promised)
    await turn_out(promised, body)
    assert await count(promised) == before
    assert (before.known, before.missing) == (0, 400)


async def test_the_newest_outcome_counts_until_its_record_is_due(promised: Bench) -> None:
    body = await arrive(promised)
    await turn_out(promised, body, [0.0] * 400)
    await turn_out(promised, body, [1.0] * 400)
    promised.clock.advance(PATIENCE * WEEK)
    corrected = await count(promised)
    await turn_out(promised, body, [0.0] * 400)
    assert await count(promised) == corrected
    assert corrected.metrics["log_loss"] > 1.5  # scores near 0, all of them wrong


async def test_outcomes_may_come_before_their_records(promised: Bench) -> None:
    times = [int(promised.clock.now().timestamp() * 1e6)] * 100
    body = batch_of(credit(promised.random, 100), promised.random.beta(1, 9, 100), event_times_us=times)
    await turn_out(promised, body)
    await promised.take(body)
    promised.clock.advance(PATIENCE * WEEK)
    assert (await count(promised)).known == 100


async def test_a_batch_that_comes_again_counts_once(promised: Bench) -> None:
    body = await arrive(promised)
    await promised.take(body)
    await turn_out(promised, body)
    promised.clock.advance(PATIENCE * WEEK)
    assert (await count(promised)).known == 400


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_an_outcome_that_is_no_number_is_refused(promised: Bench, value: float) -> None:
    with pytest.raises(Invalid, match="finite"):
        async with promised.database.begin() as uow:
            await handlers.take_outcome(outcome(promised, uuid.uuid4(), value), uow)


async def test_a_version_that_keeps_its_promise_is_never_told_of(promised: Bench) -> None:
    for _ in range(20):
        await turn_out(promised, await arrive(promised))
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    assert found.known == 8_000
    assert found.lower < found.loss < found.upper < PROMISE.limit
    assert not await signals(promised)


async def test_a_broken_promise_is_told_once_with_the_segment_that_carries_it(promised: Bench) -> None:
    for _ in range(40):
        body = await arrive(promised)
        education = batches.texts_of(next(column for column in body.inputs if column.name == "education"))
        wrong = [float(text == "college") for text in education]  # whom the model thinks to be safe
        await turn_out(promised, body, wrong)
    promised.clock.advance(PATIENCE * WEEK)
    await count(promised)
    await turn_out(promised, await arrive(promised), [1.0] * 400)
    promised.clock.advance(PATIENCE * WEEK)
    await count(promised)
    (signal,) = await signals(promised)
    assert signal.kind == told.SIGNAL_KIND_PERFORMANCE
    assert signal.performance.lower > PROMISE.limit
    assert signal.performance.segments[0].value == "college"
    assert signal.performance.segments[0].share > 0.95
    assert all(each.share for each in signal.performance.segments)
    assert not signal.performance.days
    assert "education = college" in signal.sentence
    (emitted,) = await promised.rows(
        "SELECT value FROM outbox WHERE 'performance.degraded'::bytea = ANY(header_values)"
    )
    assert told.PerformanceDegraded.FromString(emitted["value"]).signal.id == signal.id


async def test_what_a_signal_speaks_of_can_be_replayed(promised: Bench) -> None:
    for _ in range(20):
        await turn_out(promised, await arrive(promised), [1.0] * 400)
    promised.clock.advance(PATIENCE * WEEK)
    await count(promised)
    (signal,) = await signals(promised)
    async with promised.database.read() as connection:
        sample = await queries.sample(signal.id, 500, connection)
    assert (sample.rows, sample.rows_with_outcome) == (500, 500)
    assert {column.name for column in sample.inputs} == {"age", "education", "gains"}


async def test_the_join_is_bounded_and_keeps_both_sides_of_the_same_records(promised: Bench) -> None:
    promised.open_records = 1_000
    bodies = [await arrive(promised, rows=500) for _ in range(8)]
    for body in bodies:
        await turn_out(promised, body)
    (row,) = await promised.rows("SELECT halvings FROM joins")
    (waiting,) = await promised.rows("SELECT open_rows FROM promises")
    kept = [one for body in bodies for one in batches.ids_of(body) if is_kept(one.bytes, row["halvings"])]
    outcomes = await promised.rows("SELECT record_id FROM outcomes")
    assert waiting["open_rows"] == len(kept) <= 1_000
    assert {row["record_id"] for row in outcomes} == set(kept)
    promised.clock.advance(PATIENCE * WEEK)
    assert (await count(promised)).known == len(kept)


async def test_cost_is_promised_by_a_matrix(bench: Bench) -> None:
    cost = CostMatrix(fixed=((0.0, 10.0), (1.0, 1.0)))
    promise = Promise("cost", 0.5, WEEK, threshold=0.9, cost=cost)
    bench.judge = Judge(profile(), Settings(), promise)
    for _ in range(10):
        await turn_out(bench, await arrive(bench), [1.0] * 400)
    bench.clock.advance(PATIENCE * WEEK)
    await count(bench)
    (signal,) = await signals(bench)
    assert signal.performance.metrics["cost"] == pytest.approx(10.0, rel=0.05)
    async with bench.database.read() as connection:
        sample = await queries.sample(signal.id, 500, connection, promise)
    assert set(sample.costs_if_passed) == {10.0}
    assert set(sample.costs_if_flagged) == {1.0}
    assert sample.threshold == 0.9
    assert sample.records_a_day == pytest.approx(4_000 / (9 * 60) * 86_400)


async def test_outcomes_that_come_only_where_they_are_bad_break_no_promise(promised: Bench) -> None:
    for _ in range(20):
        body = await arrive(promised)
        scores = np.array(batches.scores_of(body))
        came = [one for one, bad in zip(batches.ids_of(body), promised.random.random(400) < scores, strict=True) if bad]
        async with promised.database.begin() as uow:
            for record in came:
                await handlers.take_outcome(outcome(promised, record, 1.0), uow)
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    assert found.missing > 6_000
    assert found.metrics["log_loss"] > 1.5  # of those that came
    assert not await signals(promised)


async def test_records_of_another_version_count_by_the_share_that_is_kept_when_they_are_due(promised: Bench) -> None:
    body = await arrive(promised, rows=500)
    await turn_out(promised, body)
    promised.open_records = 100
    await arrive(promised, rows=500, version=2, arm=pb.ARM_CANDIDATE)
    (row,) = await promised.rows("SELECT halvings FROM joins")
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    kept = sum(is_kept(one.bytes, row["halvings"]) for one in batches.ids_of(body))
    assert (found.known, found.missing) == (kept, 0)
    assert await promised.rows("SELECT open_rows FROM promises WHERE open_rows <> 0") == []


async def test_a_label_says_nothing_about_a_value(bench: Bench) -> None:
    bench.judge = Judge(profile(), Settings(), Promise("rmse", 0.4, WEEK))
    body = await arrive(bench)
    async with bench.database.begin() as uow:
        for record in batches.ids_of(body):
            told_wrong = ingest_pb.OutcomeRecorded(model="credit", record_id=str(record), label="yes")
            await handlers.take_outcome(told_wrong, uow)
    bench.clock.advance(PATIENCE * WEEK)
    found = await count(bench)
    assert (found.known, found.missing) == (0, 400)


async def test_a_report_says_that_the_promise_is_broken(promised: Bench) -> None:
    for _ in range(20):
        await turn_out(promised, await arrive(promised), [1.0] * 400)
    promised.clock.advance(PATIENCE * WEEK)
    await count(promised)
    async with promised.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        report = await queries.report(watch, promised.judge, connection)
    assert report.state == "degraded"
    assert "broke its promise" in report.sentence
    assert report.performance.lower > PROMISE.limit


async def test_a_report_has_each_segment_and_day_with_its_metrics(promised: Bench) -> None:
    for _ in range(3):
        promised.clock.advance(timedelta(days=1))
        await turn_out(promised, await arrive(promised))
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    assert [day.rows for day in found.days] == [400, 400, 400]
    assert sum(each.rows for each in found.segments) == 3 * 400
    assert {each.feature for each in found.segments} == {"education"}
    of_days = sum(day.metrics["log_loss"] * day.rows for day in found.days) / (3 * 400)
    of_segments = sum(each.metrics["log_loss"] * each.rows for each in found.segments) / (3 * 400)
    assert of_days == pytest.approx(found.metrics["log_loss"])
    assert of_segments == pytest.approx(found.metrics["log_loss"])


async def test_a_refund_costs_nothing_and_holds_up_nobody(bench: Bench) -> None:
    cost = CostMatrix(fixed=((0, 0), (0, 0)), of_amount=((0, 1), (0, 0)))
    bench.judge = Judge(profile(), Settings(), Promise("cost", 1.0, WEEK, amount="gains", cost=cost))
    columns = credit(bench.random, 100) | {"gains": np.array([-5.0, *[1.0] * 99])}
    times = [int(bench.clock.now().timestamp() * 1e6)] * 100
    body = batch_of(columns, np.full(100, 0.1), event_times_us=times)
    await bench.take(body)
    await turn_out(bench, body, [1.0] * 100)
    bench.clock.advance(PATIENCE * WEEK)
    assert (await count(bench)).loss == pytest.approx(0.99)


async def test_a_mark_for_something_missing_is_no_value(bench: Bench) -> None:
    bench.judge = Judge(profile(), Settings(), Promise("rmse", 1.0, WEEK))
    times = [int(bench.clock.now().timestamp() * 1e6)] * 50
    body = batch_of(credit(bench.random, 50), np.array([-1.7e308, *[0.1] * 49]), event_times_us=times)
    await bench.take(body)
    await turn_out(bench, body, [0.2] * 50)
    bench.clock.advance(PATIENCE * WEEK)
    found = await count(bench)
    assert (found.known, found.missing) == (49, 1)
    assert found.metrics["rmse"] == pytest.approx(0.1)


@pytest.mark.parametrize("moment", [2**62, -(2**62)], ids=["future", "past"])
async def test_a_clock_that_is_ages_off_holds_up_no_counting(promised: Bench, moment: int) -> None:
    times = [int(promised.clock.now().timestamp() * 1e6)] * 99
    body = batch_of(credit(promised.random, 100), np.full(100, 0.1), event_times_us=[*times, moment])
    await promised.take(body)
    await turn_out(promised, body)
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    assert (found.known, [day.rows for day in found.days]) == (100, [100])
