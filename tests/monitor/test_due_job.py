"""What can't be counted holds up its own watch alone, is seen, and goes on by itself once it can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from services.chassis import instruments
from services.chassis.errors import Unavailable
from services.chassis.leases import Lease, Leases
from services.monitor import queries
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import Promise
from services.monitor.due_job import DueJob
from services.monitor.join_store import PATIENCE
from services.monitor.uncounted_store import LAST
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.test_intake import Remembered

pytestmark = pytest.mark.servers

WEEK = timedelta(days=7)
SOON = timedelta(seconds=1)


class Broken(Remembered):
    """Judges of which one version's has a bug, for as long as it has."""

    bug: Exception | None = ValueError("a bug with 'secrets' in it")

    async def of(self, model: str, version: int) -> Judge:
        if self.bug and model == "poisoned":
            raise self.bug
        return await super().of(model, version)


@pytest.fixture
async def waiting(bench: Bench) -> Bench:
    """A monitor with two models whose records are due."""
    bench.judge = Judge(profile(), Settings(), Promise("log_loss", 0.4, WEEK))
    times = [int(bench.clock.now().timestamp() * 1e6)] * 100
    for model in ("poisoned", "sound"):
        scores = bench.random.beta(1, 9, 100)
        await bench.take(batch_of(credit(bench.random, 100), scores, model=model, event_times_us=times))
    bench.clock.advance(PATIENCE * WEEK)
    return bench


@pytest.fixture
async def lease(waiting: Bench) -> AsyncIterator[Lease]:
    """The job's lease, which is ours."""
    leases = Leases(waiting.database, duration=timedelta(minutes=10))
    held = await leases.acquire("due")
    assert held
    yield held
    await leases.release(held)


def job(bench: Bench, judges: Any = None) -> DueJob:
    leases = Leases(bench.database, duration=timedelta(minutes=10))
    return DueJob(bench.database, leases, judges or Remembered(bench.judge))


async def open_rows(bench: Bench) -> dict[str, int]:
    """How many records wait, by model."""
    rows = await bench.rows("SELECT model, open_rows FROM promises p JOIN watches w ON w.id = p.watch")
    return {row["model"]: row["open_rows"] for row in rows}


async def tries(bench: Bench) -> list[int]:
    return [row["tries"] for row in await bench.rows("SELECT tries FROM uncounted")]


async def test_poison_holds_up_its_own_watch_alone_and_is_named(waiting: Bench, lease: Lease) -> None:
    async with waiting.database.begin() as uow:
        await uow.connection.execute(
            "UPDATE promises SET kept = 'poison' FROM watches w WHERE w.id = watch AND model = 'poisoned'"
        )
    counting = job(waiting)
    await counting.round(lease)
    assert await open_rows(waiting) == {"poisoned": 100, "sound": 0}
    assert instruments.MONITOR_UNCOUNTED._value.get() == 1
    with pytest.raises(Unavailable, match=r"poisoned/production, version 1 as stable, since .* in 1 tries: what was"):
        await job(waiting).ready()  # of whichever replica
    async with waiting.database.read() as connection:
        watch = await queries.find_watch("poisoned", "production", 1, connection)
        report = await queries.report(watch, waiting.judge, connection)
    assert (report.rows_seen, report.HasField("performance")) == (100, False)


async def test_a_bug_is_named_without_what_it_says_and_logged_once_a_try(waiting: Bench, lease: Lease) -> None:
    counting = job(waiting, Broken(waiting.judge))
    with capture_logs() as logged:
        for _ in range(5):
            await counting.round(lease)
    assert await open_rows(waiting) == {"poisoned": 100, "sound": 0}
    assert [each["exc_info"] for each in logged if each["log_level"] == "error"] == [Broken.bug]
    with pytest.raises(Unavailable, match="ValueError, which nobody foresaw") as raised:
        await counting.ready()
    assert "secrets" not in str(raised.value)


async def test_tries_come_later_and_later_and_in_the_end_every_few_minutes(waiting: Bench, lease: Lease) -> None:
    counting = job(waiting, Broken(waiting.judge))
    await counting.round(lease)
    for wait in (timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=4)):
        before = await tries(waiting)
        waiting.clock.advance(wait - timedelta(milliseconds=1))
        await counting.round(lease)
        assert await tries(waiting) == before
        waiting.clock.advance(timedelta(milliseconds=1))
        await counting.round(lease)
        assert await tries(waiting) == [before[0] + 1]
    for _ in range(20):
        waiting.clock.advance(LAST)
        await counting.round(lease)
    assert await tries(waiting) == [24]


async def test_it_goes_on_by_itself_once_it_can(waiting: Bench, lease: Lease) -> None:
    judges = Broken(waiting.judge)
    counting = job(waiting, judges)
    await counting.round(lease)
    judges.bug = None
    waiting.clock.advance(SOON)
    await counting.round(lease)
    assert await open_rows(waiting) == {"poisoned": 0, "sound": 0}
    assert instruments.MONITOR_UNCOUNTED._value.get() == 0
    await counting.ready()


async def test_of_many_that_fail_a_few_are_named_and_the_others_counted(waiting: Bench) -> None:
    times = [int(waiting.clock.now().timestamp() * 1e6)] * 10
    for number in range(5):
        await waiting.take(batch_of(credit(waiting.random, 10), np.zeros(10), model=f"m{number}", event_times_us=times))
    async with waiting.database.begin() as uow:
        for row in await uow.connection.fetch("SELECT id FROM watches"):
            await uow.uncounted.put_off(row["id"], "no luck", uow.now)
    with pytest.raises(Unavailable, match=r"and of 4 more$"):
        await job(waiting).ready()


async def test_without_the_lease_nothing_is_counted_and_nothing_put_off(waiting: Bench, lease: Lease) -> None:
    await job(waiting).round(Lease("due", lease.token + 1))
    assert await open_rows(waiting) == {"poisoned": 100, "sound": 100}
    assert await tries(waiting) == []
