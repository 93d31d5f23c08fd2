"""A promise that is broken is told once, with what carries it, and one that is kept never is."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from goldenpath.monitor.v1 import events_pb2 as told
from services.monitor import batches, handlers, queries
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.performance import CostMatrix
from services.monitor.domain.promise import Promise
from services.monitor.join_store import PATIENCE
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.outcomes import PROMISE, WEEK, arrive, count, outcome, signals, turn_out

pytestmark = pytest.mark.servers


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
