"""Records that promise something, the outcomes that turn out of them, and how the promise is kept then."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1 import events_pb2 as told
from services.monitor import batches, handlers, joining, queries
from services.monitor.domain.promise import Promise
from tests.monitor.made_up import batch_of, credit

if TYPE_CHECKING:
    from tests.monitor.conftest import Bench

WEEK = timedelta(days=7)
PROMISE = Promise("log_loss", 0.4, WEEK, segments=("education",), amount="gains")


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
    """An outcome, as it is told now."""
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
    """What was told of broken promises."""
    rows = await bench.rows("SELECT body FROM signals WHERE level = 'degraded'")
    return [told.Signal.FromString(row["body"]) for row in rows]
