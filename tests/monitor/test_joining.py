"""Records meet their outcomes, late, repeated, corrected or never, and each counts once."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.errors import Invalid
from services.monitor import batches, handlers
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import Promise
from services.monitor.join_store import PATIENCE, is_kept
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.outcomes import WEEK, arrive, count, outcome, turn_out

pytestmark = pytest.mark.servers


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
