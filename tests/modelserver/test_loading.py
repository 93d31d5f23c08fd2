from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.chassis.errors import Conflict, Invalid
from services.modelserver.environment import digest_of
from services.modelserver.loading import load
from services.modelserver.signature import Matrix, Table
from tests.modelserver.conftest import Models, census, put, save


@pytest.fixture
def folder(models: Models, tmp_path: Path) -> Path:
    """A copy of the mixed model's folder, to be changed."""
    return Path(shutil.copytree(models.mixed, tmp_path / "changed"))


def change_mlmodel(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = yaml.safe_load((folder / "MLmodel").read_text())
    change(document)
    (folder / "MLmodel").write_text(yaml.safe_dump(document))


def test_a_model_is_read_with_its_signature_and_example(models: Models, store: Path) -> None:
    loaded = load(store, put(store, models.mixed))
    assert isinstance(loaded.signature, Table)
    assert loaded.platform == "sklearn_skops"
    assert [column[0] for column in loaded.example] == census().dropna().iloc[0].tolist()
    assert list(loaded.estimator.classes_) == ["defaults", "repays"]


def test_a_tensors_example_is_taken_apart_into_columns(models: Models, store: Path) -> None:
    loaded = load(store, put(store, models.matrix))
    assert isinstance(loaded.signature, Matrix)
    assert [len(column) for column in loaded.example] == [3, 3, 3]


@pytest.mark.parametrize("form", ["pickle", "cloudpickle"])
def test_pickles_are_read_once_they_are_verified(form: str, models: Models, store: Path, tmp_path: Path) -> None:
    save(models.mixed_model, tmp_path / form, census().dropna(), serialization_format=form)
    assert load(store, put(store, tmp_path / form)).platform == f"sklearn_{form}"


class Trap:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def test_nothing_is_unpickled_before_every_byte_was_checked(folder: Path, store: Path, tmp_path: Path) -> None:
    digest = put(store, folder)
    mark = tmp_path / "mark"
    (store / "artifacts" / digest / "files" / "model.skops").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(Invalid, match=r"model\.skops: the file was changed"):
        load(store, digest)
    assert not mark.exists()


def test_a_pickle_is_not_read_in_an_environment_that_does_not_fit(folder: Path, store: Path) -> None:
    (folder / "requirements.txt").write_text("scikit-learn==0.1\nno-such-package\n")
    (folder / "model.skops").write_bytes(b"never read")
    with pytest.raises(Conflict, match=r"no-such-package: wanted any version, found none; scikit-learn: wanted ==0\.1"):
        load(store, put(store, folder))


def test_the_requirements_must_be_those_of_the_version(models: Models, store: Path) -> None:
    digest = put(store, models.mixed)
    logged = [f"mlflow=={version('mlflow-skinny')}", "numpy", "pandas", "scikit-learn"]
    assert load(store, digest, digest_of(logged)).platform == "sklearn_skops"
    with pytest.raises(Invalid, match=r"requirements\.txt: the requirements have the digest"):
        load(store, digest, digest_of(["numpy"]))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"])
def test_a_model_file_that_does_not_load_is_named(folder: Path, store: Path, content: bytes) -> None:
    (folder / "model.skops").write_bytes(content)
    with pytest.raises(Invalid, match=r"model\.skops: the model doesn't load"):
        load(store, put(store, folder))


def test_a_model_of_another_flavour_that_does_not_load_is_named(folder: Path, store: Path) -> None:
    change_mlmodel(folder, lambda document: document["flavors"].pop("sklearn"))
    with pytest.raises(Invalid, match="MLmodel: the model doesn't load"):
        load(store, put(store, folder))


def test_a_folder_that_is_no_mlflow_model_is_refused(folder: Path, store: Path) -> None:
    (folder / "MLmodel").unlink()
    with pytest.raises(Invalid, match="no MLmodel file"):
        load(store, put(store, folder))


@pytest.mark.parametrize("content", ["a: [", "just text", "flavors: 3"])
def test_an_mlmodel_file_that_makes_no_sense_is_refused(folder: Path, store: Path, content: str) -> None:
    (folder / "MLmodel").write_text(content)
    with pytest.raises(Invalid, match="MLmodel: "):
        load(store, put(store, folder))


@pytest.mark.parametrize("path", ["../../outside.pkl", "/etc/hostname", "not-there.skops"])
def test_a_model_file_outside_of_the_artifact_is_never_read(folder: Path, store: Path, path: str) -> None:
    change_mlmodel(folder, lambda document: document["flavors"]["sklearn"].update(pickled_model=path))
    with pytest.raises(Invalid, match="is not a file of the artifact"):
        load(store, put(store, folder))


@pytest.mark.parametrize(
    ("flavors", "sentence"),
    [
        pytest.param({"spark": {}}, "none of the flavours spark can be served", id="no flavour of ours"),
        pytest.param(
            {"sklearn": {"pickled_model": "model.skops", "serialization_format": "joblib"}}, "'joblib'", id="form"
        ),
    ],
)
def test_an_unknown_flavour_or_form_is_refused(
    folder: Path, store: Path, flavors: dict[str, Any], sentence: str
) -> None:
    change_mlmodel(folder, lambda document: document.update(flavors=flavors))
    with pytest.raises(Invalid, match=sentence):
        load(store, put(store, folder))


def test_another_flavour_is_read_through_mlflow(models: Models, store: Path, tmp_path: Path) -> None:
    folder = save(models.mixed_model, tmp_path / "any", census().dropna(), serialization_format="pickle")
    change_mlmodel(folder, lambda document: document["flavors"].pop("sklearn"))
    loaded = load(store, put(store, folder))
    assert loaded.platform == "mlflow_pyfunc"
    assert len(loaded.estimator.predict(census().dropna())) == len(census().dropna())


def test_a_model_without_an_example_has_none(folder: Path, store: Path) -> None:
    change_mlmodel(folder, lambda document: document.pop("saved_input_example_info"))
    assert load(store, put(store, folder)).example == ()


def test_a_tables_example_must_be_one(folder: Path, store: Path) -> None:
    (folder / "input_example.json").write_text(json.dumps([[1, 2]]))
    with pytest.raises(Invalid, match="must be a DataFrame"):
        load(store, put(store, folder))
