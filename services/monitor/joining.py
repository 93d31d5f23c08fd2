"""The join of records and outcomes: records wait until their outcome came or won't, then count, in their own order.

A batch of a version that follows its outcomes waits in the transaction that moved the stream, so each waits once. It is
due when its newest record's time and the promised `within` have gone by, as records and outcomes tell the time (or,
where they stopped coming, our clock). What is due is counted in one transaction: its outcomes are closed, the day's
sums and the confidence sequences grow, and a broken promise is told. An outcome that comes after that changes no
number; it is there for whoever asks whether another version would have done better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from goldenpath.monitor.v1 import events_pb2 as pb
from services.chassis import instruments
from services.chassis.database import Connection
from services.chassis.topics import MONITOR
from services.monitor import due, events
from services.monitor.domain import tallies
from services.monitor.domain.promise import FOLLOWED, Kept, Promise, Segment, carrying, first_followed
from services.monitor.domain.tallies import Sums
from services.monitor.due import Rows
from services.monitor.join_store import Join, Waiting
from services.monitor.performance_store import Day, Days
from services.monitor.segments import Apart
from services.monitor.signalling import signalling
from services.monitor.store import MonitorUnitOfWork, Watch

if TYPE_CHECKING:
    from services.monitor.handlers import Arrived

DEGRADED: Final = "degraded"
_MOST_TOLD: Final = 50  # segments


_Place: TypeAlias = tuple[date, str, str]
"""A day, and a segment's feature and value."""


class _Added(NamedTuple):
    """What records of a day and a segment add up to."""

    rows: int
    loss: float
    sums: Sums

    @classmethod
    def of(cls, day: Day) -> _Added:
        """What was kept of a day."""
        return cls(day.rows, day.loss, tallies.from_bytes(day.sums))

    def and_(self, more: _Added) -> _Added:
        """Both together."""
        return _Added(self.rows + more.rows, self.loss + more.loss, tallies.together(self.sums, more.sums))


async def wait(
    watch: Watch, arrived: Sequence[Arrived], promise: Promise, uow: MonitorUnitOfWork, *, most: int
) -> None:
    """Let batches wait; where more than `most` records do, keep half of them."""
    halvings = await uow.join.halvings(watch.model)
    kept = [Waiting(*due.waiting_body(each.data, halvings), each.oldest_at, each.newest_at) for each in arrived]
    waiting = await uow.join.wait(watch.id, [each for each in kept if each.rows], within=promise.within, at=uow.now)
    if waiting > most:
        halvings = await uow.join.halve(watch.model)
        held = await uow.join.all_open(watch.id)
        await uow.join.thin(watch.id, {each.id: due.thinned(each.body, halvings) for each in held})


async def count_due(watch_id: int, promise: Promise, uow: MonitorUnitOfWork) -> bool:
    """Count what is due of a watch, or a part of it; False where nothing is."""
    watch = await uow.watches.get(watch_id)
    await uow.watches.lock(watch.model, watch.environment)
    came = await uow.join.due(watch.id, uow.now)
    if not came:
        return False
    halvings = await uow.join.halvings(watch.model)  # another watch of the model may have made it keep less
    told = due.told_of(came, halvings)
    ids = [one for each in told for one in each.ids]
    rows = due.rows_of(told, await uow.join.outcomes(watch.model, ids), promise)
    await uow.join.counted(watch.id, [each.id for each in came], sum(each.rows for each in came), uow.now)
    told_before = await uow.join.kept(watch.id)
    before = kept = Kept.from_bytes(told_before) if told_before else Kept()
    for each in rows:
        kept = kept.after(promise, each.day, each.losses(promise), known=int(each.known.sum()))
    await uow.join.save(watch.id, kept.to_bytes())
    if rows:
        await _add_days(watch, rows, promise, uow.days)
    instruments.MONITOR_DUE.labels("known").inc(kept.known - before.known)
    instruments.MONITOR_DUE.labels("missing").inc(kept.missing - before.missing)
    await _tell(watch, kept, promise, uow)
    return True


async def performance(watch: int, promise: Promise, connection: Connection) -> pb.Performance | None:
    """How a watch keeps its promise, with every day and segment; None where nothing came due yet."""
    told = await Join(connection).kept(watch)
    return await _performance(watch, Kept.from_bytes(told), promise, Days(connection), whole=True) if told else None


