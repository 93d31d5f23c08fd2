"""A registration: what somebody asks to register, as golden.yaml says it, before anybody has looked at the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from services.chassis.errors import Invalid
from services.registry.domain import datasets, features, names
from services.registry.domain.datasets import DatasetInput
from services.registry.domain.features import Features
from services.registry.domain.models import Kind, ModelFacts
from services.registry.domain.promises import PromiseWish
from services.registry.domain.signatures import input_types

_EFFECTS: Final = ("", "psi", "js", "ks", "wasserstein")  # what the monitor judges
_ALL_TRAFFIC: Final = 100  # percent
_LONGEST: Final = 10 * 366 * 86_400.0  # seconds
_NUMBERS: Final = frozenset({"double", "float", "long", "integer", "boolean"})  # of MLflow's types
_MOST_SEGMENTS: Final = 8  # inputs; each value of each has sums of its own for every day
_MOST_NAMED: Final = 5  # inputs in an error
_MOST_HELD_BACK: Final = 5  # percent: enough to compare with, and no more people on a version that was replaced


@dataclass(frozen=True, slots=True)
class Drift:
    """How a version's drift is judged; empty and 0 mean the shipped default. The units stand in DriftSettings."""

    effect: str = ""
    tolerance: float = 0.0
    feature_tolerances: Mapping[str, float] = field(default_factory=dict)
    false_alarms_per_year: float = 0.0
    seasonal: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a version gets its traffic; empty and 0 mean the shipped default. The units stand in RolloutSettings."""

    steps: tuple[int, ...] = ()
    minimum_sample: int = 0
    maximum_step_seconds: float = 0.0
    error_margin: float = 0.0
    latency_margin: float = 0.0
    shadow: bool = False
    disagreement_limit: float = 0.0
    minimum_pairs: int = 0
    holdback: int = 0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How what turns out to be true is followed; empty and 0 mean the shipped default. The units: OutcomeSettings.

    `cost` has a fixed price and a factor of the amount for each field of CostMatrix in turn.
    """

    within_seconds: float = 0.0
    threshold: float = 0.0
    amount: str = ""
    segments: tuple[str, ...] = ()
    cost: tuple[tuple[float, float], ...] = ()
    quantile: float = 0.0


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
    outcomes: Outcomes = Outcomes()
    training_request: str = ""
    features: Features | None = None


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
    _check_comparison(asked.rollout, asked.facts.kind)
    _check_outcomes(asked.outcomes)
    if asked.promise and asked.promise.metric == "cost" and not asked.outcomes.cost:
        raise Invalid("nothing says what a decision costs", where="outcomes.cost", fix="give a cost matrix")
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
        features=features.checked(asked.features),
        datasets=tuple(sorted(given, key=lambda one: one.name)),
        training_request=names.text(asked.training_request, where="training_request"),
    )


def _check_drift(drift: Drift) -> None:
    if drift.effect not in _EFFECTS:
        raise Invalid(f"{drift.effect[:80]!r} isn't judged; {', '.join(_EFFECTS[1:])} are", where="drift.effect")
    numbers = {"tolerance": drift.tolerance, "false_alarms_per_year": drift.false_alarms_per_year}
    numbers |= {f"feature_tolerances[{name}]": value for name, value in drift.feature_tolerances.items()}
    for name, value in numbers.items():
        if names.finite(value, where=f"drift.{name}") < 0:
            raise Invalid(f"{value} is below 0", where=f"drift.{name}")


def _check_rollout(rollout: Rollout) -> None:
    steps = rollout.steps
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


def _check_comparison(rollout: Rollout, kind: Kind) -> None:
    if rollout.shadow and kind is Kind.AGENT:
        raise Invalid(
            "an agent acts, so a copy of a request would act twice", where="rollout.shadow", fix="leave it out"
        )
    if not 0 <= names.finite(rollout.disagreement_limit, where="rollout.disagreement_limit") < 1:
        raise Invalid(f"a share below 1, not {rollout.disagreement_limit}", where="rollout.disagreement_limit")
    if rollout.holdback > _MOST_HELD_BACK:
        raise Invalid(f"1 to {_MOST_HELD_BACK} percent, or 0, not {rollout.holdback}", where="rollout.holdback")


def _check_outcomes(outcomes: Outcomes) -> None:
    if not 0 <= outcomes.within_seconds <= _LONGEST:
        raise Invalid("an outcome comes after its prediction, and within ten years", where="outcomes.within")
    if not 0 <= names.finite(outcomes.threshold, where="outcomes.threshold") < 1:
        raise Invalid(f"a score above 0 and below 1, not {outcomes.threshold}", where="outcomes.threshold")
    if not 0 <= names.finite(outcomes.quantile, where="outcomes.quantile") < 1:
        raise Invalid(f"a quantile is above 0 and below 1, not {outcomes.quantile}", where="outcomes.quantile")
    for price in (each for cost in outcomes.cost for each in cost):
        if names.finite(price, where="outcomes.cost") < 0:
            raise Invalid(f"a cost is 0 or more, not {price}", where="outcomes.cost")
    if any(factor for _, factor in outcomes.cost) and not outcomes.amount:
        raise Invalid("which input is the amount that costs are a share of?", where="outcomes.amount", fix="name it")
    if len(outcomes.segments) > _MOST_SEGMENTS or len(set(outcomes.segments)) < len(outcomes.segments):
        raise Invalid(f"at most {_MOST_SEGMENTS} inputs, each once", where="outcomes.segments")


def check_fit(outcomes: Outcomes, signature_json: str) -> None:
    """See that a version has the inputs that its outcomes are weighed and told apart by.

    A segment that it doesn't take is passed over: another version of the project may. Of tensors nobody can say.

    Raises:
        Invalid: the amount is none of its numbers, or a segment isn't text.
    """
    if not signature_json:
        return  # nobody can say
    types = input_types(signature_json)
    if "tensor" in types.values():
        return
    numbers = sorted(name for name, kind in types.items() if kind in _NUMBERS)
    if outcomes.amount and outcomes.amount not in numbers:
        raise Invalid(
            f"{outcomes.amount[:80]!r} is none of the model's numbers",
            where="outcomes.amount",
            fix=f"name one of them, such as {', '.join(numbers[:_MOST_NAMED])}" if numbers else "leave it out",
        )
    for name in outcomes.segments:
        if types.get(name, "string") != "string":
            raise Invalid(f"{name[:80]!r} isn't text, and segments are", where="outcomes.segments")
