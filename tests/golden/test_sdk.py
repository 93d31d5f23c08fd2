from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import golden
from golden import sdk
from services.chassis.errors import Invalid, NotFound

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, as it opens its database

FRAME = pd.DataFrame({"age": [30.0, 40.0, 50.0], "work": ["a", "b", None]})


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """MLflow on a store of this module's own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv(sdk.ARTIFACT_ROOT, str(folder / "artifacts"))
        import mlflow

        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        golden.use_experiment("coins")
        yield mlflow
        mlflow.set_tracking_uri(before)


@pytest.fixture
def run(mlflow: Any) -> Iterator[Any]:
    """A run that is under way."""
    with mlflow.start_run() as started:
        yield started


def reference_of(mlflow: Any, run: Any) -> pd.DataFrame:
    return pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{sdk.REFERENCE}"))


def tags_of(mlflow: Any, run: Any) -> dict[str, str]:
    tags: dict[str, str] = mlflow.get_run(run.info.run_id).data.tags
    return tags


def test_a_new_experiments_artifacts_lie_where_the_platform_wants_them(run: Any, tmp_path_factory: Any) -> None:
    assert run.info.artifact_uri.startswith((tmp_path_factory.getbasetemp()).as_uri())
    assert f"/artifacts/coins/{run.info.run_id}/" in run.info.artifact_uri


def test_an_experiment_that_exists_is_used_again(mlflow: Any, run: Any) -> None:
    golden.use_experiment("coins")

    assert mlflow.get_experiment_by_name("coins").experiment_id == run.info.experiment_id


def test_the_reference_is_logged_in_time_order_with_scores_and_labels(mlflow: Any, run: Any) -> None:
    golden.log_reference(FRAME, scores=[0.1, 0.2, 0.3], label=[0, 1, np.nan], time_order=[3, 1, 2])

    logged = reference_of(mlflow, run)
    assert list(logged.columns) == ["age", "work", "__score__", "__label__"]
    assert list(logged["age"]) == [40.0, 50.0, 30.0]
    assert list(logged["__score__"]) == [0.2, 0.3, 0.1]
    assert list(logged["__label__"].fillna(-1)) == [1.0, -1.0, 0.0]


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(np.array(["2026-01-05T03", "2026-01-05T01", "2026-01-05T02"], dtype="datetime64[s]"), id="numpy"),
        pytest.param([datetime(2026, 1, 5, hour, tzinfo=UTC) for hour in (3, 1, 2)], id="datetimes"),
        pytest.param(
            pd.Series(pd.to_datetime([f"2026-01-05T0{hour}:00+01:00" for hour in (4, 2, 3)])), id="another zone"
        ),
    ],
)
def test_moments_are_kept_for_a_reference_by_hour(mlflow: Any, run: Any, times: Any) -> None:
    golden.log_reference(FRAME, scores=[0.1, 0.2, 0.3], time_order=times)

    logged = reference_of(mlflow, run)
    began = int(datetime(2026, 1, 5, 1, tzinfo=UTC).timestamp())
    assert [moment / 1_000_000 - began for moment in logged["__time__"]] == [0, 3600, 7200]


def test_rows_without_a_time_keep_their_order_and_labels_may_be_unknown(mlflow: Any, run: Any) -> None:
    golden.log_reference(FRAME, scores=pd.Series([0.1, 0.2, 0.3], index=[7, 8, 9]))

    logged = reference_of(mlflow, run)
    assert list(logged.columns) == ["age", "work", "__score__"]
    assert list(logged["age"]) == [30.0, 40.0, 50.0]


def test_a_category_is_logged_as_the_text_that_it_stands_for(mlflow: Any, run: Any) -> None:
    golden.log_reference(pd.DataFrame({"work": pd.Categorical(["a", "b"])}), scores=[0.1, 0.2])

    assert list(reference_of(mlflow, run)["work"]) == ["a", "b"]


@pytest.mark.parametrize("make", [list, np.array])
def test_vectors_are_logged_as_they_are(mlflow: Any, run: Any, make: Any) -> None:
    golden.log_reference(pd.DataFrame({"text": [make([1.0, 2.0]), None, make([3.0, 4.0])]}), scores=[0.1, 0.2, 0.3])

    logged = list(reference_of(mlflow, run)["text"])
    assert (list(logged[0]), logged[1], list(logged[2])) == ([1.0, 2.0], None, [3.0, 4.0])


@pytest.mark.parametrize(
    ("frame", "given", "where"),
    [
        pytest.param(FRAME.head(0), {"scores": []}, "", id="no rows"),
        pytest.param(FRAME, {"scores": [0.1]}, "scores", id="too few scores"),
        pytest.param(FRAME, {"scores": [[0.9, 0.1]] * 3}, "scores", id="both classes' scores"),
        pytest.param(FRAME, {"scores": [0.1, np.nan, 0.2]}, "scores", id="a missing score"),
        pytest.param(FRAME, {"scores": [0.1] * 3, "label": [1]}, "label", id="too few labels"),
        pytest.param(FRAME, {"scores": [0.1] * 3, "time_order": [1]}, "time_order", id="too few times"),
        pytest.param(
            FRAME,
            {"scores": [0.1] * 3, "time_order": np.array(["NaT"] * 3, dtype="datetime64[s]")},
            "time_order",
            id="a missing moment",
        ),
        pytest.param(FRAME.assign(__score__=1.0), {"scores": [0.1] * 3}, "__score__", id="a taken name"),
        pytest.param(FRAME.assign(when=pd.Timestamp(0)), {"scores": [0.1] * 3}, "when", id="moments"),
        pytest.param(FRAME.assign(things=pd.Series([{1}, {2}, {3}])), {"scores": [0.1] * 3}, "things", id="sets"),
    ],
)
def test_a_reference_that_could_not_be_profiled_is_refused(frame: Any, given: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as error:
        golden.log_reference(frame, **given)

    assert error.value.where == where


def test_code_is_logged_with_its_time_in_utc(mlflow: Any, run: Any) -> None:
    golden.log_code("a" * 40, datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))))

    tags = tags_of(mlflow, run)
    assert (tags[sdk.COMMIT], tags[sdk.COMMIT_TIME]) == ("a" * 40, "2026-03-01T10:00:00+00:00")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(("a" * 40, None), id="no time"),
        pytest.param((None, datetime(2026, 3, 1, tzinfo=UTC)), id="no commit"),
        pytest.param(("a" * 40, datetime(2026, 3, 1)), id="no time zone"),  # noqa: DTZ001 - that is what is refused
    ],
)
def test_a_commit_belongs_with_its_time(given: tuple[str | None, datetime | None]) -> None:
    with pytest.raises(Invalid):
        golden.log_code(*given)


def test_git_says_which_code_it_was_and_whether_it_had_changed(
    mlflow: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("1")
    commit(tmp_path)
    clean = golden.log_code()
    (tmp_path / "code.py").write_text("2")
    changed = golden.log_code()

    assert clean is not None
    assert (len(clean.commit), clean.committed_at, clean.uncommitted) == (
        40,
        datetime(2026, 3, 1, 10, tzinfo=UTC),
        False,
    )
    assert changed == dataclasses.replace(clean, uncommitted=True)
    assert tags_of(mlflow, run)[sdk.UNCOMMITTED] == "true"


@pytest.mark.usefixtures("run")
def test_where_there_is_no_repository_nothing_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    assert golden.log_code() is None


def test_requirements_are_pinned_to_what_is_installed() -> None:
    assert golden.pinned("pandas") == [
        f"mlflow-skinny=={metadata.version('mlflow-skinny')}",
        f"pandas=={pd.__version__}",
    ]


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(NotFound, match="no-such-package is not installed here"):
        golden.pinned("no-such-package")


def commit(folder: Path) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    when = {
        "GIT_COMMITTER_DATE": "2026-03-01T12:00:00+02:00",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "PATH": "/usr/bin:/bin",
    }
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True, env=when)
