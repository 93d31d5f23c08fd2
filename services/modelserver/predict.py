"""The prediction: columns in, `score` and `label` out.

`score` is FP64: the probability of the positive class (the second of two; of more than two, that of the
predicted one), or for a regression the value. `label` is BYTES, for classifiers only: the predicted class as
text.

Half the cost of a small model is the DataFrame: on one row of ten numbers a pipeline of a scaler and a
logistic regression takes 470 µs with one, and 190 µs with a bare matrix (scikit-learn 1.9). So columns of a
single numeric datatype go in as a matrix where that changes nothing: every part of the model is
scikit-learn's own, none selects columns by name or runs foreign code, the names and their order are those it
was fitted on (the schema has checked them), and the registered example gets the same answer both ways.
Otherwise a DataFrame is made, as MLflow would.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.chassis.errors import Invalid
from services.modelserver.schema import Rows
from services.modelserver.signature import Input, Matrix, Signature

Arrange = Callable[[Rows], Any]

_DTYPES = {
    "FP64": "float64",
    "FP32": "float32",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
    "BYTES": "object",
}
_SELECTS_COLUMNS = frozenset({"ColumnTransformer", "make_column_selector"})
# Classifiers whose predict isn't the likeliest class: a tuned threshold, or Platt scaling beside the margin.
_OWN_LABELS = frozenset({"FixedThresholdClassifier", "TunedThresholdClassifierCV", "SVC", "NuSVC"})
_ROUNDING = 1e-9  # relative: a thousand float64 sums' worth, and far below what any score is read to


class Output(NamedTuple):
    """One output: its name and its protocol datatype; its shape is [n]."""

    name: str
    datatype: str


SCORE = Output("score", "FP64")
LABEL = Output("label", "BYTES")


class Prediction(NamedTuple):
    """What was predicted, one value per row; `labels` is None for a regression."""

    scores: list[float]
    labels: list[str] | None


class Predictor(Protocol):
    """A model that is ready to predict."""

    outputs: tuple[Output, ...]

    def predict(self, rows: Rows) -> Prediction:
        """Predict checked rows.

        Raises:
            Invalid: the model can't take a missing or infinite value that is among them.
        """
        ...


def predictor_of(estimator: Any, signature: Signature, example: Sequence[Sequence[Any]]) -> Predictor:
    """Make an estimator ready: choose how its input is arranged, and predict the registered example once.

    Raises:
        Invalid: it is a classifier without probabilities, or it can't predict its own example.
    """
    frame = arrange_matrix(signature) if isinstance(signature, Matrix) else arrange_frame(signature.columns)
    predictor = _predictor(estimator, frame)
    if not example:
        return predictor
    rows = Rows([list(column) for column in example], len(example[0]))
    try:
        expected = predictor.predict(rows)
    except Exception as error:  # the model's own code may raise anything; whatever it is, it can't serve
        raise Invalid(
            f"the model can't predict its own example: {type(error).__name__}: {error}",
            where="input_example.json",
        ) from error
    return _quicker(estimator, signature, rows, expected) or predictor


def _predictor(estimator: Any, arrange: Arrange) -> Predictor:
    if hasattr(estimator, "predict_proba"):
        return Classifier(estimator, arrange)
    if hasattr(estimator, "classes_"):
        raise Invalid(
            "the model is a classifier without predict_proba",
            where="model",
            fix="calibrate it, with sklearn.calibration.CalibratedClassifierCV",
        )
    return Regressor(estimator, arrange)


def _quicker(estimator: Any, signature: Signature, rows: Rows, expected: Prediction) -> Predictor | None:
    datatypes = {column.datatype for column in signature.columns}
    if isinstance(signature, Matrix) or len(datatypes) != 1 or not _takes_a_matrix(estimator, signature.columns):
        return None
    warnings.filterwarnings("ignore", message="X does not have valid feature names")  # the schema has checked them
    predictor = _predictor(estimator, arrange_matrix(signature))
    try:
        return predictor if _alike(predictor.predict(rows), expected) else None
    except Exception:  # noqa: BLE001 (the DataFrame worked; that the matrix doesn't only means that it isn't used)
        return None


def _alike(one: Prediction, other: Prediction) -> bool:
    """Whether two predictions differ by rounding at the most: in another layout a sum goes another way round."""
    return one.labels == other.labels and np.allclose(one.scores, other.scores, rtol=_ROUNDING, atol=0.0)


def _takes_a_matrix(estimator: Any, columns: Sequence[Input]) -> bool:
    if columns[0].datatype not in {"FP64", "FP32"} or not has_independent_rows(estimator):
        return False
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and list(names) != [column.name for column in columns]:
        return False
    return not any(type(part).__name__ in _SELECTS_COLUMNS for part in _parts(estimator))


def has_independent_rows(estimator: Any) -> bool:
    """Whether a row's prediction can't depend on the rows beside it: every part is scikit-learn's own code."""
    return hasattr(estimator, "get_params") and not any(_is_foreign(part) for part in _parts(estimator))


