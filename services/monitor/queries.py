"""What the monitor answers: reads, without a lock."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from math import isnan
from typing import Final

import numpy as np

from goldenpath.modelserver.v1.events_pb2 import FeaturesRead, InferenceRecorded
from goldenpath.monitor.v1 import events_pb2 as events_pb
from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from services.chassis.database import Connection
from services.chassis.errors import Invalid, NotFound
from services.monitor import batches, estimating, events, joining
from services.monitor.domain.findings import FeatureEffect
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import Promise, amounts_of
from services.monitor.domain.replay import replay
from services.monitor.domain.sample import Scored, chosen, log_loss, outcomes_of
from services.monitor.domain.state import State
from services.monitor.finding import Found
from services.monitor.join_store import Join
from services.monitor.joining import DEGRADED
from services.monitor.pane_store import Panes
from services.monitor.sample_store import Outcomes, Records
from services.monitor.signal_store import Signals
from services.monitor.store import Watch, Watches
from services.profile import empty

MOST_SAMPLED: Final = 10_000
DEFAULT_SAMPLED: Final = 2_000
_NEWEST: Final = 2**62  # before the first page


async def find_watch(model: str, environment: str, version: int, connection: Connection) -> Watch:
    """A version's watch; version 0 is the stable one.

    Raises:
        NotFound: no record and no event has told of it.
    """
    watches = Watches(connection)
    if version:
        found = await watches.newest_of(model, environment, version)
    else:
        found = await watches.present(model, environment, "stable")
    if found is None:
        which = f"version {version}" if version else "a stable version"
        raise NotFound(f"nothing was seen of {which} of {model}/{environment}", fix="golden status")
    return found


async def report(watch: Watch, judge: Judge | None, connection: Connection) -> pb.GetReportResponse:
    """How a version in its role stands now."""
    state = _state_of(watch)
    standing = judge.standing(state) if judge and state else None
    signals = Signals(connection)
    broken = await signals.violated(watch.id)
    signal = broken[0] if broken else await signals.standing(watch.id) or await signals.degraded(watch.id)
    told = _read(await Records(connection).predictions(watch.id))
    scored = await _scored(watch.model, told, connection)
    answer = pb.GetReportResponse(
        model=watch.model,
        environment=watch.environment,
        version=watch.version,
        epoch=watch.epoch,
        role=watch.role,
        rows_seen=watch.rows_seen,
        rows_dropped=watch.rows_dropped,
        features=[events.effect_of(effect) for effect in standing.features] if standing else [],
        log_evidence=standing.log_evidence if standing else 0.0,
        state=signal.level if signal else "noticed" if state and state.noticed else "quiet",
        signal=signal.body if signal else None,
        false_alarms_per_year=judge.settings.false_alarms_per_year if judge else 0.0,
        outcomes=sum(record.known is not None for record in scored),
        log_loss=log_loss(scored),
        relations=[events.relation_of(relation) for relation in standing.relations] if standing else [],
        log_threshold=judge.log_threshold if judge else 0.0,
        newest_record_at=events.timestamp_of(watch.newest_record_at) if watch.newest_record_at else None,
    )
    if judge is not None and judge.promise is not None:
        kept = await _performance(watch, judge.promise, connection)
        if kept is not None:
            answer.performance.CopyFrom(kept)
        said = await estimating.performance(watch.id, judge.profile.expected, judge.promise, connection)
        if said is not None:
            answer.estimated.CopyFrom(said)
    answer.sentence = _sentence(watch, judge, answer, standing.features if standing else ())
    return answer


async def history(watch: Watch, judge: Judge, connection: Connection) -> pb.GetHistoryResponse:
    """What a version saw, pane by pane, and what a judge finds in it."""
    panes = await Panes(connection).all(watch.id, judge.profile)
    moments = await asyncio.to_thread(replay, judge, panes)  # hundreds of looks: others go on meanwhile
    signal, state = await Signals(connection).standing(watch.id), _state_of(watch)
    since = signal.since if signal else state.history.stretches[0].began if state and state.history.stretches else None
    now = sum((pane.window for pane in panes if since is None or pane.until > since), start=empty(judge.profile))
    return pb.GetHistoryResponse(
        distributions=[events.distribution_of(feature, now.of(feature.name)) for feature in judge.profile.features],
        moments=[events.moment_of(moment) for moment in moments],
        effect=judge.settings.effect,
        false_alarms_per_year=judge.settings.false_alarms_per_year,
        log_threshold=judge.log_threshold,
        reference_rows=judge.profile.rows,
        version=watch.version,
    )


def check_limit(limit: int) -> None:
    """See that a sample may be so large.

    Raises:
        Invalid: more were asked for than are ever kept.
    """
    if limit > MOST_SAMPLED:
        raise Invalid(f"a sample has at most {MOST_SAMPLED} records, not {limit}", where="limit")


async def watch_of_signal(signal_id: str, connection: Connection) -> Watch:
    """Which version in which role a signal is about.

    Raises:
        NotFound: there is no such signal.
    """
    return await Watches(connection).get((await Signals(connection).get(signal_id)).watch)


def record_id(text: str) -> uuid.UUID:
    """A record's id.

    Raises:
        Invalid: it is none.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid(f"{text!r} is no record's id", where="record_id", fix="a UUID, as the answer gave it") from None


