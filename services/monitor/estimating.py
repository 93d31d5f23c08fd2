"""Performance before outcomes come: what is expected of records as they arrive, and how that compares with the truth.

Records are added to their batch's day in the transaction that moved the stream, so each counts once. The day is the one
under which their outcomes will be counted (`joining`), so a day's estimate and its truth are of the same records.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time

import structlog

from goldenpath.monitor.v1 import events_pb2 as pb
from services.chassis.database import Connection
from services.chassis.errors import Invalid
from services.monitor.batches import SCORE
from services.monitor.domain import estimated, tallies
from services.monitor.domain.estimated import Estimated
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import FOLLOWED, Promise
from services.monitor.estimate_store import Estimates
from services.monitor.packed import Batch
from services.monitor.performance_store import Day, Days
from services.monitor.store import MonitorUnitOfWork
from services.profile.expected import Expected
from services.profile.vectors import with_numbers

_log = structlog.get_logger()


def estimate_of(batch: Batch, judge: Judge) -> Estimated | None:
    """What is expected of a batch's records; None where nothing is, or outcomes aren't followed.

    It is only shown. So a batch that it can't be told of counts everywhere else.
    """
    profile = judge.profile
    if profile.expected is None or judge.promise is None:
        return None
    columns = with_numbers(profile.vectors, batch.columns)
    try:
        return estimated.estimate(profile.expected, judge.promise, columns, SCORE, batch.rows)
    except Invalid as error:
        _log.warning("nothing is expected of a batch", model=batch.head.model, reason=str(error))
        return None


async def add(watch: int, told: Sequence[tuple[datetime, Estimated]], uow: MonitorUnitOfWork) -> None:
    """Add what is expected of batches, each with its newest record's time, to their days."""
    if not told:
        return
    days = [newest_at.astimezone(UTC).date() for newest_at, _ in told]
    before = {day: _read(sums) for day, sums in (await uow.estimates.of(watch, days)).items()}
    together: dict[date, Estimated] = {}
    for day, (_, said) in zip(days, told, strict=True):
        so_far = together.get(day) or before.get(day)
        together[day] = so_far + said if so_far and so_far.is_like(said) else said  # else another release wrote it
    await uow.estimates.save(watch, {day: estimated.to_bytes(said) for day, said in together.items()})
    if together.keys() - before.keys():  # a new day, and so perhaps one too many
        await uow.estimates.keep(watch, FOLLOWED.days)


async def performance(
    watch: int, expected: Expected | None, promise: Promise, connection: Connection
) -> pb.EstimatedPerformance | None:
    """How a watch probably does, over the last 28 days with records; None where nothing is expected of any."""
    if expected is None:
        return None
    kept = [(day, _read(sums)) for day, sums in await Estimates(connection).all(watch)]
    said = {day: each for day, each in kept if each and estimated.fits(expected, each)}
    if not said:
        return None
    first, *others = said.values()
    together = sum(others, start=first)
    found = pb.EstimatedPerformance(
        metric=promise.metric,
        limit=promise.loss_limit,
        rows=together.rows,
        metrics=estimated.metrics_of(expected, together),
    )
    if estimated.has_loss(promise):
        found.loss = together.mean_loss()
        truth = {day.day: day for day in await Days(connection).since(watch, min(said))}
        found.days.extend(_day(day, each, truth.get(day), expected, promise) for day, each in said.items())
    return found


def _day(day: date, said: Estimated, came_due: Day | None, expected: Expected, promise: Promise) -> pb.EstimatedDay:
    found = pb.EstimatedDay(rows=said.rows, expected=said.mean_loss())
    found.day.FromDatetime(datetime.combine(day, time(), UTC))
    if came_due is not None:
        sums = tallies.from_bytes(came_due.sums)
        if sums.rows:
            found.known = sums.rows
            found.actual = estimated.true_loss(promise, came_due.loss, sums)
            found.deviation = said.deviation(sums.rows, expected.rows)
    return found


def _read(kept: bytes) -> Estimated | None:
    """What was kept of a day; None where another release wrote it in another form."""
    try:
        return estimated.from_bytes(kept)
    except Invalid:
        return None