async def _performance(watch: int, kept: Kept, promise: Promise, days: Days, *, whole: bool) -> pb.Performance:
    """How a promise is kept: what a signal tells, or the whole of it."""
    newest = await days.newest(watch)
    followed = await days.since(watch, first_followed(newest)) if newest else []
    sums = tallies.all_of(promise, [tallies.from_bytes(day.sums) for day in followed])
    found = pb.Performance(
        metric=promise.metric,
        limit=promise.loss_limit,
        bound=promise.bound,
        known=kept.known,
        missing=kept.missing,
        metrics=tallies.metrics_of(sums, promise.cost),
    )
    surest = kept.surest()
    if surest is not None:
        began, watched = surest
        found.lower, found.upper = watched.interval()
        found.loss = watched.bound * watched.total / watched.rows if watched.rows else 0.0
        found.rows = watched.rows
        found.since.FromDatetime(datetime.combine(began, time(), UTC))
        found.segments.extend(await _segments(watch, began, promise, days, whole=whole))
    if whole:
        found.days.extend(_day(day, promise) for day in followed)
    return found


def _day(day: Day, promise: Promise) -> pb.DayPerformance:
    sums = tallies.from_bytes(day.sums)
    found = pb.DayPerformance(rows=sums.rows, metrics=tallies.metrics_of(sums, promise.cost))
    found.day.FromDatetime(datetime.combine(day.day, time(), UTC))
    if promise.judged and sums.rows:
        found.loss = day.loss / sums.rows
    return found


async def _segments(
    watch: int, since: date, promise: Promise, days: Days, *, whole: bool
) -> list[pb.SegmentPerformance]:
    """The segments that carry what is lost beyond the promise; or, of the whole, all others too, and their metrics."""
    segments = await days.segments(watch, since)
    shares = dict(carrying(segments, promise.loss_limit))
    others = sorted((each for each in segments if each not in shares), key=lambda each: -each.rows) if whole else []
    told = [*shares, *others][:_MOST_TOLD]
    sums = await days.segment_sums(watch, since, [(each.feature, each.value) for each in told]) if whole else {}
    return [_segment(each, shares.get(each, 0.0), sums.get((each.feature, each.value), ()), promise) for each in told]


def _segment(each: Segment, share: float, sums: Sequence[bytes], promise: Promise) -> pb.SegmentPerformance:
    together = tallies.all_of(promise, map(tallies.from_bytes, sums))
    return pb.SegmentPerformance(
        feature=each.feature,
        value=each.value,
        rows=each.rows,
        loss=each.loss / each.rows,
        share=share,
        metrics=tallies.metrics_of(together, promise.cost) if sums else {},
    )


async def _tell(watch: Watch, kept: Kept, promise: Promise, uow: MonitorUnitOfWork) -> None:
    """Tell that the promise is broken, once in a role: a person, or a newer version, ends that."""
    surest = kept.surest()
    broken = surest is not None and surest[1].interval()[0] > promise.loss_limit
    if not broken or watch.ended_at is not None or await uow.signals.degraded(watch.id):
        return
    found = await _performance(watch.id, kept, promise, uow.days, whole=False)
    signal = events.degraded_of(watch, found, promise, uow.now)
    with signalling(watch, DEGRADED):
        await uow.signals.raise_(watch.id, DEGRADED, signal, since=signal.since.ToDatetime(UTC), at=uow.now)
        uow.emit(MONITOR, "performance.degraded", f"model/{watch.model}", pb.PerformanceDegraded(signal=signal))


async def _add_days(watch: Watch, rows: Sequence[Rows], promise: Promise, days: Days) -> None:
    """Add what came due to the sums of its days and their segments."""
    told = await days.places(watch.id, {each.day for each in rows})
    together: dict[_Place, _Added] = {}
    apart = Apart(told)
    for place, more in (added for each in rows for added in _added(each, promise, apart)):
        together[place] = together[place].and_(more) if place in together else more
    for before in await days.at(watch.id, together):
        place = before.day, before.feature, before.value
        together[place] = _Added.of(before).and_(together[place])
    grown = [Day(*place, each.rows, each.loss, tallies.to_bytes(each.sums)) for place, each in together.items()]
    await days.save(watch.id, grown)
    if {day for day, _, _ in together} - {day for day, _, _ in told}:  # a new day, and so perhaps one too many
        await days.keep(watch.id, FOLLOWED.days)


def _added(rows: Rows, promise: Promise, apart: Apart) -> Iterator[tuple[_Place, _Added]]:
    losses, known = rows.losses(promise), rows.known
    everything = np.ones(known.size, dtype=np.bool_)
    chosen = [("", "", everything)]
    for feature, values in rows.segments.items():
        chosen += [(feature, value, which) for value, which in apart.split(rows.day, feature, values)]
    for feature, value, which in chosen:
        those = which & known
        sums = tallies.sums_of(promise, rows.scores[those], rows.outcomes[those], rows.amounts[those])
        yield (rows.day, feature, value), _Added(int(which.sum()), float(losses[which].sum()), sums)
