from __future__ import annotations

import json
from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.modelserver.signature import Input, Matrix, Table, signature_of


def mlmodel(*inputs: dict[str, Any]) -> dict[str, Any]:
    return {"signature": {"inputs": json.dumps(inputs)}}


def tensor(shape: list[int], dtype: str = "float64", **more: Any) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}} | more


def test_columns_become_the_protocols_datatypes() -> None:
    types = ("double", "float", "long", "integer", "boolean", "string")
    signature = signature_of(mlmodel(*({"name": name, "type": name} for name in types)))
    assert [column.datatype for column in signature.columns] == ["FP64", "FP32", "INT64", "INT32", "BOOL", "BYTES"]


def test_a_column_may_be_optional() -> None:
    signature = signature_of(mlmodel({"name": "a", "type": "double", "required": False}))
    assert signature == Table((Input("a", "FP64", required=False),))


def test_a_tensor_is_a_matrix_whose_columns_have_names() -> None:
    signature = signature_of(mlmodel(tensor([-1, 2], name="x")))
    assert signature == Matrix("x", "FP64", 2)
    assert [column.name for column in signature.columns] == ["x[0]", "x[1]"]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        pytest.param({}, "no signature", id="none"),
        pytest.param({"signature": {"inputs": None}}, "no signature", id="without inputs"),
        pytest.param(mlmodel({"name": "d", "type": "datetime"}), "'d': a column of type datetime", id="type"),
        pytest.param(
            mlmodel({"name": "e", "type": "array", "items": {"type": "double"}}),
            "type array .* log a model of vectors with one tensor",
            id="an array",
        ),
        pytest.param(mlmodel({"type": "double"}), "signature input 0: a column has no name", id="nameless"),
        pytest.param(mlmodel(tensor([-1, 2]), tensor([-1, 2])), "may take one tensor, this one takes 2", id="two"),
        pytest.param(mlmodel(tensor([-1, 2, 2])), r"must have the shape \[-1, columns\]", id="three dimensions"),
        pytest.param(mlmodel(tensor([5, 2])), r"must have the shape \[-1, columns\]", id="a fixed number of rows"),
        pytest.param(mlmodel(tensor([-1, 2], "complex64")), "a tensor of complex64", id="tensor's type"),
    ],
)
def test_a_signature_that_cannot_be_served_is_refused(found: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        signature_of(found)