def _parts(estimator: Any) -> list[Any]:
    return [estimator, *estimator.get_params(deep=True).values()]


def _is_foreign(part: Any) -> bool:
    of_sklearn = type(part).__module__.startswith("sklearn.")
    return type(part).__name__ == "FunctionTransformer" or (hasattr(part, "fit") and not of_sklearn)


def arrange_frame(columns: Sequence[Input]) -> Arrange:
    """Arrange rows as a DataFrame of the signature's names and dtypes; missing text is NaN, as pandas reads it."""
    import pandas as pd

    dtypes = [(column.name, _DTYPES[column.datatype]) for column in columns]

    def arrange(rows: Rows) -> pd.DataFrame:
        arrays = {name: _array(values, dtype) for (name, dtype), values in zip(dtypes, rows.columns, strict=True)}
        return pd.DataFrame(arrays, copy=False)

    return arrange


def _array(values: list[Any], dtype: str) -> npt.NDArray[Any]:
    if dtype == "object" and None in values:
        return np.array([np.nan if value is None else value for value in values], dtype=dtype)
    return np.array(values, dtype=dtype)


def arrange_matrix(signature: Signature) -> Arrange:
    """Arrange rows as a matrix of shape (rows, columns) in row-major order; a missing value is NaN."""
    dtype = _DTYPES[signature.columns[0].datatype]

    def arrange(rows: Rows) -> npt.NDArray[Any]:
        return np.ascontiguousarray(np.array(rows.columns, dtype=dtype).T)

    return arrange


@dataclass(slots=True)
class Classifier:
    """Predicts by probabilities; the label is the likeliest class, unless the model has a rule of its own."""

    estimator: Any
    arrange: Arrange
    outputs: tuple[Output, ...] = (SCORE, LABEL)

    def predict(self, rows: Rows) -> Prediction:
        """Predict checked rows."""
        given = self.arrange(rows)
        try:
            probabilities = self.estimator.predict_proba(given)
        except ValueError as error:
            raise _blamed(error, rows) from error
        likeliest = probabilities.argmax(axis=1)
        two_classes = probabilities.shape[1] == 2  # noqa: PLR2004 (of which the second is the positive one)
        scores = probabilities[:, 1] if two_classes else probabilities.max(axis=1)
        return Prediction(scores.tolist(), self._labels(given, likeliest))

    def _labels(self, given: Any, likeliest: npt.NDArray[np.intp]) -> list[str]:
        if _has_own_labels(self.estimator):
            return [str(label) for label in self.estimator.predict(given)]
        classes = self.estimator.classes_
        return [str(classes[place]) for place in likeliest]


def _has_own_labels(estimator: Any) -> bool:
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    return type(last).__name__ in _OWN_LABELS or not type(last).__module__.startswith("sklearn.")


@dataclass(slots=True)
class Regressor:
    """Predicts a number."""

    estimator: Any
    arrange: Arrange
    outputs: tuple[Output, ...] = (SCORE,)

    def predict(self, rows: Rows) -> Prediction:
        """Predict checked rows."""
        try:
            values = np.asarray(self.estimator.predict(self.arrange(rows)), dtype=float)
        except ValueError as error:
            raise _blamed(error, rows) from error
        if values.size != rows.size:
            raise Invalid(f"the model gave {values.size} values for {rows.size} rows", where="model")
        return Prediction(values.ravel().tolist(), None)


def _blamed(error: ValueError, rows: Rows) -> ValueError | Invalid:
    """The request's fault where it has a value that not every model can take, the model's own otherwise."""
    numbers = (value for column in rows.columns for value in column if not isinstance(value, str))
    if all(value is not None and np.isfinite(value) for value in numbers):
        return error
    return Invalid(f"the model can't predict a missing or infinite value: {error!s:.200}", where="inputs")
