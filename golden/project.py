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
import sys
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, PrivateAttr, ValidationError

from golden import yaml_lines
from golden.project_parts import Dataset, Drift, Features, Name, Outcomes, Part, Promise, Retrain, Rollout
from golden.yaml_lines import Problem, Said
from services.chassis.errors import Invalid, NotFound

FILE: Final = "golden.yaml"


class Project(Part):
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

    features: Features | None = None
    """Which inputs come from a feature store. Without it all come with the request."""

    outcomes: Outcomes | None = None
    """How what turns out to be true is followed. Without it the promise isn't held against production."""

    rollout: Rollout = Field(default_factory=Rollout)
    """How a new version gets its traffic."""

    notebook: Path | None = None
    """The notebook that trains it."""

    retrain: Retrain | None = None
    """How it is trained again when a new version is asked for. Without it somebody does it by hand."""

    _file: Path = PrivateAttr(default=Path(FILE))
    _said: Said | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path:
        """The golden.yaml that it was read from."""
        return self._file

    def placed(self, error: Invalid) -> Invalid:
        """What a service finds wrong with something of the file, with its line."""
        at = tuple(error.where.split("."))
        if self._said is None or at[0] not in type(self).model_fields:
            return error
        return Invalid(f"{error.where}: {error.what}", where=f"{self.file}:{self._said.line(at)}", fix=error.fix)

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
    project._file, project._said = file, said  # noqa: SLF001 - set once, here, where it is known
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
    missing = [(at, path) for at, path in named if path is not None and not project.at(path).is_file()]
    if project.features is not None and not project.at(project.features.repo).is_dir():
        missing.append((("features", "repo"), project.features.repo))
    return [
        Problem(at, f"{path} isn't there", f"paths count from {project.file.parent.resolve().name}/")
        for at, path in missing
    ]


if __name__ == "__main__":
    sys.stdout.write(schema())
