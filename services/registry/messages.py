"""The contract's messages <-> the domain, for every edge and every event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.errors import Invalid
from services.registry import feature_messages
from services.registry.domain.aliases import Pointing
from services.registry.domain.datasets import Dataset, DatasetInput, DatasetRef, Datasheet
from services.registry.domain.models import Actor, Kind, Model, ModelFacts, RiskTier
from services.registry.domain.promises import Direction, Promise, PromiseWish
from services.registry.domain.registrations import Drift, Outcomes, Registration, Rollout
from services.registry.domain.versions import Version

# What a datasheet must answer, as keys of `answers`.
QUESTIONS: Final = tuple(name.removeprefix("QUESTION_").lower() for name in told.Question.keys()[1:])
_KINDS: Final = {Kind.MODEL: told.KIND_MODEL, Kind.AGENT: told.KIND_AGENT}
_TIERS: Final = {
    RiskTier.MINIMAL: told.RISK_TIER_MINIMAL,
    RiskTier.LIMITED: told.RISK_TIER_LIMITED,
    RiskTier.HIGH: told.RISK_TIER_HIGH,
}
_COSTS: Final = ("passed", "missed", "false_alarm", "caught")
_DIRECTIONS: Final = {Direction.LOWER: told.DIRECTION_LOWER, Direction.HIGHER: told.DIRECTION_HIGHER}


def stamp(moment: datetime | None) -> Timestamp | None:
    """A moment as a message; None stays absent."""
    if moment is None:
        return None
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def moment(made: Timestamp, *, where: str) -> datetime:
    """A message as a moment.

    Raises:
        Invalid: it is before the year 1, or after 9999.
    """
    try:
        return made.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Invalid("no moment between the years 1 and 9999", where=where) from None


def registration_of(message: pb.RegisterVersionRequest) -> Registration:
    """What somebody asks to register.

    Raises:
        Invalid: the risk tier is missing, or a value is none of its kind.
    """
    return Registration(
        model=message.model,
        facts=ModelFacts(_kind(message.kind), _tier(message.risk_tier), message.owner, message.use_case),
        mlflow_run=message.mlflow_run,
        project=message.project,
        datasets=tuple(dataset_input_of(one, where=f"datasets[{place}]") for place, one in enumerate(message.datasets)),
        promise=_wish(message.promise) if message.promise.metric else None,
        drift=_drift(message.drift),
        rollout=_rollout(message.rollout),
        outcomes=_outcomes(message.outcomes),
        training_request=message.training_request,
        features=feature_messages.features_of(message.features) if message.HasField("features") else None,
    )


def _kind(number: told.Kind.ValueType) -> Kind:
    if number == told.KIND_UNSPECIFIED:
        return Kind.MODEL
    found = {value: key for key, value in _KINDS.items()}.get(number)
    if found is None:
        raise Invalid(f"{number} is no kind: model or agent", where="kind")
    return found


def _tier(number: told.RiskTier.ValueType) -> RiskTier:
    found = {value: key for key, value in _TIERS.items()}.get(number)
    if found is None:
        raise Invalid("how much harm can a wrong answer do? minimal, limited or high", where="risk_tier")
    return found


def _wish(message: told.Promise) -> PromiseWish:
    direction = {value: key for key, value in _DIRECTIONS.items()}.get(message.direction)
    if direction is None and message.direction != told.DIRECTION_UNSPECIFIED:
        raise Invalid(f"{message.direction} is no direction: lower or higher", where="promise.direction")
    return PromiseWish(message.metric, message.value, message.margin, direction)


def _drift(message: told.DriftSettings) -> Drift:
    tolerances = dict(message.feature_tolerances)
    return Drift(message.effect, message.tolerance, tolerances, message.false_alarms_per_year, message.seasonal)


def _rollout(message: told.RolloutSettings) -> Rollout:
    return Rollout(
        tuple(message.steps),
        message.minimum_sample,
        message.maximum_step_seconds,
        message.error_margin,
        message.latency_margin,
        message.shadow,
        message.disagreement_limit,
        message.minimum_pairs,
        message.holdback,
    )


def _outcomes(message: told.OutcomeSettings) -> Outcomes:
    costs = [getattr(message.cost, name) for name in _COSTS] if message.HasField("cost") else []
    return Outcomes(
        message.within.seconds + message.within.nanos / 1e9,
        message.threshold,
        message.amount,
        tuple(message.segments),
        tuple((cost.fixed, cost.of_amount) for cost in costs),
        message.quantile,
    )


def dataset_input_of(message: pb.DatasetInput, *, where: str = "dataset") -> DatasetInput:
    """A dataset that somebody registers or refers to.

    Raises:
        Invalid: its period isn't one.
    """
    start, end = message.HasField("period_start"), message.HasField("period_end")
    sheet = Datasheet(
        document=message.datasheet_json,
        answers=dict(message.answers),
        owner=message.owner,
        licence=message.licence,
        personal_data=message.personal_data,
        period_start=moment(message.period_start, where=f"{where}.period_start") if start else None,
        period_end=moment(message.period_end, where=f"{where}.period_end") if end else None,
    )
    return DatasetInput(message.name, message.digest, sheet)


def registered_message(version: Version) -> told.ModelRegistered:
    """Everything that is told about a version."""
    brought = version.brought
    return told.ModelRegistered(
        model=version.model,
        version=version.number,
        kind=_KINDS[version.facts.kind],
        risk_tier=_TIERS[version.facts.risk_tier],
        owner=version.facts.owner,
        use_case=version.facts.use_case,
        artifact_digest=brought.artifact_digest,
        environment_digest=brought.environment_digest,
        mlflow_run=version.mlflow_run,
        project=version.project,
        datasets=[_ref_message(ref) for ref in version.datasets],
        metrics=dict(brought.metrics),
        promise=_promise_message(version.promise),
        code_revision=brought.code_revision,
        commit_time=stamp(brought.commit_time),
        registered_by=actor_message(version.registered_by),
        registered_at=stamp(version.registered_at),
        profile_digest=brought.profile_digest,
        training_request=version.training_request,
        feature_views=feature_messages.view_messages(version.features),
    )


def _ref_message(ref: DatasetRef) -> told.DatasetRef:
    return told.DatasetRef(name=ref.name, version=ref.version, digest=ref.digest)


def _promise_message(promise: Promise | None) -> told.Promise | None:
    if promise is None:
        return None
    return told.Promise(
        metric=promise.metric,
        value=promise.value,
        margin=promise.margin,
        direction=_DIRECTIONS[promise.direction],
    )


def actor_message(actor: Actor) -> told.Actor:
    """Who did something."""
    return told.Actor(subject=actor.subject, verified=actor.verified)


def version_message(version: Version) -> pb.Version:
    """A version, whole."""
    brought, drift, rollout = version.brought, version.drift, version.rollout
    return pb.Version(
        registered=registered_message(version),
        signature_json=brought.signature_json,
        input_example_json=brought.input_example_json,
        requirements=brought.requirements,
        files=[
            pb.ArtifactFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256) for file in brought.files
        ],
        flavor=brought.flavor,
        drift=told.DriftSettings(
            effect=drift.effect,
            tolerance=drift.tolerance,
            feature_tolerances=dict(drift.feature_tolerances),
            false_alarms_per_year=drift.false_alarms_per_year,
            seasonal=drift.seasonal,
        ),
        rollout=told.RolloutSettings(
            steps=rollout.steps,
            minimum_sample=rollout.minimum_sample,
            maximum_step_seconds=rollout.maximum_step_seconds,
            error_margin=rollout.error_margin,
            latency_margin=rollout.latency_margin,
            shadow=rollout.shadow,
            disagreement_limit=rollout.disagreement_limit,
            minimum_pairs=rollout.minimum_pairs,
            holdback=rollout.holdback,
        ),
        outcomes=_outcomes_message(version.outcomes),
        features=feature_messages.features_message(version.features),
        retired=version.retired,
        traceparent=version.traceparent,
        reference_log_loss=brought.reference_log_loss,
    )


def _outcomes_message(outcomes: Outcomes) -> told.OutcomeSettings:
    message = told.OutcomeSettings(
        threshold=outcomes.threshold, quantile=outcomes.quantile, amount=outcomes.amount, segments=outcomes.segments
    )
    message.within.FromTimedelta(timedelta(seconds=outcomes.within_seconds))
    for name, (fixed, of_amount) in zip(_COSTS, outcomes.cost, strict=False):
        getattr(message.cost, name).CopyFrom(told.Cost(fixed=fixed, of_amount=of_amount))
    return message


def dataset_told(dataset: Dataset) -> told.DatasetRegistered:
    """Everything that is told about a dataset."""
    sheet = dataset.sheet
    return told.DatasetRegistered(
        name=dataset.name,
        version=dataset.version,
        digest=dataset.digest,
        datasheet_revision=dataset.revision,
        owner=sheet.owner,
        licence=sheet.licence,
        personal_data=sheet.personal_data,
        unanswered=sheet.unanswered(QUESTIONS),
        registered_by=actor_message(dataset.registered_by),
    )


def dataset_message(dataset: Dataset) -> pb.Dataset:
    """A dataset with its newest datasheet."""
    sheet = dataset.sheet
    return pb.Dataset(
        registered=dataset_told(dataset),
        datasheet_json=sheet.document,
        answers=dict(sheet.answers),
        period_start=stamp(sheet.period_start),
        period_end=stamp(sheet.period_end),
    )


def model_message(model: Model, aliases: list[Pointing]) -> pb.Model:
    """A model with where its aliases point."""
    return pb.Model(
        name=model.name,
        kind=_KINDS[model.facts.kind],
        risk_tier=_TIERS[model.facts.risk_tier],
        owner=model.facts.owner,
        use_case=model.facts.use_case,
        aliases=[alias_message(pointing) for pointing in aliases],
        latest_version=model.latest_version,
        created_at=stamp(model.created_at),
    )


def alias_message(pointing: Pointing) -> pb.Alias:
    """Where an alias points, or pointed."""
    return pb.Alias(name=pointing.alias, version=pointing.version, since=stamp(pointing.since))


def deployment_message(pointing: Pointing) -> pb.LineageDeployment:
    """Where a version serves, or served."""
    return pb.LineageDeployment(
        environment=pointing.environment,
        epoch=pointing.epoch,
        since=stamp(pointing.since),
        until=stamp(pointing.until),
    )
