"""From checked bytes to a model in memory, by flavour.

scikit-learn models are read as MLflow wrote them (skops, cloudpickle or pickle) without importing mlflow,
which would cost 60 MiB and some two seconds. Any other flavour goes through mlflow.pyfunc, where mlflow is
installed.

Nothing here may run before `artifact.verified_files`: reading a pickle runs whatever is in it.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.chassis.errors import Conflict, GoldenpathError, Invalid
from services.modelserver import artifact, environment
from services.modelserver.signature import Matrix, Signature, Table, signature_of

Example = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory.

    Args:
        estimator: What predicts: a scikit-learn estimator, or an MLflow pyfunc model.
        signature: What it takes.
        example: The registered input example, a list of values per column of the signature; empty where it
            has none.
        platform: Framework and format, such as sklearn_skops.
    """

    estimator: Any
    signature: Signature
    example: Example
    platform: str


def load(store: Path, artifact_digest: str, environment_digest: str = "") -> Loaded:
    """Load a version by its digest.

    Args:
        store: The artifact store's folder.
        artifact_digest: The digest of its bytes.
        environment_digest: The digest of its requirements; empty: not compared.

    Raises:
        Invalid: the bytes are not the digest's, or are no model that can be served.
        NotFound: the store has no such artifact.
        Conflict: this environment lacks a package of the version.
    """
    files = artifact.verified_files(store, artifact_digest)
    mlmodel = _mlmodel(files)
    flavors = mlmodel["flavors"]
    _check_environment(files, environment_digest, needs_mlflow="sklearn" not in flavors)
    signature = signature_of(mlmodel)
    estimator, platform = _estimator(files, flavors)
    return Loaded(estimator, signature, _example(files, mlmodel, signature), platform)


def _mlmodel(files: Path) -> Mapping[str, Any]:
    try:
        mlmodel = yaml.safe_load((files / "MLmodel").read_bytes())
    except FileNotFoundError:
        raise Invalid("the artifact has no MLmodel file, so it is no MLflow model", where="MLmodel") from None
    except yaml.YAMLError as error:
        raise Invalid(f"the file can't be read: {error}", where="MLmodel") from error
    if not isinstance(mlmodel, dict) or not isinstance(mlmodel.get("flavors"), dict):
        raise Invalid("the file names no flavours", where="MLmodel")
    return mlmodel


def _check_environment(files: Path, digest: str, *, needs_mlflow: bool) -> None:
    requirements = environment.requirements_of(files)
    found = environment.digest_of(requirements)
    if digest and found != digest:
        raise Invalid(f"the requirements have the digest {found}, the version has {digest}", where="requirements.txt")
    environment.satisfy(requirements, without=frozenset() if needs_mlflow else environment.MLFLOW)


def _estimator(files: Path, flavors: Mapping[str, Any]) -> tuple[Any, str]:
    if "sklearn" in flavors:
        flavor = flavors["sklearn"]
        form = str(flavor.get("serialization_format", "pickle"))
        return _sklearn(files, flavor, form), f"sklearn_{form}"
    if "python_function" in flavors:
        return _pyfunc(files), "mlflow_pyfunc"
    raise Invalid(f"none of the flavours {', '.join(flavors)} can be served", where="MLmodel")


def _sklearn(files: Path, flavor: Mapping[str, Any], form: str) -> Any:
    path = _inside(files, str(flavor["pickled_model"]))
    if flavor.get("code"):
        sys.path.insert(0, str(_inside(files, str(flavor["code"]))))
    try:
        return _read(path, form, flavor.get("skops_trusted_types"))
    except GoldenpathError:
        raise
    except Exception as error:  # a pickle may raise anything; whatever it is, the file is no usable model
        raise Invalid(f"the model doesn't load: {type(error).__name__}: {error}", where=path.name) from error


def _read(path: Path, form: str, trusted: list[str] | None) -> Any:
    if form == "skops":
        import skops.io  # type: ignore[import-untyped] # it ships no types

        return skops.io.load(path, trusted=trusted)
    if form in {"pickle", "cloudpickle"}:  # a cloudpickle is read by pickle; its package only has to be there
        return pickle.loads(path.read_bytes())  # noqa: S301 (the digest was checked, and its bytes approved)
    raise Invalid(f"a model in the form {form!r} can't be read", where="MLmodel")


def _inside(files: Path, name: str) -> Path:
    path = (files / name).resolve()
    if not path.is_relative_to(files.resolve()) or not path.exists():
        raise Invalid(f"{name!r} is not a file of the artifact", where="MLmodel")
    return path


def _pyfunc(files: Path) -> Any:
    try:
        from mlflow import pyfunc
    except ImportError:
        raise Conflict(
            "the model's flavour needs mlflow, which is not installed here",
            where="MLmodel",
            fix="install mlflow",
        ) from None
    try:
        return pyfunc.load_model(str(files))
    except Exception as error:  # a flavour of any library may raise anything
        raise Invalid(f"the model doesn't load: {type(error).__name__}: {error}", where="MLmodel") from error


def _example(files: Path, mlmodel: Mapping[str, Any], signature: Signature) -> Example:
    info = mlmodel.get("saved_input_example_info") or {}
    if not info.get("artifact_path"):
        return ()
    document = json.loads(_inside(files, str(info["artifact_path"])).read_bytes())
    if isinstance(signature, Matrix):
        rows = document["inputs"] if isinstance(document, dict) else document
        return [list(column) for column in zip(*rows, strict=True)]
    return _table_example(document, signature)


def _table_example(document: Any, signature: Table) -> Example:
    if not isinstance(document, dict) or "columns" not in document:
        raise Invalid("the input example of a table must be a DataFrame", where="input_example.json")
    values = dict(zip(document["columns"], zip(*document["data"], strict=True), strict=True))
    absent = [None] * len(document["data"])
    return [list(values.get(column.name, absent)) for column in signature.columns]
