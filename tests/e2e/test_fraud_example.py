"""The card-fraud notebook, run from start to end on a few customers' transactions, in both versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest

from examples.credit.measure import load
from examples.fraud import models
from examples.fraud.simulator import DATA
from golden import datasheet, load_project, sdk, training

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, as it opens its database
    pytest.mark.timeout(600),  # the first test waits for two notebooks
]

FOLDER = DATA.parents[1]
CUSTOMERS = 250


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """Both versions' runs, trained one after the other into one store."""
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("fraud")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        made = {version: train(version, store, folder) for version in (1, 2)}
        return {version: MlflowClient(store).get_run(run) for version, run in made.items()}


def train(version: int, store: str, folder: Path) -> str:
    return training.start(
        FOLDER / "train.ipynb",
        folder / f"version-{version}.ipynb",
        parameters={"version": version, "customers": CUSTOMERS},
        tracking=store,
        artifacts=folder / "artifacts",
    ).run_id()


def test_version_2_is_better_by_every_metric(runs: dict[int, Any]) -> None:
    first, second = (runs[version].data.metrics for version in (1, 2))
    assert second["validation.log_loss"] < first["validation.log_loss"]
    assert second["validation.average_precision"] > first["validation.average_precision"]
    assert second["validation.auc"] > first["validation.auc"]
    assert second["validation.euros_a_day"] < first["validation.euros_a_day"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_says_what_the_registry_expects(runs: dict[int, Any], version: int) -> None:
    run = runs[version]
    assert run.info.status == "FINISHED"
    assert run.data.params["version"] == str(version)
    assert [found.dataset.name for found in run.inputs.dataset_inputs] == ["card-transactions-simulated"]


@pytest.mark.parametrize("version", [1, 2])
def test_the_reference_holds_what_was_held_out_and_the_logged_model_gives_its_scores(
    runs: dict[int, Any], version: int
) -> None:
    artifacts = Path(urlparse(runs[version].info.artifact_uri).path)
    reference = pd.read_parquet(artifacts / sdk.REFERENCE)
    model = load(model_of(runs, version))
    names = list(model.feature_names_in_)
    assert (tuple(names) == models.REQUEST) is (version == 1)
    assert list(reference.columns) == [*names, sdk.SCORE, sdk.LABEL]
    assert 0.005 < reference[sdk.LABEL].mean() < 0.02
    again = model.predict_proba(reference[names].head(100))[:, 1]
    np.testing.assert_allclose(reference[sdk.SCORE].head(100), again)


@pytest.mark.parametrize("version", [1, 2])
def test_the_example_input_of_a_model_is_rows_of_its_signature(runs: dict[int, Any], version: int) -> None:
    example = json.loads((model_of(runs, version) / "input_example.json").read_text())
    assert len(example["data"]) == 5
    assert ("terminal_risk_7d" in example["columns"]) is (version == 2)


def test_the_datasheet_answers_every_question_and_says_that_it_is_simulated() -> None:
    said = datasheet.read(FOLDER / load_project(FOLDER).dataset.datasheet)
    assert set(said.answered) == set(datasheet.QUESTIONS)
    assert "simulated" in said.answered["purpose"]
    assert said.personal_data == "none"


def model_of(runs: dict[int, Any], version: int) -> Path:
    files = Path(urlparse(runs[version].info.artifact_uri).path).parents[1] / "models"
    return next(path.parent for path in files.rglob("MLmodel") if runs[version].info.run_id in path.read_text())