async def record(found: Found, connection: Connection) -> pb.GetRecordResponse:
    """A record that was found, with its outcome where that is known."""
    one = found.record
    (each,) = batches.ids_of(one)
    value, label = (await Outcomes(connection).of(one.model, [each])).get(each, (None, None))
    return pb.GetRecordResponse(
        record=one,
        features=[_feature(read) for read in one.features],
        value=value,
        label=label,
        topic=found.raw.topic,
        partition=found.raw.partition,
        offset=found.raw.offset,
    )


def _feature(read: FeaturesRead) -> pb.RecordFeatures:
    made = pb.RecordFeatures(view=read.view, outcome=read.outcomes[read.codes[0]])
    if read.event_times_us[0]:
        made.event_time.FromMicroseconds(read.event_times_us[0])
    return made


async def sample(
    signal_id: str, limit: int, connection: Connection, promise: Promise | None = None
) -> pb.GetSampleResponse:
    """The kept records that a signal speaks of, with what decisions about them cost where the promise says that.

    Raises:
        NotFound: there is no such signal.
        Invalid: more were asked for than are ever kept.
    """
    check_limit(limit)
    signal = await Signals(connection).get(signal_id)
    watch = await Watches(connection).get(signal.watch)
    if signal.level == DEGRADED:  # of records that were counted: the newest know no outcome yet
        told = asked = _read(await Join(connection).counted_since(watch.id, signal.since))
    else:
        kept = await Records(connection).between(watch.id, signal.since, signal.cleared_at)
        told, asked = _read(batch.predictions for batch in kept), _read(batch.inputs for batch in kept)
    scored = await _scored(watch.model, told, connection)
    rows = chosen([record.known is not None for record in scored], limit or DEFAULT_SAMPLED)
    outcomes = outcomes_of(scored)
    known = [outcomes[row] for row in rows]
    inputs = batches.picked(asked, rows)
    answer = pb.GetSampleResponse(
        inputs=inputs,
        scores=[scored[row].score for row in rows],
        outcomes=known,
        rows=len(rows),
        rows_with_outcome=sum(not isnan(outcome) for outcome in known),
    )
    if promise is not None and promise.cost is not None:
        amounts = next((column.numbers for column in inputs if column.name == promise.amount), [0.0] * len(known))
        passed, flagged = promise.costs(np.array(known), amounts_of(np.array(amounts)))
        answer.costs_if_passed.extend(passed)
        answer.costs_if_flagged.extend(flagged)
        answer.threshold = promise.threshold
        answer.records_a_day = batches.a_day(told)
    return answer


async def _performance(watch: Watch, promise: Promise, connection: Connection) -> events_pb.Performance | None:
    """How it keeps its promise; None where nothing came due yet, or sums can't be read, as /readyz then says."""
    try:
        return await joining.performance(watch.id, promise, connection)
    except Invalid:
        return None


def _state_of(watch: Watch) -> State | None:
    """What the judge remembers; None where nothing was seen yet, or another release wrote it in another form."""
    try:
        return State.from_bytes(watch.state) if watch.state else None
    except Invalid:
        return None


async def list_signals(
    model: str, environment: str, token: str, size: int, connection: Connection
) -> pb.ListSignalsResponse:
    """A page of signals, newest first.

    Raises:
        Invalid: the token isn't one that a page ended with.
    """
    if token and not (token.isascii() and token.isdigit() and len(token) < len(str(_NEWEST))):
        raise Invalid(f"{token!r} is no page token", where="page_token", fix="use the one that a page ended with")
    found = await Signals(connection).page(model, environment, int(token) if token else _NEWEST, size + 1)
    following = str(found[size - 1].ordinal) if len(found) > size else ""
    return pb.ListSignalsResponse(
        records=[events.record_of(signal) for signal in found[:size]], next_page_token=following
    )


def _read(bodies: Iterable[bytes]) -> list[InferenceRecorded]:
    """Kept batches, or parts of them."""
    return [InferenceRecorded.FromString(body) for body in bodies]


async def _scored(model: str, kept: Sequence[InferenceRecorded], connection: Connection) -> list[Scored]:
    """Each kept record's prediction and outcome."""
    ids = [one for batch in kept for one in batches.ids_of(batch)]
    known = await Outcomes(connection).of(model, ids)
    scores = [score for batch in kept for score in batches.scores_of(batch)]
    labels = [label for batch in kept for label in batches.labels_of(batch)]
    pairs = zip(ids, scores, labels, strict=True)
    return [Scored(score, label, known.get(record_id)) for record_id, score, label in pairs]


def _sentence(
    watch: Watch, judge: Judge | None, answer: pb.GetReportResponse, features: Sequence[FeatureEffect]
) -> str:
    if answer.HasField("signal"):
        return answer.signal.sentence
    if judge is None:
        return (
            f"version {watch.version} has no reference profile, so nothing is judged; {watch.rows_seen:,} records seen."
        )
    if not features:
        return f"no record since evidence restarted; {watch.rows_seen:,} records seen in this role."
    most = features[0]
    return (
        f"within tolerance over {watch.rows_seen:,} records; "
        f"{most.feature} moved most, by {most.effect:.3f} where {most.tolerance:g} is tolerated."
    )
