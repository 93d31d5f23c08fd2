"""From a project's golden.yaml and a run to what the registry is asked to register."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Final

from google.protobuf.json_format import ParseDict

from golden import datasheet
from golden.project import Project
from goldenpath.registry.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import NotFound, Unavailable

_CHUNK_BYTES: Final = 1 << 20


def request_of(project: Project, run: str, *, training_request: str = "") -> registry.RegisterVersionRequest:
    """What to register.

    Args:
        project: What golden.yaml says.
        run: The MLflow run that holds the model.
        training_request: The request for training that it answers, its id.
    """
    return registry.RegisterVersionRequest(
        model=project.model,
        kind=events.Kind.Value(f"KIND_{project.kind.upper()}"),
        risk_tier=events.RiskTier.Value(f"RISK_TIER_{project.risk_tier.upper()}"),
        owner=project.owner,
        use_case=project.use_case,
        project=project.project,
        mlflow_run=run,
        datasets=[dataset_of(project)],
        promise=_promise(project),
        drift=drift_of(project),
        outcomes=_outcomes(project),
        rollout=_rollout(project),
        training_request=training_request,
        features=_features(project),
    )


def unheard(asked: registry.RegisterVersionRequest, known: registry.Version) -> list[str]:
    """Which parts of golden.yaml say otherwise than a version that was known: it keeps what it was made with."""
    said, made = asked.promise, known.registered.promise
    promise = (said.metric, said.margin, said.value or made.value, said.direction or made.direction)
    outcomes = events.OutcomeSettings()
    outcomes.within.FromTimedelta(timedelta())
    outcomes.MergeFrom(asked.outcomes)
    same = {
        "promise": promise == (made.metric, made.margin, made.value, made.direction),
        "drift": asked.drift == known.drift,
        "rollout": asked.rollout == known.rollout,
        "outcomes": outcomes == known.outcomes,
        "features": _read_how(asked.features) == _read_how(known.features),
    }
    return [name for name, is_so in same.items() if not is_so]


def _read_how(said: events.FeatureSettings) -> tuple[str, float, int]:
    """Its views aside: a version keeps those inputs that it has."""
    return said.service, said.deadline.ToTimedelta().total_seconds(), said.fallback


def dataset_of(project: Project) -> registry.DatasetInput:
    """The project's dataset with its datasheet as it stands now."""
    said = datasheet.read(project.at(project.dataset.datasheet))
    digest = digest_of([project.at(path) for path in project.dataset.data])
    made = registry.DatasetInput(
        name=project.dataset.name,
        digest=digest,
        datasheet_json=said.to_croissant(name=project.dataset.name, digest=digest),
        answers=said.answered,
        owner=project.owner,
        licence=said.licence,
        personal_data=said.personal_data,
    )
    for stamp, day in ((made.period_start, said.facts.period_start), (made.period_end, said.facts.period_end)):
        if day is not None:
            stamp.FromDatetime(datetime.combine(day, time()))
    return made


def newest_run(project: Project, tracking: str, *, condition: str = "") -> str:
    """The newest finished run of the project's experiment.

    Args:
        project: What golden.yaml says.
        tracking: MLflow's tracking URI.
        condition: What else must hold of it, as MLflow's search takes it; empty: nothing.

    Raises:
        NotFound: there is none.
        Unavailable: nobody said where to look.
    """
    if not tracking:
        raise Unavailable("nobody said where MLflow is", fix="set MLFLOW_TRACKING_URI, or name the run with --run")
    from mlflow.tracking import MlflowClient  # 5 s, so only where it is needed

    client = MlflowClient(tracking)
    experiment = client.get_experiment_by_name(project.project)
    wanted = " and ".join(filter(None, ["status = 'FINISHED'", condition]))
    found = (
        client.search_runs([experiment.experiment_id], wanted, order_by=["start_time DESC"], max_results=1)
        if experiment
        else []
    )
    if not found:
        notebook = project.notebook or "your notebook"
        raise NotFound(f"the experiment {project.project} has no finished run", fix=f"run {notebook} first")
    return str(found[0].info.run_id)


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 over files' contents in the order given, 64 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _promise(project: Project) -> events.Promise:
    said = project.promise
    direction = f"DIRECTION_{said.direction.upper()}" if said.direction else "DIRECTION_UNSPECIFIED"
    return events.Promise(
        metric=said.metric, margin=said.margin, value=said.value or 0.0, direction=events.Direction.Value(direction)
    )


def drift_of(project: Project) -> events.DriftSettings:
    """How golden.yaml wants drift judged."""
    said = project.drift
    return events.DriftSettings(
        effect=said.effect,
        tolerance=said.tolerance or 0.0,
        feature_tolerances=said.feature_tolerances,
        false_alarms_per_year=said.false_alarms_per_year,
        seasonal=said.seasonal,
    )


def _outcomes(project: Project) -> events.OutcomeSettings | None:
    said = project.outcomes
    if said is None:
        return None
    message = events.OutcomeSettings(
        threshold=said.threshold, quantile=said.quantile, amount=said.amount, segments=said.segments
    )
    message.within.FromTimedelta(said.within)
    if said.cost is not None:
        message.cost.CopyFrom(ParseDict(said.cost.model_dump(), events.CostMatrix()))
    return message


def _features(project: Project) -> events.FeatureSettings | None:
    said = project.features
    if said is None:
        return None
    from services.features.definitions import views_of  # Feast costs seconds, so only where a project names it

    message = events.FeatureSettings(
        service=said.service, fallback=events.FeatureFallback.Value(f"FEATURE_FALLBACK_{said.fallback.upper()}")
    )
    message.deadline.FromTimedelta(said.deadline)
    for view in views_of(project.at(said.repo), said.service):
        kept = message.views.add(name=view.name, digest=view.digest, inputs=view.inputs, keys=view.keys)
        if view.ttl:
            kept.ttl.FromTimedelta(view.ttl)
    return message


def _rollout(project: Project) -> events.RolloutSettings:
    said = project.rollout
    return events.RolloutSettings(
        steps=said.steps or (),
        minimum_sample=said.minimum_sample or 0,
        maximum_step_seconds=said.maximum_step.total_seconds() if said.maximum_step else 0.0,
        error_margin=said.error_margin or 0.0,
        latency_margin=said.latency_margin or 0.0,
        shadow=said.shadow,
        disagreement_limit=said.disagreement_limit or 0.0,
        minimum_pairs=said.minimum_pairs or 0,
        holdback=said.holdback,
    )
