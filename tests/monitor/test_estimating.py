"""What is expected of records before their outcomes come, day by day, and the truth beside it when it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1 import monitor_service_pb2 as api
from services.monitor import batches, handlers, queries
from services.monitor.domain.budget import Settings
from services.monitor.domain.estimated import Estimated, to_bytes
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import Promise
from services.profile.columns import Numbers
from services.registry.clients.expecting import expected_of
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.outcomes import count, outcome, turn_out

pytestmark = pytest.mark.servers

WEEK = timedelta(days=7)
PROMISE = Promise("log_loss", 0.4, WEEK)


def turned_out(random: np.random.Generator, scores: Numbers) -> Numbers:
    """Half as likely as the scores say."""
    return (random.random(scores.size) < scores / 2).astype(float)


@pytest.fixture
def expecting(bench: Bench) -> Bench:
    """A monitor whose version has a reference with outcomes, and promises a log loss of at most 0.4."""
    random = np.random.default_rng(5)
    scores = random.beta(1, 9, 20_000)
    whole = profile()
    expected = expected_of(whole, credit(random, 20_000), scores, turned_out(random, scores))
    bench.judge = Judge(replace(whole, expected=expected), Settings(), PROMISE)
    return bench


async def arrive(bench: Bench, rows: int = 1_000, **more: object) -> pb.InferenceRecorded:
    """A batch of records arrives, a day after the one before."""
    bench.clock.advance(timedelta(days=1))
    times = [int(bench.clock.now().timestamp() * 1e6)] * rows
    body = batch_of(credit(bench.random, rows), bench.random.beta(1, 9, rows), event_times_us=times, **more)  # type: ignore[arg-type]
    await bench.take(body)
    return body


async def some_turn_out(bench: Bench, body: pb.InferenceRecorded, outcomes: Sequence[float]) -> None:
    """Outcomes of a batch's first records arrive."""
    async with bench.database.begin() as uow:
        for record, value in zip(batches.ids_of(body), outcomes, strict=False):
            await handlers.take_outcome(outcome(bench, record, value), uow)


async def report(bench: Bench) -> api.GetReportResponse:
    async with bench.database.begin() as uow:
        watch = await queries.find_watch("credit", "production", 1, uow.connection)
        return await queries.report(watch, bench.judge, uow.connection)


async def test_it_is_said_at_once_and_held_against_the_truth_when_that_comes(expecting: Bench) -> None:
    first = await arrive(expecting)
    at_once = (await report(expecting)).estimated
    assert (at_once.rows, at_once.metric, at_once.limit) == (1_000, "log_loss", 0.4)
    assert not at_once.days[0].HasField("actual")
    assert at_once.metrics["auc"] > 0.6

    outcomes = turned_out(expecting.random, np.array(batches.scores_of(first))).tolist()
    await some_turn_out(expecting, first, outcomes[:600])
    expecting.clock.advance(WEEK)
    second = await arrive(expecting)
    await turn_out(expecting, second)
    await count(expecting)

    found = await report(expecting)
    day, newest = found.estimated.days
    assert day.known == found.performance.known == 600
    assert abs(day.actual - day.expected) < 4 * day.deviation
    assert day.actual == pytest.approx(found.performance.metrics["log_loss"], rel=0.05)  # which is of more than 0.001
    assert not newest.HasField("actual")
    assert found.estimated.rows == 2_000


async def test_a_batch_that_comes_twice_counts_once(expecting: Bench) -> None:
    body = await arrive(expecting)
    await expecting.take(body)
    assert (await report(expecting)).estimated.rows == 1_000


async def test_days_of_one_poll_are_told_apart_and_those_before_grow(expecting: Bench) -> None:
    await arrive(expecting)
    expecting.clock.advance(timedelta(days=2))
    now = int(expecting.clock.now().timestamp() * 1e6)
    day = 86_400_000_000
    rows, random = 500, expecting.random
    times = [now - 2 * day, now - day, now]
    await expecting.take(
        *(batch_of(credit(random, rows), random.beta(1, 9, rows), event_times_us=[at] * rows) for at in times)
    )
    assert [each.rows for each in (await report(expecting)).estimated.days] == [1_500, 500, 500]


async def test_older_days_than_four_weeks_are_left_out(expecting: Bench) -> None:
    await arrive(expecting)
    expecting.clock.advance(timedelta(days=26))
    await arrive(expecting)
    assert (await report(expecting)).estimated.rows == 2_000  # on the first day of 28, and the last
    await arrive(expecting)
    assert (await report(expecting)).estimated.rows == 2_000
    assert len(await expecting.rows("SELECT FROM estimates")) == 2
    long_ago = int((expecting.clock.now() - timedelta(days=40)).timestamp() * 1e6)
    await expecting.take(batch_of(credit(expecting.random, 10), np.full(10, 0.1), event_times_us=[long_ago] * 10))
    assert (await report(expecting)).estimated.rows == 2_000


async def test_a_day_that_another_release_wrote_begins_anew_and_nothing_waits(expecting: Bench) -> None:
    body = await arrive(expecting)
    async with expecting.database.begin() as uow:
        await uow.connection.execute("UPDATE estimates SET sums = 'of another form'")
    assert not (await report(expecting)).HasField("estimated")
    times = body.event_times_us
    await expecting.take(batch_of(credit(expecting.random, 1_000), np.full(1_000, 0.1), event_times_us=list(times)))
    assert (await report(expecting)).estimated.rows == 1_000


async def test_a_day_of_another_kind_begins_anew_too(expecting: Bench) -> None:
    body = await arrive(expecting)
    other = to_bytes(Estimated(np.ones(7, dtype=np.int64), 0, 0, 0))
    async with expecting.database.begin() as uow:
        await uow.connection.execute("UPDATE estimates SET sums = $1", other)
    assert not (await report(expecting)).HasField("estimated")
    times = list(body.event_times_us)
    await expecting.take(batch_of(credit(expecting.random, 1_000), np.full(1_000, 0.1), event_times_us=times))
    assert (await report(expecting)).estimated.rows == 1_000


async def test_records_without_a_usable_score_are_counted_everywhere_else(expecting: Bench) -> None:
    await expecting.take(batch_of(credit(expecting.random, 10), np.full(10, np.nan)))
    found = await report(expecting)
    assert found.rows_seen == 10
    assert not found.HasField("estimated")


async def test_a_version_whose_reference_has_no_outcomes_is_not_estimated(expecting: Bench) -> None:
    expecting.judge = Judge(profile(), Settings(), PROMISE)
    await arrive(expecting)
    assert not (await report(expecting)).HasField("estimated")


async def test_however_bad_it_looks_nothing_is_signalled(expecting: Bench) -> None:
    """A broken promise is told by outcomes alone."""
    strict = replace(PROMISE, limit=0.001)
    expecting.judge = Judge(expecting.judge.profile, Settings(), strict)
    body = await arrive(expecting)
    said = (await report(expecting)).estimated
    assert said.loss > 10 * said.limit
    assert await expecting.rows("SELECT FROM signals WHERE level = 'degraded'") == []
    await some_turn_out(expecting, body, [1.0] * 1_000)
    expecting.clock.advance(WEEK)
    await turn_out(expecting, await arrive(expecting))
    await count(expecting)
    assert len(await expecting.rows("SELECT FROM signals WHERE level = 'degraded'")) == 1
