"""What rules read about a version: the facts, their vocabulary in policies, and the revision that tells them apart.

The facts are the registry's, asked as they are now; a copy is kept with each verdict, so that the evidence stays
readable after the world has moved on. The revision rises whenever something that rules read changes: a datasheet, a
metric, a reviewer's word. What no rule reads is no fact here.

`VOCABULARY` is closed and typed: a policy that misspells a fact is refused when it is applied, not when it judges.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

VOCABULARY: Final = {
    "model.name": "string",
    "model.kind": "string",  # model or agent
    "model.risk_tier": "string",  # minimal, limited or high
    "model.owner": "string",  # empty where nobody answers for it
    "model.use_case": "string",
    "version.number": "int",
    "version.artifact_digest": "string",
    "version.environment_digest": "string",
    "version.requirements": "list<string>",  # such as scikit-learn==1.6.1
    "version.code_revision": "string",
    "version.has_signature": "bool",
    "version.has_reference_profile": "bool",
    "version.has_input_example": "bool",
    "version.retired": "bool",
    "author.name": "string",
    "author.verified": "bool",  # false: only a claim
    "metrics": "map<string, double>",
    "promise.metric": "string",
    "promise.value": "double",
    "promise.margin": "double",
    # Each has the keys name, version, label (name@version), digest, owner, licence, personal_data and answers.
    "datasets": "list<map<string, dyn>>",
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A documented dataset that the version was made from.

    Args:
        name: Its name.
        version: Its version, 1 or more.
        digest: SHA-256 over its data, 64 hex digits.
        owner: Who answers for the data.
        licence: The licence's SPDX identifier, or its name.
        personal_data: The class of personal data.
        answers: The datasheet's answers by question; a question without an answer is absent.
    """

    name: str
    version: int
    digest: str = ""
    owner: str = ""
    licence: str = ""
    personal_data: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)

    def as_rules_see_it(self) -> dict[str, Any]:
        """The dataset for a policy. Its licence and personal-data class answer the questions of those names."""
        stated = {"licence": self.licence, "personal_data": self.personal_data}
        answers = {question: answer for question, answer in {**stated, **self.answers}.items() if answer.strip()}
        return {**asdict(self), "answers": answers, "label": f"{self.name}@{self.version}"}


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that rules read about a version, at one moment. The fields are those of the vocabulary."""

    model: str
    version: int
    artifact_digest: str
    kind: str = "model"
    risk_tier: str = "high"
    owner: str = ""
    use_case: str = ""
    environment_digest: str = ""
    requirements: tuple[str, ...] = ()
    code_revision: str = ""
    has_signature: bool = False
    has_reference_profile: bool = False
    has_input_example: bool = False
    retired: bool = False
    author: str = ""
    author_verified: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    promise_metric: str = ""
    promise_value: float = 0.0
    promise_margin: float = 0.0
    datasets: tuple[Dataset, ...] = ()

    @property
    def label(self) -> str:
        """The version as people write it, such as credit-prescreen@2."""
        return f"{self.model}@{self.version}"

    @property
    def digest(self) -> str:
        """SHA-256 over all of them, 64 hex digits: the same facts have the same digest."""
        return _digest(asdict(self))

    @property
    def material_digest(self) -> str:
        """SHA-256 over what a reviewer's word depends on: everything but the wording of the datasheets' answers.

        Whether a question is answered is for a rule to see. To reword an answer must not put every version that the
        dataset stands behind back in the reviewers' queue.
        """
        datasets = tuple(replace(dataset, answers={}) for dataset in self.datasets)
        return _digest(asdict(replace(self, datasets=datasets)))

    def as_rules_see_them(self) -> dict[str, Any]:
        """The facts under the names of the vocabulary."""
        return {
            "model.name": self.model,
            "model.kind": self.kind,
            "model.risk_tier": self.risk_tier,
            "model.owner": self.owner.strip(),
            "model.use_case": self.use_case.strip(),
            "version.number": self.version,
            "version.artifact_digest": self.artifact_digest,
            "version.environment_digest": self.environment_digest,
            "version.requirements": list(self.requirements),
            "version.code_revision": self.code_revision,
            "version.has_signature": self.has_signature,
            "version.has_reference_profile": self.has_reference_profile,
            "version.has_input_example": self.has_input_example,
            "version.retired": self.retired,
            "author.name": self.author,
            "author.verified": self.author_verified,
            "metrics": dict(self.metrics),
            "promise.metric": self.promise_metric,
            "promise.value": self.promise_value,
            "promise.margin": self.promise_margin,
            "datasets": [dataset.as_rules_see_it() for dataset in self.datasets],
        }


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
