"""What a notebook tells the platform about its run, beside what MLflow itself records.

A finished run is all that the registry needs, and it never runs the model to learn more. What it finds, with
`store` for the tracking store (a PostgreSQL database as `postgresql+psycopg://...`, SQLite, or an MLflow server;
mlflow-skinny with sqlalchemy, alembic and psycopg is enough for each) and `artifacts` for the experiment's
artifact location, a folder:

    store: run.info                       run_id, experiment_id, status FINISHED, start and end in milliseconds
    store: run.data.metrics               validation.METRIC, such as validation.log_loss: the promise's value
    store: run.data.params                as the notebook logged them
    store: run.data.tags                  mlflow.source.git.commit    the code revision, 40 hex digits
                                          goldenpath.commit_time      ISO 8601, in UTC
                                          goldenpath.uncommitted      "true" where files differed from that commit
    store: run.inputs.dataset_inputs      .dataset.name is the documented dataset's name, such as census-1994
    store: run.outputs.model_outputs      .model_id of the one logged model: m-HEX. MLflow 3 keeps a model beside
                                          its run, not inside it; run.info.artifact_uri holds no model
    store: get_logged_model(model_id)     .artifact_location, .source_run_id, .status READY

    artifacts/models/MODEL_ID/artifacts/MLmodel                      signature as JSON in signature.inputs; flavours
                                        model.skops                  the model
                                        requirements.txt             one exact requirement a line, no last newline
                                        input_example.json           {"columns": [...], "data": [[...], ...]}
                                        serving_input_example.json   conda.yaml   python_env.yaml
    artifacts/RUN_ID/artifacts/goldenpath/reference.parquet          see `log_reference`

MLmodel names the run and the moment, so training twice gives two digests even where the models are equal;
registering one run twice gives one.

**The model's form is skops.** It is MLflow's default, a server reads it with `skops.io.load(path, trusted=...)`
without importing mlflow, and unlike a pickle it runs no code of its own: types beyond scikit-learn's trusted ones
are named in MLmodel, at flavors.sklearn.skops_trusted_types, where a reviewer sees them.

**Requirements are exact.** `pinned` writes them; naming mlflow-skinny keeps MLflow from adding the whole of mlflow.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.chassis.errors import Invalid, NotFound

if TYPE_CHECKING:
    import pandas as pd

ARTIFACT_ROOT: Final = "GOLDEN_ARTIFACT_ROOT"
"""The environment variable that names the folder of new experiments' artifacts."""

REFERENCE: Final = "goldenpath/reference.parquet"
"""The run artifact that holds the reference rows."""

SCORE: Final = "__score__"
"""The reference's column of scores."""

LABEL: Final = "__label__"
"""The reference's column of outcomes."""

TIME: Final = "__time__"
"""The reference's column of moments: microseconds since 1970-01-01 UTC."""

COMMIT: Final = "mlflow.source.git.commit"
"""The run's tag for the code revision: MLflow's own, so its pages show it too."""

COMMIT_TIME: Final = "goldenpath.commit_time"
"""The run's tag for when that revision was committed: where lead time starts."""

UNCOMMITTED: Final = "goldenpath.uncommitted"
"""The run's tag that says that the code was not the revision's, but changed since."""


@dataclass(frozen=True, slots=True)
class Code:
    """The code that a run was made with.

    Args:
        commit: The revision, 40 hex digits for git.
        committed_at: When it was committed, in UTC.
        uncommitted: True where the files differed from the revision.
    """

    commit: str
    committed_at: datetime
    uncommitted: bool = False


def use_experiment(project: str) -> None:
    """Put the runs that follow into the project's experiment, which is made where it doesn't exist yet.

    Without a server, MLflow would put a new experiment's artifacts below whatever folder the notebook runs in;
    GOLDEN_ARTIFACT_ROOT says where they belong. With a server, leave it unset: the server decides.
    """
    import mlflow

    root = os.environ.get(ARTIFACT_ROOT)
    if mlflow.get_experiment_by_name(project) is None:
        mlflow.create_experiment(project, artifact_location=(Path(root).resolve() / project).as_uri() if root else None)
    mlflow.set_experiment(project)


def pinned(*packages: str) -> list[str]:
    """Exact requirements for packages, at the versions that are installed here, with mlflow-skinny's.

    Raises:
        NotFound: one isn't installed.
    """
    return [f"{package}=={_version(package)}" for package in sorted({*packages, "mlflow-skinny"})]


