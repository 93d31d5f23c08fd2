"""`python -m services.registry.clients.mlflow_reader`: reads MLflow runs for the registry, one JSON line each.

Input: the tracking URI on the first line, then a question a line: the run, and the folder for its model's files.
Output: an answer a line: what the run says, or an error with its kind. It ends with its input, also in the middle of
a run: nobody is left to read the answer.

It copies files and reads text: MLmodel (YAML), requirements, examples (JSON) and the reference rows (Parquet).
Nothing is unpickled, and no model is loaded.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from services.chassis.errors import GoldenpathError, Invalid, NotFound, Unavailable
from services.profile import ReferenceProfile
from services.registry.clients.reference import REFERENCE_PATH, reference_of
from services.registry.domain.signatures import input_example_json, signature_json
from services.registry.domain.versions import requirements_of

VALIDATION: Final = "validation."
_COMMIT: Final = "mlflow.source.git.commit"
_COMMIT_TIME: Final = "goldenpath.commit_time"
# MLflow by itself tries a database ten times, which took 108 s; whoever asked the registry has given up by then.
_TRIES: Final = 3
_MISSING: Final = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


class Reader:
    """Reads the runs of one MLflow.

    Args:
        tracking_uri: Where it keeps them.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._opened: Any = None

    @property
    def _client(self) -> Any:
        from mlflow.store.db import utils
        from mlflow.tracking import MlflowClient

        if self._opened is None:
            utils.MAX_RETRY_COUNT = _TRIES
            self._opened = MlflowClient(tracking_uri=self._uri)
        return self._opened

    def read(self, run_id: str, folder: Path) -> dict[str, Any]:
        """Copy the model's files of a run into a folder, and say what the run says.

        Raises:
            NotFound: there is no such run.
            Invalid: it has no model, or a file of it can't be read.
            Unavailable: MLflow doesn't answer.
        """
        with _translated(run_id):
            run = self._client.get_run(run_id)
            self._download(self._model_location(run), folder)
        _lift(folder)
        mlmodel = _mlmodel(folder)
        signature = signature_json(mlmodel)
        with tempfile.TemporaryDirectory() as beside, _translated(run_id):
            reference = self._reference(run, Path(beside))
            profile, log_loss = reference_of(reference, signature) if reference else (b"", math.nan)
        return {
            "flavor": next((name for name in sorted(mlmodel.get("flavors") or {}) if name != "python_function"), ""),
            "signature_json": signature,
            "input_example_json": input_example_json(signature, _example(folder)),
            "requirements": requirements_of(_text(folder / "requirements.txt")),
            "metrics": _metrics(run.data.metrics),
            "code_revision": run.data.tags.get(_COMMIT, ""),
            "commit_time": _commit_time(run.data.tags.get(_COMMIT_TIME, "")),
            "profile": base64.b64encode(profile).decode(),
            "reference_log_loss": log_loss,
            "seasonal": bool(profile) and ReferenceProfile.from_bytes(profile).seasons is not None,
        }

    def _model_location(self, run: Any) -> str:
        """Where the run's model lies: the newest one that it logged, or (before MLflow 3) its artifact named model."""
        logged = run.outputs.model_outputs if run.outputs else []
        if logged:
            return str(self._client.get_logged_model(logged[-1].model_id).artifact_location)
        if any(file.path == "model/MLmodel" for file in self._client.list_artifacts(run.info.run_id, "model")):
            return f"{run.info.artifact_uri}/model"
        raise Invalid(
            f"the run {run.info.run_id} has no model",
            where="mlflow_run",
            fix="log one in the run, such as mlflow.sklearn.log_model(model, name='model')",
        )

    def _download(self, location: str, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts

        download_artifacts(artifact_uri=location, dst_path=str(folder), tracking_uri=self._uri)

    def _reference(self, run: Any, beside: Path) -> Path | None:
        from mlflow.artifacts import download_artifacts

        folder = REFERENCE_PATH.rpartition("/")[0]
        if not any(file.path == REFERENCE_PATH for file in self._client.list_artifacts(run.info.run_id, folder)):
            return None
        location = f"{run.info.artifact_uri}/{REFERENCE_PATH}"
        return Path(download_artifacts(artifact_uri=location, dst_path=str(beside), tracking_uri=self._uri))


@contextmanager
def _translated(run_id: str) -> Iterator[None]:
    """Turns MLflow's errors, and its database's, into ours."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        if error.error_code in _MISSING:
            raise NotFound(
                f"MLflow has no run {run_id[:80]!r}, or no longer its files: {_first_line(error)}", where="mlflow_run"
            ) from None
        raise Unavailable(f"MLflow doesn't answer: {_first_line(error)}") from error
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(f"MLflow doesn't answer: {_first_line(error)}") from error


def _lift(folder: Path) -> None:
    """MLflow may copy a folder as a folder: its content is what was asked for."""
    if (folder / "MLmodel").exists():
        return
    inner = next((path for path in folder.iterdir() if (path / "MLmodel").exists()), None)
    if inner is None:
        raise Invalid("the model has no MLmodel file", where="mlflow_run")
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()


def _mlmodel(folder: Path) -> Mapping[str, Any]:
    try:
        parsed = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Invalid(f"the file can't be read: {_first_line(error)}", where="MLmodel") from None
    if not isinstance(parsed, dict):
        raise Invalid("the file isn't a mapping", where="MLmodel")
    return parsed


def _example(folder: Path) -> Any:
    for name in ("serving_input_example.json", "input_example.json"):
        content = _text(folder / name)
        if content:
            try:
                return json.loads(content)
            except ValueError as error:
                raise Invalid(f"the example isn't JSON: {error}", where=name) from None
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except ValueError:
        raise Invalid("the file isn't UTF-8", where=path.name) from None


def _metrics(logged: Mapping[str, float]) -> dict[str, float]:
    metrics = {name.removeprefix(VALIDATION): value for name, value in logged.items() if name.startswith(VALIDATION)}
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Invalid(f"{value} is no measurement", where=f"{VALIDATION}{name}", fix="log it again")
    return metrics


def _commit_time(text: str) -> str:
    if not text:
        return ""
    try:
        committed = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text[:80]!r} is no ISO 8601 time", where=_COMMIT_TIME) from None
    return (committed if committed.tzinfo else committed.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def answer(reader: Reader, question: Mapping[str, str]) -> dict[str, Any]:
    """What a question is answered with, be it an error."""
    try:
        return reader.read(question["run"], Path(question["folder"]))
    except GoldenpathError as error:
        return {"error": type(error).__name__, "what": error.what, "where": error.where, "fix": error.fix}
    except Exception as error:
        # Whatever a run does to the reader, the next question must find it well.
        logging.getLogger(__name__).exception("a run can't be read")
        return {"error": "Unknown", "what": _first_line(error), "where": "", "fix": ""}


def main() -> None:
    """Answer until the input ends."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # nothing of a service calls out
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"  # nobody watches
    reader = Reader(lines.get().strip())
    while True:
        out.write(json.dumps(answer(reader, json.loads(lines.get()))) + "\n")
        out.flush()


def _listen(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
