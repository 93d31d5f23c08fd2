from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from services.chassis.errors import Conflict, Invalid
from services.modelserver import environment


def test_what_is_installed_satisfies_its_own_version() -> None:
    environment.satisfy([f"numpy=={version('numpy')}", "scikit_learn>=1.0", "pandas"])


def test_every_gap_is_named_with_what_was_wanted_and_found() -> None:
    with pytest.raises(Conflict) as raised:
        environment.satisfy(["numpy==1.0.1", "no-such-package>=2", "pandas"])
    found = version("numpy")
    assert f"numpy: wanted ==1.0.1, found {found}; no-such-package: wanted >=2, found none" in raised.value.what


def test_a_requirement_for_another_platform_is_passed_over() -> None:
    environment.satisfy(['no-such-package; sys_platform == "no-such-system"'])


def test_mlflow_may_be_missing_where_the_model_is_read_without_it() -> None:
    environment.satisfy(["mlflow==0.0.1", "mlflow_skinny==0.0.1"], without=environment.MLFLOW)


def test_a_line_that_is_no_requirement_is_refused() -> None:
    with pytest.raises(Invalid, match="'not a requirement' is no requirement"):
        environment.satisfy(["not a requirement"])


def test_comments_options_and_empty_lines_are_no_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# made by hand\n--no-index\n\npandas>=2 # newest\nnumpy\nnumpy\n")
    assert environment.requirements_of(tmp_path) == ["numpy", "pandas>=2"]


def test_an_artifact_without_the_file_requires_nothing(tmp_path: Path) -> None:
    assert environment.requirements_of(tmp_path) == []


def test_the_digest_does_not_depend_on_the_order() -> None:
    assert environment.digest_of(["b==1", "a==2"]) == environment.digest_of(["a==2", "b==1"])
