# mypy: disable-error-code="no-untyped-call"
# scikit-learn ships no types.

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from services.chassis.errors import Invalid
from services.modelserver.predict import LABEL, SCORE, has_independent_rows, predictor_of
from services.modelserver.schema import Rows
from services.modelserver.signature import Input, Table
from tests.modelserver.conftest import Models, census

NAMES = ("a", "b", "c")
TABLE = Table(tuple(Input(name, "FP64") for name in NAMES))
NUMBERS = pd.DataFrame(np.random.default_rng(3).normal(size=(80, 3)), columns=NAMES)
ABOVE = (NUMBERS["a"] + NUMBERS["b"] > 0).astype(int)
THIRDS = pd.cut(NUMBERS["a"], 3, labels=["low", "mid", "high"]).astype(str)


def rows_of(frame: pd.DataFrame) -> Rows:
    columns: list[list[Any]] = [frame[name].tolist() for name in frame.columns]
    return Rows(columns, len(frame))


def example(frame: pd.DataFrame) -> Sequence[Sequence[Any]]:
    return rows_of(frame.iloc[:3]).columns


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(LogisticRegression(), id="linear"),
        pytest.param(make_pipeline(StandardScaler(), LogisticRegression()), id="pipeline"),
        pytest.param(RandomForestClassifier(n_estimators=5, random_state=0), id="forest"),
        pytest.param(HistGradientBoostingClassifier(max_iter=5), id="boosted"),
    ],
)
def test_score_and_label_are_the_models_own(model: Any) -> None:
    fitted = model.fit(NUMBERS, ABOVE)
    predictor = predictor_of(fitted, TABLE, example(NUMBERS))
    prediction = predictor.predict(rows_of(NUMBERS))
    assert prediction.scores == pytest.approx(fitted.predict_proba(NUMBERS)[:, 1], rel=1e-12)
    assert prediction.labels == [str(label) for label in fitted.predict(NUMBERS)]
    assert predictor.outputs == (SCORE, LABEL)


def test_of_several_classes_the_score_is_that_of_the_label() -> None:
    fitted = LogisticRegression().fit(NUMBERS, THIRDS)
    prediction = predictor_of(fitted, TABLE, example(NUMBERS)).predict(rows_of(NUMBERS))
    assert prediction.labels == fitted.predict(NUMBERS).tolist()
    assert prediction.scores == pytest.approx(fitted.predict_proba(NUMBERS).max(axis=1))


def test_a_tuned_threshold_decides_the_label() -> None:
    strict = FixedThresholdClassifier(LogisticRegression(), threshold=0.9).fit(NUMBERS, ABOVE)
    prediction = predictor_of(strict, TABLE, example(NUMBERS)).predict(rows_of(NUMBERS))
    assert prediction.labels == [str(label) for label in strict.predict(NUMBERS)]


def test_a_regression_gives_its_value_and_no_label() -> None:
    fitted = LinearRegression().fit(NUMBERS, NUMBERS["a"] * 2)
    predictor = predictor_of(fitted, TABLE, example(NUMBERS))
    assert predictor.outputs == (SCORE,)
    assert predictor.predict(Rows([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]], 2)).scores == pytest.approx([2.0, 4.0])


def test_mixed_columns_reach_the_model_with_the_dtypes_it_was_trained_on(models: Models) -> None:
    datatypes = ("FP64", "FP32", "INT64", "INT32", "BOOL", "BYTES")
    people = census()
    table = Table(tuple(Input(name, kind) for name, kind in zip(people.columns, datatypes, strict=True)))
    given = people.astype(object).where(people.notna(), None)
    prediction = predictor_of(models.mixed_model, table, example(people.dropna())).predict(rows_of(given))
    assert prediction.scores == pytest.approx(models.mixed_model.predict_proba(people)[:, 1])
    assert prediction.labels == models.mixed_model.predict(people).tolist()


def test_a_model_of_numbers_sees_no_frame_and_raises_no_warning() -> None:
    fitted = LogisticRegression().fit(NUMBERS, ABOVE)
    with warnings.catch_warnings(record=True) as heard:
        predictor = predictor_of(fitted, TABLE, example(NUMBERS))
        given = predictor.arrange(rows_of(NUMBERS))  # type: ignore[attr-defined] # a classifier of ours
        predictor.predict(rows_of(NUMBERS))
    assert isinstance(given, np.ndarray)
    assert heard == []


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        pytest.param(LogisticRegression(), ("b", "a", "c"), id="another order of columns"),
        pytest.param(make_pipeline(FunctionTransformer(lambda x: x), LogisticRegression()), NAMES, id="foreign code"),
    ],
)
def test_whatever_might_look_at_names_gets_a_frame(model: Any, columns: tuple[str, ...]) -> None:
    fitted = model.fit(NUMBERS[list(NAMES)], ABOVE)
    table = Table(tuple(Input(name, "FP64") for name in columns))
    predictor = predictor_of(fitted, table, ())
    assert isinstance(predictor.arrange(rows_of(NUMBERS)), pd.DataFrame)  # type: ignore[attr-defined]


def test_rows_of_foreign_code_may_depend_on_each_other() -> None:
    assert has_independent_rows(make_pipeline(StandardScaler(), LogisticRegression()))
    assert not has_independent_rows(make_pipeline(FunctionTransformer(np.sort), LogisticRegression()))
    assert not has_independent_rows(object())


def test_a_classifier_without_probabilities_is_refused() -> None:
    with pytest.raises(Invalid, match=r"without predict_proba .*CalibratedClassifierCV"):
        predictor_of(RidgeClassifier().fit(NUMBERS, ABOVE), TABLE, ())


def test_a_model_that_cannot_predict_its_own_example_is_refused() -> None:
    fitted = LogisticRegression().fit(NUMBERS, ABOVE)
    table = Table((*TABLE.columns, Input("d", "FP64")))
    with pytest.raises(Invalid, match=r"input_example\.json: the model can't predict its own example"):
        predictor_of(fitted, table, [[1.0]] * 4)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_value_that_the_model_cannot_take_is_the_requests_fault(value: float | None) -> None:
    predictor = predictor_of(LogisticRegression().fit(NUMBERS, ABOVE), TABLE, example(NUMBERS))
    with pytest.raises(Invalid, match="can't predict a missing or infinite value"):
        predictor.predict(Rows([[value], [1.0], [1.0]], 1))


def _refuse(values: Any) -> Any:
    raise ValueError(f"not today: {len(values)}")


def test_a_models_own_failure_is_not_the_requests_fault() -> None:
    broken = make_pipeline(FunctionTransformer(_refuse), LogisticRegression())
    broken.steps[-1][1].fit(NUMBERS, ABOVE)
    with pytest.raises(ValueError, match="not today"):
        predictor_of(broken, TABLE, ()).predict(Rows([[1.0], [1.0], [1.0]], 1))
