"""What the campaign registers: tiny versions, all of them of high risk, so that nothing is approved by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from goldenpath.registry.v1 import events_pb2 as registered
from goldenpath.registry.v1 import registry_service_pb2 as registry

QUESTIONS: Final = (
    "purpose",
    "composition",
    "collection_process",
    "preprocessing",
    "known_gaps",
    "personal_data",
    "licence",
    "maintenance",
)


def registration_of(model: str, run: str, *, answers: Iterable[str] = QUESTIONS) -> registry.RegisterVersionRequest:
    """A version of a model, from an MLflow run; a datasheet without answers is what governance refuses."""
    return registry.RegisterVersionRequest(
        model=model,
        kind=registered.KIND_MODEL,
        risk_tier=registered.RISK_TIER_HIGH,
        owner="campaign",
        use_case="faults",
        mlflow_run=run,
        datasets=[dataset_of(f"data-of-{model}", answers, owner="campaign")],
        promise=registered.Promise(metric="log_loss", margin=0.1),
        rollout=registered.RolloutSettings(steps=[50, 100], minimum_sample=20, latency_margin=20, error_margin=0.5),
    )


def dataset_of(name: str, answers: Iterable[str], *, owner: str) -> registry.DatasetInput:
    """A dataset whose datasheet answers these questions."""
    return registry.DatasetInput(
        name=name,
        digest=hashlib.sha256(name.encode()).hexdigest(),
        datasheet_json="{}",
        answers=dict.fromkeys(answers, "It is made up."),
        owner=owner,
        licence="CC0-1.0",
        personal_data="none",
    )
