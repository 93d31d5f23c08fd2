"""What a version takes: the signature that its MLmodel file carries, in the Open Inference Protocol's words.

Two kinds of model exist. A **table** takes named columns of their own datatypes, one tensor each; a
**matrix** takes one two-dimensional tensor, whose columns are then called `name[0]`, `name[1]` and so on.
Everything after this module sees columns only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import Invalid

COLUMN_DATATYPES: Mapping[str, str] = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
    "string": "BYTES",
}
TENSOR_DATATYPES: Mapping[str, str] = {
    "float64": "FP64",
    "float32": "FP32",
    "int64": "INT64",
    "int32": "INT32",
}


@dataclass(frozen=True, slots=True)
class Input:
    """One column that a model takes: its name, its protocol datatype, whether a request must have it."""

    name: str
    datatype: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A model of named columns; a request brings one tensor of shape [n] or [n, 1] for each."""

    columns: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A model of one tensor of shape [n, width]; `name` is empty where the signature gives it none."""

    name: str
    datatype: str
    width: int

    @property
    def columns(self) -> tuple[Input, ...]:
        """The tensor's columns, each under the tensor's name and its place."""
        name = self.name or "input"
        return tuple(Input(f"{name}[{place}]", self.datatype) for place in range(self.width))


Signature = Table | Matrix


def signature_of(mlmodel: Mapping[str, Any]) -> Signature:
    """The signature in a parsed MLmodel file.

    Raises:
        Invalid: there is none, or it has an input that the server can't take; the input is named.
    """
    inputs = (mlmodel.get("signature") or {}).get("inputs")
    if not inputs:
        raise Invalid(
            "the model has no signature",
            where="MLmodel",
            fix="log it with an input example, or with signature=",
        )
    fields = json.loads(inputs)
    if any(field["type"] == "tensor" for field in fields):
        return _matrix(fields)
    return Table(tuple(_column(field, place) for place, field in enumerate(fields)))


def _column(field: Mapping[str, Any], place: int) -> Input:
    name = field.get("name")
    if not name:
        raise Invalid("a column has no name", where=f"signature input {place}")
    datatype = COLUMN_DATATYPES.get(str(field["type"]))
    if datatype is None:
        raise Invalid(
            f"a column of type {field['type']} can't be served; the types are {', '.join(COLUMN_DATATYPES)}",
            where=f"signature input {name!r}",
            fix="of an array MLflow doesn't say how long it is: log a model of vectors with one tensor, [-1, numbers]"
            if field["type"] == "array"
            else "",
        )
    return Input(str(name), datatype, required=bool(field.get("required", True)))


def _matrix(fields: list[Mapping[str, Any]]) -> Matrix:
    if len(fields) != 1:
        raise Invalid(f"a model may take one tensor, this one takes {len(fields)}", where="signature inputs")
    name, spec = str(fields[0].get("name", "")), fields[0]["tensor-spec"]
    where, shape = f"signature input {name!r}", spec["shape"]
    if spec["dtype"] not in TENSOR_DATATYPES:
        raise Invalid(
            f"a tensor of {spec['dtype']} can't be served; the types are {', '.join(TENSOR_DATATYPES)}",
            where=where,
        )
    if len(shape) != 2 or shape[0] != -1 or shape[1] < 1:  # noqa: PLR2004 (rows and columns)
        raise Invalid(f"a tensor must have the shape [-1, columns], this one has {shape}", where=where)
    return Matrix(name, TENSOR_DATATYPES[spec["dtype"]], int(shape[1]))
