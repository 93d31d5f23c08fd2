"""A version: immutable. What the run brought along, what was asked for, and what becomes of both.

The artifact's digest names a version: the same bytes registered again, by whatever door, are the same version.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.chassis.errors import Conflict, Denied, Invalid
from services.registry.domain import features, names
from services.registry.domain.datasets import DatasetRef
from services.registry.domain.features import Features
from services.registry.domain.models import Actor, ModelFacts
from services.registry.domain.promises import Promise, promise_of
from services.registry.domain.registrations import Drift, Outcomes, Registration, Rollout, check_fit


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file of an artifact: its path with forward slashes, its size, SHA-256 over its content as 64 hex digits."""

    path: str
    size_bytes: int
    sha256: str


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
    outcomes: Outcomes
    registered_by: Actor
    registered_at: datetime
    traceparent: str
    training_request: str = ""
    retired: bool = False
    features: Features | None = None


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
    """The new version of that number.

    Raises:
        Invalid: what it asks for doesn't fit what it brought.
    """
    check_fit(asked.outcomes, brought.signature_json)
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
        outcomes=asked.outcomes,
        registered_by=actor,
        registered_at=now,
        traceparent=traceparent,
        training_request=asked.training_request,
        features=features.fitted(asked.features, brought.signature_json),
    )


def forgotten_refs(version: Version, refs: Iterable[DatasetRef], actor: Actor) -> tuple[DatasetRef, ...]:
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


def retired(version: Version, reason: str, *, serves: Sequence[str]) -> Version:
    """The version out of use.

    Raises:
        Invalid: nobody says why.
        Conflict: it is out of use already, or serves in one of these environments.
    """
    if not names.text(reason, where="reason"):
        raise Invalid("why is it retired?", where="reason", fix="say it in a sentence")
    if version.retired:
        raise Conflict(f"{version.model}@{version.number} is retired already")
    if serves:
        where = ", ".join(sorted(serves))
        raise Conflict(
            f"{version.model}@{version.number} is in use in {where}: it serves, waits for its turn, or would come back",
            where="version",
            fix=f"deploy another version, or end the deployment:  golden retire {version.model}",
        )
    return replace(version, retired=True)
