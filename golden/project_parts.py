"""What golden.yaml says, part by part: the data, the promise, and how drift, outcomes and rollouts are judged.

`project` puts them together.
"""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_DURATION: Final = r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)$"
_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_ALL_TRAFFIC: Final = 100  # percent
_LONGEST_DEADLINE: Final = timedelta(seconds=10)


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    said = re.match(_DURATION, value) if isinstance(value, str) else None
    if said is None:
        raise ValueError("write a number and ms, s, m, h or d, such as 30s")
    duration = timedelta(**{_UNITS[said[2]]: float(said.string.removesuffix(said[2]))})
    if not duration:
        raise ValueError("it should be longer than nothing")
    return duration


def _while_somebody_waits(duration: timedelta) -> timedelta:
    if duration > _LONGEST_DEADLINE:
        raise ValueError(f"it should be at most {_LONGEST_DEADLINE.total_seconds():g}s")
    return duration


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError:
        raise ValueError("a quotation mark has no other") from None
    if not words:
        raise ValueError("it should say something")
    return text


def _rising(steps: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in pairwise(steps)) or steps[-1] != _ALL_TRAFFIC:
        raise ValueError("the steps must rise and end with 100, such as [5, 25, 100]")
    return steps


Name = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="1 to 63 of a-z, 0-9 and -, starting with a letter."),
]
Percent = Annotated[int, Field(ge=1, le=_ALL_TRAFFIC)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION}),
]


class Part(BaseModel):
    """What golden.yaml says, in parts; a key that doesn't exist is refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class Dataset(Part):
    """The documented data that a model is made from."""

    name: Name
    """The dataset's name, such as census-1994. Other data under the same name makes a new version of it."""

    datasheet: Path
    """Where the datasheet is: a markdown file of questions and answers."""

    data: Annotated[tuple[Path, ...], Field(min_length=1)]
    """The files that hold the data. Their bytes make the dataset's digest."""


class Promise(Part):
    """What a version must keep to in production."""

    metric: Annotated[str, Field(min_length=1)]
    """The metric's name, such as log_loss; the run logs it as validation.log_loss."""

    margin: Annotated[float, Field(ge=0)]
    """How much worse than promised it may become, in the metric's unit."""

    value: float | None = None
    """What is promised, in the metric's unit. Without it: the run's own validation value."""

    direction: Literal["lower", "higher"] | None = None
    """Which way the metric is better. Without it: as the platform knows the metric."""


class Drift(Part):
    """How a model's drift is judged."""

    effect: Literal["psi", "js", "ks", "wasserstein"] = "psi"
    """The effect that counts: the population stability index, the Jensen-Shannon distance, the Kolmogorov-Smirnov
    distance, or the Wasserstein distance in deviations of the reference; the others are shown beside it."""

    tolerance: Annotated[float, Field(gt=0)] | None = None
    """How large the effect may be, in its own unit. Without it: the platform's default."""

    feature_tolerances: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Tolerances of single features, by feature, in the effect's unit."""

    false_alarms_per_year: Annotated[float, Field(gt=0)] = 1.0
    """How many false alarms a year are worth it, expected, per deployment."""

    seasonal: bool = False
    """Whether each hour of the week (UTC) is held against the reference's rows of that hour, for data that is one thing
    by day and another by night. It needs moments as `log_reference(time_order=...)`, and some hundred rows an hour; a
    change then has to show within an hour."""


class Rollout(Part):
    """How a new version gets its traffic. What isn't said is the platform's default."""

    steps: Annotated[tuple[Percent, ...], Field(min_length=1), AfterValidator(_rising)] | None = None
    """The new version's share of the traffic, step by step, in percent: rising, the last 100."""

    minimum_sample: Annotated[int, Field(ge=1)] | None = None
    """Requests on the new version before a step is judged."""

    maximum_step: Duration | None = None
    """The longest that a step may take, such as 30s, 5m or 2h."""

    error_margin: Annotated[float, Field(ge=0, le=1)] | None = None
    """How much higher than the stable version's the share of failed requests may be."""

    latency_margin: Annotated[float, Field(gt=1)] | None = None
    """How much slower than the stable version's the 95th percentile may be, as a ratio: 1.5 is half as slow again."""

    shadow: bool = False
    """Whether the new version first gets a copy of the traffic, whose answers nobody sees, to be compared. Not for an
    agent: it would act twice."""

    disagreement_limit: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The share of those answers that may differ from the stable version's."""

    minimum_pairs: Annotated[int, Field(ge=1)] | None = None
    """Answers on the same requests that are compared before they are judged."""

    holdback: Annotated[int, Field(ge=0, le=5)] = 0
    """Percent of the units that stay with the previous version after a promotion, to compare with."""


class Retrain(Part):
    """How the model is trained again, by `golden trainer`, when a new version is asked for."""

    command: Annotated[str, Field(min_length=1), AfterValidator(_command)]
    """What is run in this folder, such as `papermill train.ipynb /dev/null`. A finished run of the project's experiment
    must come of it, with the model; MLFLOW_TRACKING_URI says where to. It is no shell's line."""

    within: Duration = timedelta(hours=6)
    """The longest that it may take."""


class Cost(Part):
    """What one kind of decision costs."""

    fixed: Annotated[float, Field(ge=0)] = 0.0
    """For every record, in the currency of the amount."""

    of_amount: Annotated[float, Field(ge=0)] = 0.0
    """Of the record's amount, as a factor: 1 where all of it is lost."""


class CostMatrix(Part):
    """What decisions cost; what isn't said costs nothing."""

    passed: Cost = Field(default_factory=Cost)
    """Decided not to be positive, and wasn't."""

    missed: Cost = Field(default_factory=Cost)
    """Decided not to be positive, and was."""

    false_alarm: Cost = Field(default_factory=Cost)
    """Decided to be positive, and wasn't."""

    caught: Cost = Field(default_factory=Cost)
    """Decided to be positive, and was."""


class Features(Part):
    """Which inputs the model server reads from a feature store, by keys that a request gives instead of them."""

    repo: Path
    """The folder with the feature repository: Python files that define Feast's entities, feature views and services."""

    service: Annotated[str, Field(min_length=1)]
    """The feature service. Its features' names are the names of the model's inputs."""

    deadline: Annotated[Duration, AfterValidator(_while_somebody_waits)] = timedelta(milliseconds=50)
    """How long a read may take, such as 50ms, and at most 10s; then the fallback is taken."""

    fallback: Literal["missing", "fail"] = "missing"
    """What becomes of a request where the store gives no value: its features are missing values, or it fails with
    503."""


class Outcomes(Part):
    """How what turns out to be true is followed, and held against the promise."""

    within: Duration
    """How long after a prediction its outcome may come, such as 7d. Then the record counts, in the order of records, so
    that what is reported early doesn't weigh more."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The score from which on you decide that a record is positive."""

    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of a regression the quantile that predictions are meant to be. The metric quantile_loss is about it."""

    amount: str = ""
    """The numeric input that says what a record is about, in the currency."""

    segments: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """Inputs of text by whose values performance is shown apart."""

    cost: CostMatrix | None = None
    """What decisions cost. The metric cost, its mean per record, can be promised."""
