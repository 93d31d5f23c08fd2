from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from golden import project, project_parts
from services.chassis.errors import Invalid, NotFound

ROOT = Path(__file__).parents[2]

WHOLE = """\
model: credit-prescreen
risk_tier: high
dataset:
  name: census-1994
  datasheet: datasheet.md
  data: [train.parquet]
promise:
  metric: log_loss
  margin: 0.03
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a golden.yaml into a folder that has the files that WHOLE names."""

    def written(text: str) -> Path:
        for name in ("datasheet.md", "train.parquet"):
            (tmp_path / name).touch()
        file = tmp_path / "golden.yaml"
        file.write_text(text)
        return file

    return written


def test_what_is_not_said_has_a_default(write: Write) -> None:
    said = project.load(write(WHOLE))

    assert (said.project, said.kind, said.owner) == ("credit-prescreen", "model", "")
    assert (said.drift.effect, said.drift.false_alarms_per_year) == ("psi", 1.0)
    assert said.rollout == project_parts.Rollout()


def test_a_folder_stands_for_its_golden_yaml_and_paths_count_from_it(write: Write) -> None:
    folder = write(WHOLE).parent

    said = project.load(folder)

    assert said.file == folder / "golden.yaml"
    assert said.at(said.dataset.datasheet) == folder / "datasheet.md"


@pytest.mark.parametrize(
    ("text", "duration"),
    [("30s", timedelta(seconds=30)), ("1.5 m", timedelta(seconds=90)), ("2h", timedelta(hours=2))],
)
def test_a_duration_is_written_as_people_write_it(write: Write, text: str, duration: timedelta) -> None:
    assert project.load(write(WHOLE + f"rollout: {{maximum_step: {text}}}\n")).rollout.maximum_step == duration


def test_the_example_is_a_whole_project() -> None:
    said = project.load(ROOT / "examples/credit")

    assert (said.model, said.risk_tier, said.rollout.steps) == ("credit-prescreen", "high", (5, 25, 100))


@pytest.mark.parametrize(
    ("text", "where", "what", "fix"),
    [
        pytest.param("ownr: me\n" + WHOLE, ":1", "there is no key ownr", "did you mean owner?", id="a misspelt key"),
        pytest.param(
            WHOLE + "  margn: 0\n", ":10", "there is no key promise.margn", "did you mean margin?", id="a nested one"
        ),
        pytest.param(
            WHOLE + "drift: {zzz: 1}\n",
            ":10",
            "there is no key drift.zzz",
            "the keys here are effect, tolerance, feature_tolerances, false_alarms_per_year, seasonal",
            id="nothing near",
        ),
        pytest.param(
            WHOLE.replace("risk_tier: high\n", ""), ":1", "risk_tier is missing", "add  risk_tier: ...", id="missing"
        ),
        pytest.param(
            WHOLE.replace("high", "hihg"),
            ":2",
            "risk_tier: it should be 'minimal', 'limited' or 'high', not 'hihg'",
            "",
            id="not one of the choices",
        ),
        pytest.param(
            WHOLE + "rollout:\n  steps: [5, 100, 25]\n",
            ":11",
            "rollout.steps: the steps must rise and end with 100, such as [5, 25, 100], not [5, 100, 25]",
            "",
            id="steps that fall",
        ),
        pytest.param(
            WHOLE + "rollout: {maximum_step: soon}\n",
            ":10",
            "rollout.maximum_step: write a number and ms, s, m, h or d, such as 30s, not 'soon'",
            "",
            id="no duration",
        ),
        pytest.param(
            WHOLE.replace("0.03", "-1"),
            ":9",
            "promise.margin: it should be greater than or equal to 0, not -1",
            "",
            id="below zero",
        ),
        pytest.param(
            WHOLE + "outcomes: {within: 0d}\n",
            ":10",
            "outcomes.within: it should be longer than nothing, not '0d'",
            "",
            id="no time for outcomes",
        ),
        pytest.param(
            WHOLE + "outcomes: {within: 1d, cost: {missed: 5}}\n",
            ":10",
            "outcomes.cost.missed: it should be keys and values; the keys are fixed, of_amount, not 5",
            "",
            id="a cost that is a number",
        ),
        pytest.param(
            WHOLE + "outcomes: {within: 1d, segments: country}\n",
            ":10",
            "outcomes.segments: it should be a list, such as [one, other], not 'country'",
            "",
            id="one segment",
        ),
        pytest.param(
            WHOLE + "features: {repo: ., service: fraud, deadline: 1h}\n",
            ":10",
            "features.deadline: it should be at most 10s, not '1h'",
            "",
            id="a deadline that is none",
        ),
        pytest.param(
            WHOLE + "retrain: {command: ''}\n", ":10", "retrain.command: it should say something", "", id="no command"
        ),
        pytest.param(
            WHOLE + "retrain: {command: python 'train.py}\n",
            ":10",
            "retrain.command: a quotation mark has no other",
            "",
            id="a command that can't be run",
        ),
        pytest.param(WHOLE + "model: twice\n", ":10", "the key model stands there twice", "keep one", id="twice"),
        pytest.param("- a\n", ":1", "expected keys and values", "start with  model: the-model's-name", id="a list"),
        pytest.param("", ":1", "expected keys and values", "start with  model: the-model's-name", id="empty"),
        pytest.param("model: [\n", ":2", "this isn't YAML", "", id="no YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(
    write: Write, text: str, where: str, what: str, fix: str
) -> None:
    file = write(text)

    with pytest.raises(Invalid) as error:
        project.load(file)

    assert (error.value.where, error.value.fix) == (f"{file}{where}", fix)
    assert error.value.what.startswith(what)


def test_a_file_that_is_not_there_is_named_at_its_line(write: Write) -> None:
    file = write(WHOLE + "notebook: gone.ipynb\n")

    with pytest.raises(Invalid, match=r"golden\.yaml:10: gone\.ipynb isn't there"):
        project.load(file)


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(write: Write) -> None:
    file = write("kind: robot\nmodel: Big Name\n" + WHOLE.removeprefix("model: credit-prescreen\n"))

    with pytest.raises(Invalid) as error:
        project.load(file)

    heading, *lines = error.value.what.splitlines()
    assert heading == "2 things are wrong:"
    assert [line.removeprefix(str(file)).split(" ")[:2] for line in lines] == [[":1:", "kind:"], [":2:", "model:"]]


def test_no_golden_yaml_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no golden\.yaml here"):
        project.load(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "golden.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(Invalid, match="UTF-8"):
        project.load(tmp_path)


def test_the_committed_schema_is_current() -> None:
    assert (ROOT / "docs/golden.schema.json").read_text() == project.schema()
