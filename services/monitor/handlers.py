"""What the monitor does with what it is told."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, groupby
from math import isfinite
from typing import Final, NamedTuple

import structlog

from goldenpath.deployer.v1 import events_pb2 as deployer_pb
from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.monitor.v1 import events_pb2 as pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.chassis import instruments
from services.chassis.errors import Invalid
from services.chassis.topics import MONITOR
from services.monitor import batches, estimating, events, joining, pairing, places
from services.monitor.domain.estimated import Estimated
from services.monitor.domain.findings import Cleared, Detected, Finding
from services.monitor.domain.judge import Judge
from services.monitor.domain.panes import Pane
from services.monitor.domain.state import State
from services.monitor.join_store import OPEN_RECORDS
from services.monitor.packed import kept_of
from services.monitor.sample_store import Outcome, Sampled
from services.monitor.signalling import signalling
from services.monitor.store import MonitorUnitOfWork, Watch
from services.profile import Window

_log = structlog.get_logger()
PRODUCTION: Final = "production"


class Place(NamedTuple):
    """Where records were served: in which role of which deployment, by which version, in which epoch."""

    model: str
    environment: str
    role: str
    version: int
    epoch: int


@dataclass(frozen=True)
class Arrived:
    """A batch of records that arrived, checked.

    Args:
        head: The batch without its records.
        data: Its bytes.
        rows: How many records it holds.
        oldest_at: Its oldest record's event time.
        newest_at: Its newest record's.
        panes: Its counts under its version's profile, by event time; none where the version has no profile, or the
            records count in no window.
        traceparent: The trace context in which it was sent.
        estimate: What is expected of its records; None where nothing is.
    """

    head: PackedBatch
    data: bytes
    rows: int
    oldest_at: datetime
    newest_at: datetime
    panes: tuple[Pane, ...]
    traceparent: str
    estimate: Estimated | None = None

    @property
    def window(self) -> Window:
        """Its counts, whatever the time; of a batch that has panes."""
        first, *others = (pane.window for pane in self.panes)
        return sum(others, start=first)

    @property
    def place(self) -> Place:
        """Where its records were served; without a role where they count in no window."""
        head = self.head
        role = batches.ROLES.get(head.arm, "")
        return Place(head.model, head.environment or PRODUCTION, role, head.version, head.epoch)


async def take_position(position: deployer_pb.Position, uow: MonitorUnitOfWork) -> None:
    """The deployer told who serves in which role."""
    environment = position.environment or PRODUCTION
    await uow.watches.lock(position.model, environment)
    for role, version in (("stable", position.stable_version), ("candidate", position.candidate_version)):
        present = await uow.watches.present(position.model, environment, role)
        past = await uow.watches.last_past_epoch(position.model, environment, role)
        if position.epoch <= past:
            continue  # it tells of a time that has passed
        if present and present.version == version:
            await uow.watches.date_back(present.id, min(present.epoch, position.epoch))
        elif present is None or present.epoch < position.epoch:
            if present:
                await uow.watches.end(present.id, uow.now)
            if version:
                await uow.watches.begin(position.model, environment, role, version, position.epoch, uow.now)


async def take_retired(position: deployer_pb.Position, uow: MonitorUnitOfWork) -> None:
    """A deployment is gone."""
    environment = position.environment or PRODUCTION
    await uow.watches.lock(position.model, environment)
    for role in batches.ROLES.values():
        present = await uow.watches.present(position.model, environment, role)
        if present:
            await uow.watches.end(present.id, uow.now)


async def forget_positions(uow: MonitorUnitOfWork) -> None:
    """Forget the read model, who serves in which role: a rebuild tells it again, and evidence restarts with it.

    Signals and samples are the monitor's own, and stay.
    """
    await uow.watches.forget_roles(uow.now)


async def take_outcome(body: ingest_pb.OutcomeRecorded, uow: MonitorUnitOfWork) -> None:
    """Something turned out to be true for a record, which may not have arrived yet."""
    try:
        record_id = uuid.UUID(body.record_id)
    except ValueError:
        raise Invalid(
            f"{body.record_id!r} is no record id", where="record_id", fix="send the one that was answered"
        ) from None
    if not body.model:
        raise Invalid("an outcome names its model", where="model")
    which = body.WhichOneof("outcome")
    if which is None:
        raise Invalid("an outcome has a value or a label", where="outcome")
    told_at = places.moment_of(body.occurred_at, "occurred_at") if body.HasField("occurred_at") else uow.now
    occurred = min(told_at, uow.now)
    value = body.value if which == "value" else None
    if value is not None and not isfinite(value):
        raise Invalid(f"an outcome is a finite number, not {value}", where="value")
    label = body.label if which == "label" else None
    uow.outcomes.add(Outcome(body.model, record_id, value, label, occurred))


async def take_records(
    arrived: Sequence[Arrived],
    judges: Mapping[tuple[str, int], Judge | None],
    uow: MonitorUnitOfWork,
    *,
    kept: int,
    open_records: int = OPEN_RECORDS,
) -> None:
    """Records arrived: each that is new enters its watch's evidence, and waits for its outcome, once."""
    new = await uow.records.admit([(batch.head.server, batch.head.batch) for batch in arrived], uow.now)
    fresh = [batch for batch in _first_of_each(arrived) if (batch.head.server, batch.head.batch) in new]
    await pairing.pair_records(fresh, judges, uow)
    served = sorted((batch for batch in fresh if batch.place.role), key=lambda batch: batch.place)
    for place, group in groupby(served, key=lambda batch: batch.place):
        watch = await _watch_of(place, uow)
        if watch is not None:
            judge, served_here = judges.get((watch.model, watch.version)), list(group)
            await _watch_records(watch, served_here, judge, uow, kept=kept)
            if judge is not None and judge.promise is not None:
                await joining.wait(watch, served_here, judge.promise, uow, most=open_records)
                told = [(batch.newest_at, batch.estimate) for batch in served_here if batch.estimate]
                await estimating.add(watch.id, told, uow)


