"""The example's notebook, run from start to end on little data: version 1 on SQLite, version 2 on PostgreSQL."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest
import yaml

from examples.credit import census, measure
from golden import sdk, training
from golden.embedded.postgres import PostgresServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, as it opens its database
    pytest.mark.timeout(600),  # the first test waits for two notebooks
]

ROWS = 12_000  # with fewer, boosted trees are no better than a linear model
LOADS_AND_PREDICTS = """
import json, sys
from pathlib import Path
import pandas as pd
from examples.credit.measure import load
folder = Path(sys.argv[1])
example = json.loads((folder / "input_example.json").read_text())
scores = load(folder).predict_proba(pd.DataFrame(example["data"], columns=example["columns"]))[:, 1]
print(json.dumps({"scores": scores.tolist(), "mlflow": "mlflow" in sys.modules}))
"""


@dataclass(frozen=True)
class Finished:
    """A finished run: as the store tells it, and where its files are."""

    version: int
    run: Any
    model: Path
    reference: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[dict[int, Finished]]:
    """Both versions, trained side by side."""
    folder = tmp_path_factory.mktemp("credit")
    name, password = f"t{secrets.token_hex(5)}", secrets.token_urlsafe(12)
    postgres.create_database(name, name, password)
    stores = {
        1: f"sqlite:///{folder / 'mlflow.db'}",
        2: postgres.dsn(name, name, password).replace("postgresql://", "postgresql+psycopg://"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        started = {version: train(version, store, folder) for version, store in stores.items()}
        yield {version: finished(version, stores[version], started[version].run_id()) for version in stores}


@pytest.fixture(params=[1, 2], ids=["version 1", "version 2"])
def done(request: pytest.FixtureRequest, runs: dict[int, Finished]) -> Finished:
    return runs[request.param]


def test_a_run_says_what_governance_will_ask(done: Finished) -> None:
    data = done.run.data

    assert done.run.info.status == "FINISHED"
    assert data.params["version"] == str(done.version)
    assert 0.05 < data.metrics["validation.log_loss"] < 0.2
    assert 0.85 < data.metrics["validation.auc"] < 1
    assert [found.dataset.name for found in done.run.inputs.dataset_inputs] == ["census-1994"]


def test_a_run_lies_on_disk_as_the_registry_expects_it(done: Finished) -> None:
    assert {file.name for file in done.model.iterdir()} == {
        "MLmodel",
        "conda.yaml",
        "input_example.json",
        "model.skops",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    }
    packages = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")
    assert (done.model / "requirements.txt").read_text().splitlines() == [
        f"{package}=={metadata.version(package)}" for package in packages
    ]


def test_the_signature_is_flat_columns_of_numbers_and_text(done: Finished) -> None:
    types = {field["name"]: field["type"] for field in signature(done)}

    assert set(types.values()) == {"double", "string"}
    assert not {census.TARGET, *census.LEFT_OUT} & types.keys()
    assert (set(census.AMOUNTS) <= types.keys()) is (done.version == 2)


def test_the_reference_holds_the_models_inputs_on_rows_it_was_not_trained_on(done: Finished) -> None:
    reference = pd.read_parquet(done.reference)
    names = [field["name"] for field in signature(done)]
    records = census.read(census.TRAIN, 94)

    assert list(reference.columns) == [*names, sdk.SCORE, sdk.LABEL]
    assert len(reference) == len(records) - ROWS
    again = measure.load(done.model).predict_proba(reference[names].head(100))[:, 1]
    np.testing.assert_allclose(reference[sdk.SCORE].head(100), again)


def test_a_server_loads_the_model_without_mlflow(done: Finished) -> None:
    command = [sys.executable, "-c", LOADS_AND_PREDICTS, str(done.model)]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert not answer["mlflow"]
    assert all(0 < score < 1 for score in answer["scores"])


def test_version_2_is_better(runs: dict[int, Finished]) -> None:
    first, second = (runs[version].run.data.metrics["validation.log_loss"] for version in (1, 2))

    assert second < first


def train(version: int, store: str, folder: Path) -> training.Training:
    return training.start(
        measure.NOTEBOOK,
        folder / f"version-{version}.ipynb",
        parameters={"version": version, "rows": ROWS},
        tracking=store,
        artifacts=folder / f"artifacts-{version}",
    )


def finished(version: int, store: str, run_id: str) -> Finished:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    run = client.get_run(run_id)
    assert run.outputs is not None
    logged = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    return Finished(
        version,
        run,
        Path(urlparse(logged.artifact_location).path),
        Path(urlparse(run.info.artifact_uri).path) / sdk.REFERENCE,
    )


def signature(done: Finished) -> list[dict[str, str]]:
    fields: list[dict[str, str]] = json.loads(
        yaml.safe_load((done.model / "MLmodel").read_text())["signature"]["inputs"]
    )
    return fields