def log_reference(
    frame: pd.DataFrame,
    *,
    scores: ArrayLike,
    label: ArrayLike | None = None,
    time_order: ArrayLike | None = None,
) -> None:
    """Log the rows that production will be held against, with the model's scores on them.

    They become the run artifact goldenpath/reference.parquet, in time order: the model's inputs under their own
    names, `__score__` and, where known, `__label__`. Give rows that the model was not trained on: on its training
    rows a model is surer of itself than it will ever be in production, so every later score would look like drift,
    and its loss there promises too much.

    Args:
        frame: The model's inputs, one row each; columns of numbers, booleans, text, or vectors (lists or arrays of
            numbers, all of one length). At least one row.
        scores: What the model gave for them: the probability of the positive class (the second of two), or for a
            regression the value; finite, shape (rows,).
        label: What was true: 1 for the positive class and 0 for the other, or the value; NaN where unknown.
            Shape (rows,).
        time_order: What tells older rows from newer ones: moments, or numbers that rise with time, shape (rows,).
            Without it the rows are taken to be in time order already. Moments (without a zone: UTC) are kept as
            `__time__`, for a reference by hour and weekday.

    Raises:
        Invalid: the parts have different lengths, a score is not finite, or a column can't be profiled.
    """
    import mlflow

    table = _reference(frame, scores, label, time_order)
    folder, name = REFERENCE.split("/")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        table.to_parquet(path, index=False, compression="zstd")
        mlflow.log_artifact(str(path), folder)


def log_code(commit: str | None = None, commit_time: datetime | None = None) -> Code | None:
    """Log which code made the run: where lead time starts, and what a reviewer will want to read.

    Args:
        commit: The revision; without it, that of the git repository around the working folder.
        commit_time: When it was committed, with its time zone; needed with `commit`.

    Returns:
        What was logged; None where no revision is given and there is no repository.

    Raises:
        Invalid: the two were not given together, or the time has no time zone.
    """
    import mlflow

    if (commit is None) is not (commit_time is None):
        raise Invalid("commit and commit_time belong together", fix="give both, or neither to ask git")
    code = _given(commit, commit_time) if commit and commit_time else _from_git(Path.cwd())
    if code:
        tags = {COMMIT: code.commit, COMMIT_TIME: code.committed_at.isoformat()}
        mlflow.set_tags(tags | ({UNCOMMITTED: "true"} if code.uncommitted else {}))
    return code


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise NotFound(f"{package} is not installed here", fix=f"pip install {package}") from None


def _reference(
    frame: pd.DataFrame, scores: ArrayLike, label: ArrayLike | None, time_order: ArrayLike | None
) -> pd.DataFrame:
    if frame.empty:
        raise Invalid("the reference has no rows")
    table = frame.assign(**{name: _plain(frame[name]) for name in map(str, frame.columns)})
    table[SCORE] = _scores(scores, len(frame))
    if label is not None:
        table[LABEL] = _one_each(label, len(frame), "label").astype(np.float64)
    if time_order is None:
        return table
    order = _one_each(_in_utc(time_order), len(frame), "time_order")
    if order.dtype.kind == "M":
        if np.isnat(order).any():
            raise Invalid("a row has no moment", where="time_order", fix="give one for every row")
        table[TIME] = order.astype("datetime64[us]").astype(np.int64)
    return table.iloc[np.argsort(order, kind="stable")]


def _in_utc(times: ArrayLike) -> NDArray[Any]:
    """Moments as numpy has them, in UTC; numbers as they are."""
    import pandas as pd

    values = np.asarray(times)
    if values.dtype.kind != "O" or not all(isinstance(value, datetime) for value in values.flat):
        return values
    return pd.to_datetime(values, utc=True).tz_localize(None).to_numpy()


def _every(column: pd.Series[Any], *kinds: type) -> bool:
    """Whether all values that aren't missing are of some kinds."""
    return bool(column.dropna().map(lambda value: isinstance(value, kinds)).all())


def _plain(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column as numbers, text or vectors: a pandas category is text in disguise."""
    import pandas as pd

    if str(column.name) in {SCORE, LABEL, TIME}:
        raise Invalid("the reference adds this column itself", where=str(column.name), fix="leave it out of the frame")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype.kind in "biuf" or _every(column, str) or _every(column, list, np.ndarray):
        return column
    raise Invalid(
        f"a column of {column.dtype} can't be profiled",
        where=str(column.name),
        fix="make it numbers, text or vectors, as the model's signature has it",
    )


def _scores(scores: ArrayLike, rows: int) -> NDArray[np.float64]:
    values = _one_each(scores, rows, "scores").astype(np.float64)
    if not np.isfinite(values).all():
        raise Invalid(f"{int((~np.isfinite(values)).sum())} scores are not finite", where="scores")
    return values


def _one_each(values: ArrayLike, rows: int, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (rows,):
        raise Invalid(
            f"expected one value for each of the {rows} rows, got the shape {list(array.shape)}",
            where=name,
            fix="for scores of a classifier give predict_proba(frame)[:, 1]" if name == "scores" else "",
        )
    return array


def _given(commit: str, commit_time: datetime) -> Code:
    if commit_time.tzinfo is None:
        raise Invalid("the time has no time zone", where="commit_time", fix="give it in UTC")
    return Code(commit, commit_time.astimezone(UTC))


def _from_git(folder: Path) -> Code | None:
    head = _git(folder, "log", "-1", "--format=%H %cI")
    if not head:
        return None
    commit, committed_at = head.split()
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return Code(commit, datetime.fromisoformat(committed_at).astimezone(UTC), uncommitted=bool(changes))


def _git(folder: Path, *arguments: str) -> str:
    """What git answers, empty where there is no git, no repository or no commit."""
    command: Sequence[str] = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - fixed
    except (OSError, subprocess.CalledProcessError):
        return ""
