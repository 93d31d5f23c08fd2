"""Outcomes of records that nobody keeps any more: what became of them is said when they come, and once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest

from services.chassis import instruments
from services.modelserver.record_ids import new_ids
from services.monitor import handlers
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import Promise
from services.monitor.join_store import PATIENCE
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.outcomes import arrive, count, outcome

pytestmark = pytest.mark.servers

WEEK = timedelta(days=7)
YEARS = timedelta(days=3 * 365)
PROMISED = pytest.mark.parametrize(
    "promise", [pytest.param(Promise("log_loss", 0.4, WEEK), id="followed"), pytest.param(None, id="only sampled")]
)


def became(result: str) -> float:
    """How many outcomes became this, so far in this process."""
    return float(instruments.MONITOR_OUTCOMES.labels(result)._value.get())


def ids(bench: Bench, rows: int = 1) -> list[bytes]:
    """Ids as a model server gives them now."""
    return new_ids(int(bench.clock.now().timestamp() * 1e3), rows)


async def tell(bench: Bench, records: Sequence[uuid.UUID], value: float = 1.0) -> None:
    async with bench.database.begin() as uow:
        for record in records:
            await handlers.take_outcome(outcome(bench, record, value), uow)


async def long_ago(bench: Bench, promise: Promise | None) -> uuid.UUID:
    """A record of years ago, with so many since that it isn't kept any more."""
    bench.judge = Judge(profile(), Settings(), promise)
    old = ids(bench, 400)
    await arrive(bench, record_ids=b"".join(old))
    bench.clock.advance(PATIENCE * WEEK)
    await count(bench)
    bench.clock.advance(YEARS)
    for _ in range(3):
        await arrive(bench, rows=4_000)
    bench.clock.advance(PATIENCE * WEEK)
    await count(bench)
    await arrive(bench, rows=4_000)
    return uuid.UUID(bytes=old[0])


@PROMISED
async def test_an_outcome_that_comes_years_late_is_expired_and_counted_once(
    bench: Bench, promise: Promise | None
) -> None:
    record = await long_ago(bench, promise)
    before, kept, unmatched = became("expired"), became("kept"), became("unmatched")
    await tell(bench, [record])
    assert (became("expired") - before, became("kept") - kept) == (1, 0)
    async with bench.database.begin() as uow:
        await uow.outcomes._prune("credit", 0)
    assert became("unmatched") == unmatched


@PROMISED
async def test_an_id_that_says_no_time_and_one_of_today_may_still_be_waited_for(
    bench: Bench, promise: Promise | None
) -> None:
    await long_ago(bench, promise)
    before, kept = became("expired"), became("kept")
    await tell(bench, [uuid.uuid4(), uuid.UUID(bytes=ids(bench)[0])])
    assert (became("expired") - before, became("kept") - kept) == (0, 2)


async def test_where_no_record_came_yet_nothing_is_too_old(bench: Bench) -> None:
    old = ids(bench)
    bench.clock.advance(YEARS)
    before = became("expired")
    await tell(bench, [uuid.UUID(bytes=old[0])])
    assert became("expired") == before


async def test_a_record_of_years_ago_that_comes_after_its_outcome_still_has_it(bench: Bench) -> None:
    promise = Promise("log_loss", 0.4, WEEK)
    record = await long_ago(bench, promise)
    old = uuid.UUID(bytes=new_ids(int((bench.clock.now() - YEARS).timestamp() * 1e3), 1)[0])
    await tell(bench, [record, old])
    before = await count(bench)
    await arrive(bench, rows=1, record_ids=old.bytes)
    bench.clock.advance(PATIENCE * WEEK)
    after = await count(bench)
    assert after.known - before.known == 1


@PROMISED
async def test_no_record_of_a_batch_that_spans_days_is_expired_while_the_batch_is_kept(
    bench: Bench, promise: Promise | None
) -> None:
    bench.judge = Judge(profile(), Settings(), promise)
    moments = [bench.clock.now() - timedelta(days=days) for days in (5, 3, 0)]
    told = [new_ids(int(moment.timestamp() * 1e3), 1)[0] for moment in moments]
    times = [int(moment.timestamp() * 1e6) for moment in moments]
    body = batch_of(credit(bench.random, 3), np.full(3, 0.1), record_ids=b"".join(told), event_times_us=times)
    await bench.take(body)
    before, kept = became("expired"), became("kept")
    await tell(bench, [uuid.UUID(bytes=each) for each in told])
    assert (became("expired") - before, became("kept") - kept) == (0, 3)
    older = new_ids(int((moments[0] - timedelta(days=2)).timestamp() * 1e3), 1)[0]
    await tell(bench, [uuid.UUID(bytes=older)])
    assert became("expired") - before == 1
