"""A version: immutable. What somebody asks to register, what the run brings along, and what becomes of both.

The artifact's digest names a version: the same bytes registered again, by whatever door, are the same version.
"""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.chassis.errors import Conflict, Denied, Invalid
from services.registry.domain import datasets, names
from services.registry.domain.datasets import DatasetInput, DatasetRef
from services.registry.domain.models import Actor, ModelFacts
from services.registry.domain.promises import Promise, PromiseWish, promise_of

_EFFECTS = ("", "psi", "js", "ks", "wasserstein")
_ALL_TRAFFIC = 100


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file of an artifact: its path with forward slashes, its size, SHA-256 over its content as 64 hex digits."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Drift:
    """How a version's drift is judged; empty and 0 mean the shipped default. The units stand in DriftSettings."""

    effect: str = ""
    tolerance: float = 0.0
    feature_tolerances: Mapping[str, float] = field(default_factory=dict)
    false_alarms_per_year: float = 0.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a version gets its traffic; empty and 0 mean the shipped default. The units stand in RolloutSettings."""

    steps: tuple[int, ...] = ()
    minimum_sample: int = 0
    maximum_step_seconds: float = 0.0
    error_margin: float = 0.0
    latency_margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Registration:
    """What somebody asks to register."""

    model: str
    facts: ModelFacts
    mlflow_run: str
    project: str = ""
    datasets: tuple[DatasetInput, ...] = ()
    promise: PromiseWish | None = None
    drift: Drift = Drift()
    rollout: Rollout = Rollout()


@dataclass(frozen=True, slots=True)
class Brought:
    """What the run brought along, with its files in the artifact store already.

    Args:
        artifact_digest: Names the files.
        files: They, sorted by path.
        flavor: What loads them, such as sklearn.
        signature_json: Inputs and outputs as MLflow writes them; empty where the model has no signature.
        input_example_json: An Open Inference Protocol request; empty where the run logged no example.
        requirements: Pinned, sorted.
        metrics: Validation metrics by name, without the `validation.` that they are logged under.
        code_revision: The commit; empty where unknown.
        commit_time: When that was committed.
        profile_digest: SHA-256 over the reference profile; empty where the run logged no reference rows.
        reference_log_loss: Of the logged scores on the reference rows; NaN where labels are missing.
    """

    artifact_digest: str
    files: tuple[ArtifactFile, ...]
    flavor: str = ""
    signature_json: str = ""
    input_example_json: str = ""
    requirements: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    code_revision: str = ""
    commit_time: datetime | None = None
    profile_digest: str = ""
    reference_log_loss: float = math.nan

    @property
    def environment_digest(self) -> str:
        """SHA-256 over the requirements."""
        return environment_digest(self.requirements)


@dataclass(frozen=True, slots=True)
class Version:
    """A version, as it was registered; only `retired` ever changes."""

    model: str
    number: int
    facts: ModelFacts
    project: str
    mlflow_run: str
    brought: Brought
    datasets: tuple[DatasetRef, ...]
    promise: Promise | None
    drift: Drift
    rollout: Rollout
    registered_by: Actor
    registered_at: datetime
    traceparent: str
    retired: bool = False


def environment_digest(requirements: Iterable[str]) -> str:
    """SHA-256 over the sorted requirements, one a line, as 64 hex digits."""
    return hashlib.sha256("".join(f"{line}\n" for line in sorted(requirements)).encode()).hexdigest()


def requirements_of(text: str) -> tuple[str, ...]:
    """The requirements in a requirements.txt, sorted, without comments and options.

    >>> requirements_of("scikit-learn==1.6.1  # exact" + chr(10) + "--extra-index-url x" + chr(10) + "numpy==2.2.0")
    ('numpy==2.2.0', 'scikit-learn==1.6.1')
    """
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return tuple(sorted({line for line in lines if line and not line.startswith("-")}))


def checked(asked: Registration) -> Registration:
    """The registration in its kept form: texts trimmed, the project named, datasets in the order of their names.

    Raises:
        Invalid: something in it is malformed; `where` is the field's path.
    """
    names.model_name(asked.model)
    if not asked.mlflow_run.strip():
        raise Invalid("which MLflow run holds the model?", where="mlflow_run", fix="name the run")
    _check_drift(asked.drift)
    _check_rollout(asked.rollout)
    given = [datasets.checked(one, where=f"datasets[{place}]") for place, one in enumerate(asked.datasets)]
    if len({one.name for one in given}) < len(given):
        raise Invalid("a dataset occurs twice", where="datasets")
    facts = replace(
        asked.facts,
        owner=names.text(asked.facts.owner, where="owner"),
        use_case=names.text(asked.facts.use_case, where="use_case"),
    )
    return replace(
        asked,
        facts=facts,
        mlflow_run=names.text(asked.mlflow_run, where="mlflow_run"),
        project=names.text(asked.project, where="project") or asked.model,
        datasets=tuple(sorted(given, key=lambda one: one.name)),
    )


def _check_drift(drift: Drift) -> None:
    if drift.effect not in _EFFECTS:
        raise Invalid(f"{drift.effect[:80]!r} is no effect: {', '.join(_EFFECTS[1:])}", where="drift.effect")
    numbers = {"tolerance": drift.tolerance, "false_alarms_per_year": drift.false_alarms_per_year}
    numbers |= {f"feature_tolerances[{name}]": value for name, value in drift.feature_tolerances.items()}
    for name, value in numbers.items():
        if names.finite(value, where=f"drift.{name}") < 0:
            raise Invalid(f"{value} is below 0", where=f"drift.{name}")


def _check_rollout(rollout: Rollout) -> None:
    steps: Sequence[int] = rollout.steps
    rising = all(1 <= low < high for low, high in pairwise(steps))
    if steps and not (rising and steps[0] >= 1 and steps[-1] == _ALL_TRAFFIC):
        raise Invalid(f"weights rise from 1 to 100 percent, not {list(steps)}", where="rollout.steps")
    if not 0 <= names.finite(rollout.error_margin, where="rollout.error_margin") <= 1:
        raise Invalid(f"a share is 0 to 1, not {rollout.error_margin}", where="rollout.error_margin")
    latency = names.finite(rollout.latency_margin, where="rollout.latency_margin")
    if latency and latency <= 1:
        raise Invalid(f"a ratio above 1, not {latency}", where="rollout.latency_margin")
    if names.finite(rollout.maximum_step_seconds, where="rollout.maximum_step_seconds") < 0:
        raise Invalid("a step can't take less than no time", where="rollout.maximum_step_seconds")


def registered(
    asked: Registration,
    brought: Brought,
    *,
    number: int,
    facts: ModelFacts,
    refs: tuple[DatasetRef, ...],
    actor: Actor,
    now: datetime,
    traceparent: str,
) -> Version:
    """The new version of that number."""
    return Version(
        model=asked.model,
        number=number,
        facts=facts,
        project=asked.project,
        mlflow_run=asked.mlflow_run,
        brought=brought,
        datasets=refs,
        promise=promise_of(asked.promise, brought.metrics),
        drift=asked.drift,
        rollout=asked.rollout,
        registered_by=actor,
        registered_at=now,
        traceparent=traceparent,
    )


def forgotten_refs(
    version: Version, refs: Iterable[DatasetRef], actor: Actor
) -> tuple[DatasetRef, ...]:
    """Datasets that a registration of known bytes names beyond those that the version has.

    What was forgotten may be added, so that a model needn't be trained again for it; nothing is ever taken away.

    Raises:
        Denied: a claim would add some.
    """
    missing = tuple(ref for ref in refs if ref not in version.datasets)
    if missing and not actor.verified:
        raise Denied(
            f"an event can't add datasets to {version.model}@{version.number}: who sent it is only a claim",
            where="registration.datasets",
            fix="register with a token:  golden register",
        )
    return missing


def retired(version: Version, reason: str) -> Version:
    """The version out of use.

    Raises:
        Invalid: nobody says why.
        Conflict: it is out of use already.
    """
    if not names.text(reason, where="reason"):
        raise Invalid("why is it retired?", where="reason", fix="say it in a sentence")
    if version.retired:
        raise Conflict(f"{version.model}@{version.number} is retired already")
    return replace(version, retired=True)
