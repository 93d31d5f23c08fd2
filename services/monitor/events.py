"""What the monitor emits, and its signals, as protobuf."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.monitor.v1 import events_pb2 as pb
from goldenpath.monitor.v1 import monitor_service_pb2 as api
from services.monitor.domain.findings import FeatureEffect, Finding, RelationEffect
from services.monitor.domain.promise import Promise
from services.monitor.domain.replay import Moment
from services.monitor.signal_store import StoredSignal
from services.monitor.store import Watch
from services.profile import Feature, Kind
from services.profile.columns import Counts


def timestamp_of(moment: datetime) -> Timestamp:
    """A moment, as protobuf has it."""
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp


def effect_of(effect: FeatureEffect) -> pb.FeatureEffect:
    """One feature's part."""
    return pb.FeatureEffect(
        feature=effect.feature,
        effect=effect.effect,
        lower=effect.lower,
        upper=effect.upper,
        tolerance=effect.tolerance,
        share=effect.share,
        log_evidence=effect.log_evidence,
        effects=effect.effects,
    )


def relation_of(relation: RelationEffect) -> pb.RelationEffect:
    """Two features that go together otherwise."""
    return pb.RelationEffect(**asdict(relation))


def signal_of(watch: Watch, finding: Finding) -> pb.Signal:
    """A finding about a watch as a new signal."""
    return _signal(
        watch,
        pb.SIGNAL_KIND_DRIFT,
        finding.at,
        effect=finding.effect,
        features=[effect_of(effect) for effect in finding.features],
        since=timestamp_of(finding.since),
        rows_since=finding.rows_since,
        rows_seen=finding.rows_seen,
        false_alarms_per_year=finding.false_alarms_per_year,
        log_evidence=finding.log_evidence,
        sentence=finding.sentence,
        relations=[relation_of(relation) for relation in finding.relations],
    )


def degraded_of(watch: Watch, found: pb.Performance, promise: Promise, at: datetime) -> pb.Signal:
    """A broken promise as a new signal."""
    carried = "".join(
        f"; {each.feature} = {each.value} carries {each.share:.0%} of what is beyond" for each in found.segments[:1]
    )
    sentence = (
        f"{promise.metric} broke its promise: a loss of {found.loss:.4g}, surely above {found.lower:.4g}, where "
        f"{found.limit:.4g} was promised at most, over {found.rows:,} records that came due since "
        f"{found.since.ToDatetime():%Y-%m-%d}{carried}"
    )
    return _signal(
        watch,
        pb.SIGNAL_KIND_PERFORMANCE,
        at,
        since=found.since,
        rows_since=found.rows,
        rows_seen=watch.rows_seen,
        false_alarms_per_year=promise.false_alarms_per_year,
        sentence=sentence,
        performance=found,
    )


def skewed_of(watch: Watch, found: pb.FeatureSkew, since: datetime, at: datetime) -> pb.Signal:
    """Features that aren't what the store's history says, as a new signal."""
    sentence = (
        f"{found.view} gave something else than its history says of the same moments: {', '.join(found.inputs)} in "
        f"{found.differing:,} of {found.compared:,} records, surely in more than {found.share_lower:.1%}, where "
        f"{found.tolerance:.1%} may differ"
    )
    return _signal(
        watch,
        pb.SIGNAL_KIND_DATA_QUALITY,
        at,
        since=timestamp_of(since),
        rows_since=found.compared,
        rows_seen=watch.rows_seen,
        false_alarms_per_year=1.0,
        sentence=sentence,
        skew=found,
    )


def _signal(watch: Watch, kind: pb.SignalKind.ValueType, at: datetime, **found: Any) -> pb.Signal:
    """A new signal about a watch, with what was found."""
    return pb.Signal(
        id=str(uuid.uuid4()),
        kind=kind,
        model=watch.model,
        environment=watch.environment,
        version=watch.version,
        epoch=watch.epoch,
        role=watch.role,
        raised_at=timestamp_of(at),
        **found,
    )


def cleared_of(watch: Watch, finding: Finding, signal: pb.Signal) -> pb.DriftCleared:
    """The end of a signal."""
    return pb.DriftCleared(
        signal_id=signal.id,
        model=watch.model,
        environment=watch.environment,
        version=watch.version,
        epoch=signal.epoch,
        features=[effect_of(effect) for effect in finding.features],
        rows_since=finding.rows_since,
        sentence=finding.sentence,
        cleared_at=timestamp_of(finding.at),
    )


def record_of(signal: StoredSignal) -> api.SignalRecord:
    """A signal and its end."""
    record = api.SignalRecord(signal=signal.body, level=signal.level)
    if signal.cleared_at is not None:
        record.cleared_at.CopyFrom(timestamp_of(signal.cleared_at))
    return record


def distribution_of(feature: Feature, now: Counts) -> api.Distribution:
    """A feature's rows by bin, in the reference and now."""
    return api.Distribution(
        feature=feature.name,
        numeric=feature.kind is Kind.NUMERIC,
        labels=[feature.label(place) for place in range(feature.bins)],
        reference=feature.counts.tolist(),
        now=now.tolist(),
    )


def moment_of(moment: Moment) -> api.Moment:
    """How things stood at the end of a pane."""
    return api.Moment(
        at=timestamp_of(moment.at),
        rows=moment.rows,
        log_evidence=moment.log_evidence,
        features=[effect_of(effect) for effect in moment.features],
        found=[
            api.Found(
                level=type(finding).__name__.lower(),
                features=[effect.feature for effect in finding.features],
                sentence=finding.sentence,
            )
            for finding in moment.findings
        ],
    )
