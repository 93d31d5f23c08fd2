"""golden.yaml: the one file in which a data scientist says what they want.

`load` reads it into a `Project`, or says in one go everything that is wrong with it: at which line, what, and what to
do. A key that doesn't exist is refused, since a misspelt one would silently do nothing, and the nearest one that does
exist is offered. Paths in the file count from its folder, and must be there.

Only what the file says is checked here. Whether that is enough to go live is for governance to judge: a project without
an owner loads, and is refused later by the policy that wants one.

docs/golden.schema.json is the same for editors: it is what `schema` gives.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
)

from golden import yaml_lines
from golden.yaml_lines import Problem
from services.chassis.errors import NotFound

FILE: Final = "golden.yaml"

_DURATION: Final = r"^[0-9]+(\.[0-9]+)? ?(s|m|h)$"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours"}
_ALL_TRAFFIC: Final = 100  # percent


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.match(_DURATION, value):
        raise ValueError("write a number and s, m or h, such as 30s")
    return timedelta(**{_UNITS[value[-1]]: float(value[:-1])})


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
    Field(gt=timedelta()),
    WithJsonSchema({"type": "string", "pattern": _DURATION}),
]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class Dataset(_Part):
    """The documented data that a model is made from."""

    name: Name
    """The dataset's name, such as census-1994. Other data under the same name makes a new version of it."""

    datasheet: Path
    """Where the datasheet is: a markdown file of questions and answers."""

    data: Annotated[tuple[Path, ...], Field(min_length=1)]
    """The files that hold the data. Their bytes make the dataset's digest."""


class Promise(_Part):
    """What a version must keep to in production."""

    metric: Annotated[str, Field(min_length=1)]
    """The metric's name, such as log_loss; the run logs it as validation.log_loss."""

    margin: Annotated[float, Field(ge=0)]
    """How much worse than promised it may become, in the metric's unit."""

    value: float | None = None
    """What is promised, in the metric's unit. Without it: the run's own validation value."""

    direction: Literal["lower", "higher"] | None = None
    """Which way the metric is better. Without it: as the platform knows the metric."""


class Drift(_Part):
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


class Rollout(_Part):
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


class Project(_Part):
    """A project: one model, its data, and what it promises."""

    model: Name
    """The model's name."""

    risk_tier: Literal["minimal", "limited", "high"]
    """How much harm a wrong answer can do. High: it decides about people or money, and a second person must agree."""

    dataset: Dataset
    """The data it is made from."""

    promise: Promise
    """What it must keep to in production."""

    owner: str = ""
    """The person or team that answers for it."""

    use_case: str = ""
    """What it is used for, in a sentence."""

    kind: Literal["model", "agent"] = "model"
    """A model gives scores; an agent acts."""

    project: Name = Field(default_factory=lambda said: said["model"])
    """The project it belongs to, which is also the MLflow experiment. Without it: the model's name."""

    drift: Drift = Field(default_factory=Drift)
    """How its drift is judged."""

    rollout: Rollout = Field(default_factory=Rollout)
    """How a new version gets its traffic."""

    notebook: Path | None = None
    """The notebook that trains it."""

    _file: Path = PrivateAttr(default=Path(FILE))

    @property
    def file(self) -> Path:
        """The golden.yaml that it was read from."""
        return self._file

    def at(self, path: Path) -> Path:
        """Where a path of the file is: it counts from the file's folder."""
        return self._file.parent / path


def load(path: Path | str = ".") -> Project:
    """Read a project.

    Args:
        path: A golden.yaml, or the folder that holds one.

    Raises:
        NotFound: there is none.
        Invalid: something in it is wrong; everything that is wrong is named at once, each with its line.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise NotFound(f"there is no {FILE} here", where=str(file), fix="name the project's folder, or write one")
    said = yaml_lines.parse(yaml_lines.text_of(file), file, start="model: the-model's-name")
    try:
        project = Project.model_validate(said.values)
    except ValidationError as error:
        raise yaml_lines.refusal(said, yaml_lines.problems(said, error, Project)) from None
    project._file = file  # noqa: SLF001 - set once, here, where it is known
    if missing := _missing_files(project):
        raise yaml_lines.refusal(said, missing)
    return project


def schema() -> str:
    """The JSON schema of golden.yaml, as docs/golden.schema.json has it."""
    return json.dumps({"$id": "golden.schema.json", **Project.model_json_schema()}, indent=2) + "\n"


def _missing_files(project: Project) -> list[Problem]:
    named: list[tuple[tuple[str | int, ...], Path | None]] = [
        (("dataset", "datasheet"), project.dataset.datasheet),
        *((("dataset", "data", place), path) for place, path in enumerate(project.dataset.data)),
        (("notebook",), project.notebook),
    ]
    return [
        Problem(at, f"{path} isn't there", f"paths count from {project.file.parent.resolve().name}/")
        for at, path in named
        if path is not None and not project.at(path).is_file()
    ]


if __name__ == "__main__":
    sys.stdout.write(schema())
