"""Rows <-> the domain: how a version, a dataset and a model lie in their tables. Used by `store` and `reads` alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from services.chassis.database import Row
from services.registry.domain.aliases import Pointing
from services.registry.domain.datasets import Dataset, DatasetRef, Datasheet
from services.registry.domain.features import Fallback, Features, View
from services.registry.domain.models import Actor, Kind, Model, ModelFacts, RiskTier
from services.registry.domain.promises import Direction, Promise
from services.registry.domain.registrations import Drift, Outcomes, Rollout
from services.registry.domain.versions import ArtifactFile, Brought, Version


def model_of(row: Row) -> Model:
    """A model from its row."""
    return Model(row["name"], _facts(row), row["created_at"], row["latest_version"])


def _facts(row: Row) -> ModelFacts:
    return ModelFacts(Kind(row["kind"]), RiskTier(row["risk_tier"]), row["owner"], row["use_case"])


def body_of(version: Version) -> str:
    """What of a version is only ever read whole, as JSON."""
    brought, promise = version.brought, version.promise
    return json.dumps(
        {
            "files": [asdict(file) for file in brought.files],
            "flavor": brought.flavor,
            "signature_json": brought.signature_json,
            "input_example_json": brought.input_example_json,
            "requirements": brought.requirements,
            "metrics": dict(brought.metrics),
            "code_revision": brought.code_revision,
            "commit_time": brought.commit_time.isoformat() if brought.commit_time else None,
            "promise": asdict(promise) | {"direction": promise.direction.value} if promise else None,
            "drift": asdict(version.drift),
            "rollout": asdict(version.rollout),
            "outcomes": asdict(version.outcomes),
            "training_request": version.training_request,
            "features": _features_body(version.features),
        }
    )


def version_of(row: Row) -> Version:
    """A version from its row, joined with its model and its datasets."""
    body = json.loads(row["body"])
    return Version(
        model=row["model"],
        number=row["number"],
        facts=_facts(row),
        project=row["project"],
        mlflow_run=row["mlflow_run"],
        brought=_brought(row, body),
        datasets=tuple(DatasetRef(*ref) for ref in json.loads(row["refs"])),
        promise=_promise(body["promise"]),
        drift=Drift(**body["drift"]),
        rollout=Rollout(**body["rollout"] | {"steps": tuple(body["rollout"]["steps"])}),
        outcomes=_outcomes(body.get("outcomes", {})),
        registered_by=Actor(row["registered_by"], row["verified"]),
        registered_at=row["registered_at"],
        traceparent=row["traceparent"],
        training_request=body.get("training_request", ""),
        retired=row["retired"],
        features=_features(body.get("features")),
    )


def _brought(row: Row, body: dict[str, Any]) -> Brought:
    return Brought(
        artifact_digest=row["artifact_digest"],
        files=tuple(ArtifactFile(**file) for file in body["files"]),
        flavor=body["flavor"],
        signature_json=body["signature_json"],
        input_example_json=body["input_example_json"],
        requirements=tuple(body["requirements"]),
        metrics=body["metrics"],
        code_revision=body["code_revision"],
        commit_time=datetime.fromisoformat(body["commit_time"]) if body["commit_time"] else None,
        profile_digest=row["profile_digest"],
        reference_log_loss=row["reference_log_loss"],
    )


def _promise(body: dict[str, Any] | None) -> Promise | None:
    return Promise(**body | {"direction": Direction(body["direction"])}) if body else None


def _outcomes(body: dict[str, Any]) -> Outcomes:
    """How outcomes are followed; a version that was registered before this could be said has none."""
    cost = tuple((fixed, factor) for fixed, factor in body.get("cost", ()))
    return Outcomes(**body | {"segments": tuple(body.get("segments", ())), "cost": cost})


def _features_body(features: Features | None) -> dict[str, Any] | None:
    return asdict(features) | {"fallback": features.fallback.value} if features else None


def _features(body: dict[str, Any] | None) -> Features | None:
    if not body:
        return None
    views = tuple(
        View(**view | {"inputs": tuple(view["inputs"]), "keys": tuple(view["keys"])}) for view in body["views"]
    )
    return Features(**body | {"views": views, "fallback": Fallback(body["fallback"])})


def dataset_of(row: Row) -> Dataset:
    """A dataset from its row, joined with its newest datasheet."""
    sheet = Datasheet(
        document=row["document"],
        answers=json.loads(row["answers"]),
        owner=row["owner"],
        licence=row["licence"],
        personal_data=row["personal_data"],
        period_start=row["period_start"],
        period_end=row["period_end"],
    )
    actor = Actor(row["registered_by"], row["verified"])
    return Dataset(row["name"], row["version"], row["digest"], row["revision"], sheet, actor)


def pointing_of(row: Row) -> Pointing:
    """An alias's pointing from its row."""
    return Pointing(row["model"], row["alias"], row["version"], row["epoch"], row["since"], row["until"])
