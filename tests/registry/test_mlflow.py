"""Bringing runs from a real MLflow: a database URI and files, without a server."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from services.chassis.errors import Invalid, NotFound, Unavailable
from services.profile import ReferenceProfile
from services.profile.expected import Calibration
from services.registry.artifacts import ArtifactStore
from services.registry.clients.mlflow import MlflowRuns
from services.registry.clients.reference import log_loss, reference_of
from tests.registry.made_up import Trained

pa: Any = importlib.import_module("pyarrow")  # it is typed in part only
parquet: Any = importlib.import_module("pyarrow.parquet")
in_one_loop = pytest.mark.asyncio(loop_scope="module")


def _reading(artifacts: ArtifactStore, uri: str, *, timeout: timedelta = timedelta(minutes=2)) -> MlflowRuns:
    return MlflowRuns(artifacts, tracking_uri=uri, timeout=timeout, idle=timedelta(minutes=1))


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("store"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mlflow(artifacts: ArtifactStore, trained: Trained) -> AsyncIterator[MlflowRuns]:
    """One reader for all tests: it takes seconds to start."""
    reading = _reading(artifacts, trained.uri)
    yield reading
    await reading.stop()


@in_one_loop
async def test_a_run_brings_everything_that_a_version_has(
    mlflow: MlflowRuns, trained: Trained, artifacts: ArtifactStore
) -> None:
    run = await mlflow.bring(trained.runs["whole"])
    brought = run.brought
    assert (brought.flavor, brought.code_revision) == ("sklearn", "abc123")
    assert brought.commit_time == datetime(2026, 1, 1, tzinfo=UTC)
    assert brought.metrics == {"log_loss": 0.25, "auc": 0.9}
    assert set(brought.requirements) >= {"scikit-learn==1.6.1", "numpy==2.2.0"}
    assert [field["name"] for field in json.loads(brought.signature_json)["inputs"]] == ["age", "hours"]
    assert json.loads(brought.input_example_json)["inputs"][0] == {
        "name": "age",
        "shape": [2, 1],
        "datatype": "FP64",
        "data": [0.0, 1.0],
    }
    paths = {file.path for file in artifacts.verify(brought.artifact_digest).files}
    assert {"MLmodel", "model.skops", "requirements.txt"} <= paths
    profile = ReferenceProfile.from_bytes(run.profile)
    assert [feature.name for feature in profile.features] == ["age", "hours", "score"]
    assert profile.digest == brought.profile_digest
    assert 0 < brought.reference_log_loss < 1


@in_one_loop
async def test_bad_runs_are_refused_and_a_run_without_reference_rows_has_no_profile(
    mlflow: MlflowRuns, trained: Trained
) -> None:
    with pytest.raises(NotFound, match="no run"):
        await mlflow.bring("0" * 32)
    with pytest.raises(NotFound, match="no run"):
        await mlflow.bring("'; DROP TABLE runs; --")
    with pytest.raises(Invalid, match="has no model"):
        await mlflow.bring(trained.runs["without model"])
    run = await mlflow.bring(trained.runs["without reference"])
    assert (run.profile, run.brought.profile_digest) == (b"", "")
    assert np.isnan(run.brought.reference_log_loss)
    assert list((mlflow._artifacts._root / "staging").iterdir()) == []


@in_one_loop
async def test_the_same_run_twice_is_the_same_artifact_even_by_another_reader(
    mlflow: MlflowRuns, trained: Trained
) -> None:
    first, again = await asyncio.gather(*(mlflow.bring(trained.runs["whole"]) for _ in range(2)))
    assert first == again
    reader = mlflow._reader
    assert reader is not None
    os.kill(reader.pid, signal.SIGKILL)
    await reader.wait()
    assert await mlflow.bring(trained.runs["whole"]) == first


@in_one_loop
async def test_whoever_gives_up_early_finds_the_reader_started(mlflow: MlflowRuns, trained: Trained) -> None:
    await mlflow.stop()  # a reader that is there already answers in less than that
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await mlflow.bring(trained.runs["whole"])
    assert (await mlflow.bring(trained.runs["whole"])).brought.flavor == "sklearn"


@in_one_loop
async def test_whoever_gives_up_while_waiting_leaves_nobody_waiting_behind(
    artifacts: ArtifactStore, trained: Trained
) -> None:
    asked: list[str] = []

    class Told(MlflowRuns):
        async def _answer(self, question: Mapping[str, str]) -> bytes:
            asked.append(question["run"])
            return await super()._answer(question)

    reading = Told(artifacts, tracking_uri=trained.uri, timeout=timedelta(minutes=1), idle=timedelta(minutes=1))
    first = asyncio.ensure_future(reading.bring(trained.runs["whole"]))  # seconds, while the reader starts
    impatient = [asyncio.ensure_future(reading.bring("0" * 32)) for _ in range(5)]
    await asyncio.sleep(0)
    for one in impatient:
        one.cancel()
    await asyncio.gather(*impatient, return_exceptions=True)
    again = await reading.bring(trained.runs["whole"])
    assert (await first).brought == again.brought
    assert asked == [trained.runs["whole"]] * 2
    await reading.stop()


@in_one_loop
async def test_an_mlflow_that_takes_too_long_is_unavailable(artifacts: ArtifactStore, trained: Trained) -> None:
    reading = _reading(artifacts, trained.uri, timeout=timedelta(milliseconds=10))
    with pytest.raises(Unavailable, match=r"within 0\.01 s"):
        await reading.bring(trained.runs["whole"])
    assert reading._reader is None


@in_one_loop
async def test_an_mlflow_that_is_down_is_unavailable(artifacts: ArtifactStore) -> None:
    reading = _reading(artifacts, "postgresql+psycopg://nobody@127.0.0.1:1/nothing?connect_timeout=1")
    with pytest.raises(Unavailable, match="MLflow doesn't answer"):
        await reading.bring("0" * 32)
    await reading.stop()


def test_reference_rows_that_lack_an_input_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"age": [1.0], "__score__": [0.5]}), tmp_path / "reference.parquet")
    with pytest.raises(Invalid, match="'hours'"):
        reference_of(tmp_path / "reference.parquet", '{"inputs": [{"name": "hours", "type": "double"}]}')


def test_rows_with_moments_are_profiled_by_hour_and_weekday_too(tmp_path: Path) -> None:
    monday = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000
    times = [monday + hour * 3_600_000_000 for hour in (0, 0, 25)]
    parquet.write_table(pa.table({"age": [1.0, 2.0, 3.0], "__time__": times}), tmp_path / "reference.parquet")
    profile = ReferenceProfile.from_bytes(reference_of(tmp_path / "reference.parquet", "")[0])
    assert [feature.name for feature in profile.features] == ["age"]
    assert profile.seasons is not None
    assert np.flatnonzero(profile.seasons.counts.any(axis=1)).tolist() == [0, 25]
    assert profile.seasons.counts[0].sum() == 2


def test_rows_of_which_one_has_no_moment_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"age": [1.0, 2.0], "__time__": [5, None]}), tmp_path / "reference.parquet")
    with pytest.raises(Invalid, match="moment is missing"):
        reference_of(tmp_path / "reference.parquet", "")


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reference.parquet").write_text("age,score")
    with pytest.raises(Invalid, match="isn't Parquet"):
        reference_of(tmp_path / "reference.parquet", "")


def test_columns_of_every_type_are_profiled_with_their_gaps(tmp_path: Path) -> None:
    table = pa.table(
        {
            "number": pa.array([1, None, 3]),
            "flag": pa.array([True, None, False]),
            "text": pa.array(["a", None, "b"]),
            "coded": pa.array(["x", None, "x"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "reference.parquet")
    profile, loss = reference_of(tmp_path / "reference.parquet", "")
    features = ReferenceProfile.from_bytes(profile).features
    assert {feature.name: int(feature.counts[-1]) for feature in features} == dict.fromkeys(table.column_names, 1)
    assert np.isnan(loss)


TENSOR = '{"inputs": [{"name": "text", "type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]}'


def test_lists_of_numbers_are_profiled_as_a_tensors_vectors(tmp_path: Path) -> None:
    vectors = [[1.0, 2.0], None, [3.0, 6.0]]
    parquet.write_table(pa.table({"text": vectors, "__score__": [0.1, 0.2, 0.3]}), tmp_path / "reference.parquet")
    profile = ReferenceProfile.from_bytes(reference_of(tmp_path / "reference.parquet", TENSOR)[0])
    assert profile.vectors[0].mean.tolist() == [2.0, 4.0]
    assert int(profile.feature("text·distance").counts[-1]) == 1


@pytest.mark.parametrize(
    ("vectors", "kind", "words"),
    [
        pytest.param([[1.0, 2.0], [3.0]], pa.float64(), "have 1 and 2 numbers", id="of two lengths"),
        pytest.param([[1.0, 2.0], [3.0, None]], pa.float64(), "row 1 has a number that is missing", id="with a gap"),
        pytest.param([None, None], pa.float64(), "have no numbers", id="none"),
        pytest.param([["a"], ["b"]], pa.string(), "hold something else than numbers", id="of text"),
    ],
)
def test_lists_that_are_no_vectors_are_refused(tmp_path: Path, vectors: Any, kind: Any, words: str) -> None:
    parquet.write_table(pa.table({"text": pa.array(vectors, pa.list_(kind))}), tmp_path / "reference.parquet")
    with pytest.raises(Invalid, match=words) as refused:
        reference_of(tmp_path / "reference.parquet", TENSOR)
    assert refused.value.where == "text"


def test_the_log_loss_is_over_the_rows_whose_label_is_known() -> None:
    scores = np.array([0.9, 0.2, 0.5])
    assert log_loss(scores, np.array([1.0, 0.0, np.nan])) == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)
    assert np.isfinite(log_loss(np.array([0.0]), np.array([1.0])))


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        pytest.param(None, np.array([1.0]), id="no scores"),
        pytest.param(np.array([0.5]), None, id="no labels"),
        pytest.param(np.array([0.5]), np.array([np.nan]), id="no label known"),
        pytest.param(np.array([0.5]), np.array([3.2]), id="a regression"),
        pytest.param(np.array([7.0]), np.array([1.0]), id="no probability"),
        pytest.param(np.array([0.5]), np.array(["yes"], dtype=object), id="text"),
    ],
)
def test_without_probabilities_and_classes_there_is_no_log_loss(
    scores: np.ndarray | None, labels: np.ndarray | None
) -> None:
    assert np.isnan(log_loss(scores, labels))


def test_where_outcomes_are_known_the_profile_says_what_they_let_one_expect(tmp_path: Path) -> None:
    scores = np.linspace(0.05, 0.95, 400)
    columns = {"age": scores * 60, "__score__": scores, "__label__": (scores > 0.5).astype(float)}
    parquet.write_table(pa.table(columns), tmp_path / "reference.parquet")
    expected = ReferenceProfile.from_bytes(reference_of(tmp_path / "reference.parquet", "")[0]).expected
    assert isinstance(expected, Calibration)
    assert expected.of(np.array([0.3, 0.7])).tolist() == [0.0, 1.0]


def test_a_label_that_is_a_list_is_refused(tmp_path: Path) -> None:
    columns = {"age": [1.0, 2.0], "__score__": [0.5, 0.5], "__label__": [[1.0], [0.0]]}
    parquet.write_table(pa.table(columns), tmp_path / "reference.parquet")
    with pytest.raises(Invalid, match="a label is one value"):
        reference_of(tmp_path / "reference.parquet", "")