async def _watch_of(place: Place, uow: MonitorUnitOfWork) -> Watch | None:
    """The watch that records belong to; it begins here where they are the first to tell. None: they came too late."""
    deployment = place.model, place.environment
    await uow.watches.lock(*deployment)
    present = await uow.watches.present(*deployment, place.role)
    if present and present.version == place.version:
        return present if place.epoch >= present.epoch else None
    past = present.epoch if present else await uow.watches.last_past_epoch(*deployment, place.role)
    if place.epoch <= past:
        return None
    if present:
        await uow.watches.end(present.id, uow.now)
    return await uow.watches.begin(*deployment, place.role, place.version, place.epoch, uow.now)


async def _watch_records(
    watch: Watch, arrived: Sequence[Arrived], judge: Judge | None, uow: MonitorUnitOfWork, *, kept: int
) -> None:
    seen = list(accumulate((batch.rows for batch in arrived), initial=watch.rows_seen))
    newest = [(batch, upto) for batch, upto in zip(arrived, seen[1:], strict=True) if upto > seen[-1] - kept]
    samples = [Sampled(kept_of(batch.data), upto, batch.oldest_at) for batch, upto in newest]
    await uow.records.keep(watch.id, samples, at=uow.now, older_than=seen[-1] - kept)
    await uow.watches.count(
        watch.id,
        rows=seen[-1] - watch.rows_seen,
        dropped=sum(batch.head.dropped for batch in arrived),
        newest=max(batch.newest_at for batch in arrived),
    )
    counted = [batch for batch in arrived if batch.panes]
    if judge is not None and counted:
        await uow.panes.add(watch.id, [pane for batch in counted for pane in batch.panes])
        await _judge(watch, judge, [batch.window for batch in counted], [batch.traceparent for batch in arrived], uow)


async def _judge(
    watch: Watch, judge: Judge, windows: Sequence[Window], links: list[str], uow: MonitorUnitOfWork
) -> None:
    state, findings = judge.observe(await _state_of(watch, judge, uow), windows, uow.now)
    await uow.watches.save_state(watch.id, state.to_bytes(), state.day, state.restarts)
    _gauge(watch, state, judge)
    for finding in findings:
        with signalling(watch, type(finding).__name__.lower(), links=links):
            await _tell(watch, finding, uow)


def _gauge(watch: Watch, state: State, judge: Judge) -> None:
    """Show how it stands now; of several replicas the one that saw it last is right."""
    labels = watch.model, watch.environment, watch.role
    instruments.MONITOR_SEEN.labels(*labels).set(state.rows_seen)
    instruments.MONITOR_EVIDENCE.labels(*labels).set(judge.log_evidence(state))
    instruments.MONITOR_DRIFTING.labels(*labels).set(len(state.drifting))


async def _state_of(watch: Watch, judge: Judge, uow: MonitorUnitOfWork) -> State:
    """What the judge remembers; afresh where it begins, or where another release wrote it in another form."""
    try:
        if watch.state:
            return State.from_bytes(watch.state)
    except Invalid as error:
        _log.warning("evidence restarts", model=watch.model, version=watch.version, reason=str(error))
    today = uow.now.astimezone(UTC).date()
    return judge.begin(uow.now, await uow.watches.restarts_on(watch.model, watch.environment, today))


async def _tell(watch: Watch, finding: Finding, uow: MonitorUnitOfWork) -> None:
    subject = f"model/{watch.model}"
    if isinstance(finding, Cleared):
        for ended in await uow.signals.clear(watch.id, uow.now):
            uow.emit(MONITOR, "drift.cleared", subject, events.cleared_of(watch, finding, ended.body))
        return
    signal = events.signal_of(watch, finding)
    level = "detected" if isinstance(finding, Detected) else "noticed"
    await uow.signals.raise_(watch.id, level, signal, since=finding.since, at=uow.now)
    body = pb.DriftDetected(signal=signal) if level == "detected" else pb.DriftNoticed(signal=signal)
    uow.emit(MONITOR, f"drift.{level}", subject, body)


def _first_of_each(arrived: Sequence[Arrived]) -> list[Arrived]:
    """Each batch once, should the same poll hold it twice."""
    return list({(batch.head.server, batch.head.batch): batch for batch in reversed(arrived)}.values())[::-1]
