"""A feature repository as it is read, and what a view's digest stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.chassis.errors import Invalid, NotFound
from services.features.definitions import View, views_of
from services.features.writer import repo_of
from tests.features.repository import REPOSITORY


def customers(folder: Path, definitions: str = REPOSITORY) -> View:
    folder.mkdir(exist_ok=True)
    (folder / "definitions.py").write_text(definitions)
    return views_of(folder, "fraud")[0]


def test_the_same_definitions_have_the_same_digest_wherever_they_stand(tmp_path: Path) -> None:
    assert customers(tmp_path / "one") == customers(tmp_path / "other")


@pytest.mark.parametrize(
    ("was", "now"),
    [
        pytest.param("timedelta(days=2)", "timedelta(days=3)", id="it lives longer"),
        pytest.param('name="mean_7d", dtype=Float64', 'name="mean_7d", dtype=Float32', id="a feature's type"),
        pytest.param('Field(name="mean_7d"', 'Field(name="median_7d"', id="a feature"),
        pytest.param('"customer", value_type=ValueType.STRING', '"customer", value_type=ValueType.INT64', id="a key"),
        pytest.param('history("customer_windows_history")', 'history("elsewhere")', id="where its rows come from"),
    ],
)
def test_who_changes_what_a_value_is_has_another_view(tmp_path: Path, was: str, now: str) -> None:
    changed = REPOSITORY.replace("import Float64", "import Float32, Float64").replace(was, now)
    assert customers(tmp_path, changed).digest != customers(tmp_path).digest


@pytest.mark.parametrize(
    ("was", "now"),
    [
        pytest.param("ttl=timedelta(days=2),", 'ttl=timedelta(days=2), owner="ada", tags={"a": "b"},', id="its owner"),
        pytest.param(
            'Field(name="count_7d", dtype=Float64), Field(name="mean_7d", dtype=Float64)',
            'Field(name="mean_7d", dtype=Float64), Field(name="count_7d", dtype=Float64)',
            id="the order of its features",
        ),
    ],
)
def test_what_changes_no_value_changes_no_digest(tmp_path: Path, was: str, now: str) -> None:
    assert customers(tmp_path, REPOSITORY.replace(was, now)).digest == customers(tmp_path).digest


def test_a_service_that_isnt_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "definitions.py").write_text(REPOSITORY)
    with pytest.raises(NotFound, match="no service credit; it has: fraud"):
        views_of(tmp_path, "credit")


def test_a_folder_without_definitions_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no Python file"):
        views_of(tmp_path, "fraud")


def test_a_view_under_another_name_cant_be_served(tmp_path: Path) -> None:
    renamed = REPOSITORY.replace("[customer_windows, ", '[customer_windows.with_name("payer"), ')
    with pytest.raises(Invalid, match="payer can't be served"):
        customers(tmp_path, renamed)


def test_two_definitions_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "definitions.py").write_text(REPOSITORY)
    (tmp_path / "more.py").write_text(REPOSITORY.replace("timedelta(days=2)", "timedelta(days=3)"))
    with pytest.raises(Invalid, match="two definitions have the name customer_windows"):
        views_of(tmp_path, "fraud")


@pytest.mark.parametrize(
    ("broken", "where", "what"),
    [
        pytest.param("import nowhere_to_be_found", "definitions.py:2", "ModuleNotFoundError", id="a line that fails"),
        pytest.param("one = (", "definitions.py:2", "SyntaxError", id="no Python"),
    ],
)
def test_a_file_that_cant_be_run_is_named_with_its_line(tmp_path: Path, broken: str, where: str, what: str) -> None:
    with pytest.raises(Invalid, match=what) as refused:
        customers(tmp_path, f"# mine\n{broken}\n")
    assert refused.value.where.endswith(where)


@pytest.mark.parametrize(
    ("was", "now", "what"),
    [
        pytest.param(
            'source=history("customer_windows_history")',
            'source=FileSource(path="customers.parquet", timestamp_field="event_time")',
            "history is kept elsewhere",
            id="a file",
        ),
        pytest.param(', created_timestamp_column="kept_at"', "", "nothing says when a row was kept", id="kept when"),
        pytest.param('name="mean_7d", dtype=Float64', 'name="mean_7d", dtype=Bytes', "BYTES can't be", id="a type"),
    ],
)
def test_a_view_that_cant_be_pushed_is_named_with_what_to_do(tmp_path: Path, was: str, now: str, what: str) -> None:
    said = REPOSITORY.replace("FeatureView, Field,", "FeatureView, Field, FileSource,")
    said = said.replace("import Float64", "import Bytes, Float64").replace(was, now)
    (tmp_path / "definitions.py").write_text(said)
    with pytest.raises(Invalid, match=what) as refused:
        repo_of(tmp_path)
    assert refused.value.where.startswith("feature view")
