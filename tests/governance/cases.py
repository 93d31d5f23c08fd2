"""What governance's tests share: a version that the shipped policy has nothing against, and ways to spoil it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from goldenpath.registry.v1.events_pb2 import Question
from services.governance.domain import policies
from services.governance.domain.facts import Dataset, Facts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = "a" * 64
SHIPPED = (files("services.governance") / "policies" / "default.yaml").read_text()
DEFAULT = policies.parse(SHIPPED, place="default.yaml")
QUESTIONS = tuple(name.removeprefix("QUESTION_").lower() for name in Question.keys()[1:])
CENSUS = Dataset(
    "census-1994",
    1,
    digest="d" * 64,
    owner="data-office",
    licence="CC-BY-4.0",
    personal_data="pseudonymous",
    answers=dict.fromkeys(QUESTIONS, "an answer"),
)
GOOD = Facts(
    model="credit-prescreen",
    version=1,
    artifact_digest=DIGEST,
    risk_tier="limited",
    owner="risk-team",
    environment_digest="e" * 64,
    requirements=("scikit-learn==1.6.1",),
    has_signature=True,
    has_reference_profile=True,
    author="mia@bank.example",
    author_verified=True,
    metrics={"log_loss": 0.12},
    promise_metric="log_loss",
    datasets=(CENSUS,),
)


def good(**changes: Any) -> Facts:
    """The good version, changed."""
    return replace(GOOD, **changes)


def without(*questions: str, **changes: Any) -> Dataset:
    """The good dataset without the answers to these questions."""
    left = {question: answer for question, answer in CENSUS.answers.items() if question not in questions}
    return replace(CENSUS, answers=left, **changes)
