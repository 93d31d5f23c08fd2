from __future__ import annotations

from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.modelserver.schema import Rows, Tensor, schema_of
from services.modelserver.signature import Input, Matrix, Table

TABLE = Table((Input("age", "FP64"), Input("children", "INT64"), Input("owns", "BOOL"), Input("job", "BYTES")))
MATRIX = Matrix("x", "FP64", 3)


def age(*values: Any, shape: list[Any] | None = None, datatype: str = "FP64") -> Tensor:
    return Tensor("age", datatype, [len(values)] if shape is None else shape, list(values))


def children(*values: Any, datatype: str = "INT64") -> Tensor:
    return Tensor("children", datatype, [len(values)], list(values))


def owns(*values: Any) -> Tensor:
    return Tensor("owns", "BOOL", [len(values)], list(values))


def job(*values: Any) -> Tensor:
    return Tensor("job", "BYTES", [len(values)], list(values))


GOOD = {"age": age(41.5), "children": children(2), "owns": owns(True), "job": job("clerk")}


def test_columns_come_out_in_the_signatures_order() -> None:
    tensors = [GOOD["job"], GOOD["owns"], GOOD["age"], GOOD["children"]]
    assert schema_of(TABLE).rows(tensors) == Rows([[41.5], [2], [True], ["clerk"]], 1)


def test_inputs_that_the_signature_does_not_know_are_passed_over() -> None:
    newer = Tensor("dividends", "FP64", [1], [3.0])
    assert schema_of(TABLE).rows([*GOOD.values(), newer]).columns == [[41.5], [2], [True], ["clerk"]]


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(age(1.0, 2.0), id="[n]"),
        pytest.param(age(1.0, 2.0, shape=[2, 1]), id="[n, 1], flat"),
        pytest.param(age([1.0], [2.0], shape=[2, 1]), id="[n, 1], nested"),
        pytest.param(age(1, 2), id="whole numbers"),
        pytest.param(age(1, 2, datatype="INT32"), id="a narrower datatype"),
    ],
)
def test_a_column_may_come_in_any_form_that_loses_nothing(tensor: Tensor) -> None:
    rows = schema_of(Table((Input("age", "FP64"),))).rows([tensor])
    assert rows == Rows([[1.0, 2.0]], 2)


def test_a_missing_number_or_text_goes_on_as_missing() -> None:
    tensors = GOOD | {"age": age(None), "job": job(None)}
    assert schema_of(TABLE).rows(list(tensors.values())).columns == [[None], [2], [True], [None]]


def test_a_tensor_of_nothing_but_missing_values_may_have_any_datatype() -> None:
    tensors = GOOD | {"job": Tensor("job", "FP64", [1], [None])}
    assert schema_of(TABLE).rows(list(tensors.values())).columns[3] == [None]


def test_an_optional_column_that_is_left_out_is_missing_in_every_row() -> None:
    table = Table((Input("bonus", "FP64", required=False), Input("age", "FP64")))
    assert schema_of(table).rows([age(1.0, 2.0)]).columns == [[None, None], [1.0, 2.0]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"age": None}, "input 'age': the input is missing; the model takes it as FP64", id="missing"),
        pytest.param({"age": age(1.0, 2.0)}, r"'children': expected the shape \[2\] or \[2, 1\], got \[1\]", id="rows"),
        pytest.param({"age": age(1.0, shape=[2])}, r"'age': the shape \[2\] has 2 values, data has 1", id="too few"),
        pytest.param({"age": age(1.0, shape=[])}, "'age': expected the shape", id="no dimension"),
        pytest.param({"age": age(1.0, shape=[1, 1, 1])}, "'age': expected the shape", id="three dimensions"),
        pytest.param({"age": age(1.0, shape=["1"])}, "'age': expected the shape", id="shape of text"),
        pytest.param({"age": age(1.0, shape=[True])}, "'age': expected the shape", id="shape of truth"),
        pytest.param({"age": age(shape=[0])}, "'age': expected at least one row", id="no rows"),
        pytest.param({"age": age(shape=[-1])}, "'age': expected at least one row", id="fewer than none"),
        pytest.param({"age": age(1.0, shape=[10**15])}, "data has 1", id="a shape that lies"),
        pytest.param({"age": age("old")}, r"'age', value 0: expected a number \(FP64\), got 'old'", id="text"),
        pytest.param({"age": age(True)}, "'age', value 0: expected a number", id="truth for a number"),
        pytest.param({"age": age({"a": 1})}, "'age', value 0: expected a number", id="an object"),
        pytest.param({"age": age("1", datatype="BYTES")}, "'age': expected the datatype FP64, got BYTES", id="dtype"),
        pytest.param({"age": age(1.0, datatype="FP128")}, "expected the datatype FP64, got FP128", id="unknown dtype"),
        pytest.param({"children": children(1.0, datatype="FP64")}, "expected the datatype INT64, got FP64", id="wider"),
        pytest.param({"children": children(1.5)}, "expected a whole number", id="a fraction"),
        pytest.param({"children": children(None)}, "expected a whole number .*, got a missing value", id="missing int"),
        pytest.param({"children": children(2**63)}, "outside the range of INT64", id="too large"),
        pytest.param({"owns": owns(1)}, r"expected true or false \(BOOL\), got 1", id="one for true"),
        pytest.param({"job": job(3)}, r"expected text \(BYTES\), got 3", id="number for text"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_by_the_name_of_its_input(
    change: dict[str, Tensor | None], sentence: str
) -> None:
    tensors = [tensor for tensor in (GOOD | change).values() if tensor is not None]
    with pytest.raises(Invalid, match=sentence):
        schema_of(TABLE).rows(tensors)


def test_a_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="occurs twice"):
        schema_of(TABLE).rows([*GOOD.values(), age(1.0)])


def test_a_request_with_no_input_of_the_model_is_told_what_it_takes() -> None:
    with pytest.raises(Invalid, match=r"none of the model's inputs: age \(FP64\), children \(INT64\)"):
        schema_of(TABLE).rows([Tensor("x", "FP64", [1], [1.0])])


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
def test_a_matrix_is_taken_apart_into_its_columns(data: list[Any]) -> None:
    assert schema_of(MATRIX).rows([Tensor("x", "FP64", [2, 3], data)]) == Rows([[1, 4], [2, 5], [3, 6]], 2)


def test_a_matrix_without_a_name_takes_the_one_tensor_under_any_name() -> None:
    rows = schema_of(Matrix("", "FP64", 1)).rows([Tensor("whatever", "FP64", [1, 1], [2.0])])
    assert rows.columns == [[2.0]]


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        pytest.param([], "takes one tensor named 'x'", id="none"),
        pytest.param([Tensor("y", "FP64", [1, 3], [1, 2, 3])], "takes one tensor named 'x'", id="another name"),
        pytest.param([Tensor("x", "FP64", [1, 2], [1, 2])], r"expected the shape \[n, 3\], got \[1, 2\]", id="width"),
        pytest.param([Tensor("x", "FP64", [3], [1, 2, 3])], r"expected the shape \[n, 3\], got \[3\]", id="flat"),
        pytest.param([Tensor("x", "FP64", [1, 3], [[1, 2], 3])], "data is nested unevenly", id="uneven"),
        pytest.param([Tensor("x", "FP64", [1, 3], [1, "a", 3])], "value 1: expected a number", id="text"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(tensors: list[Tensor], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        schema_of(MATRIX).rows(tensors)
