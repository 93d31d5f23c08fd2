"""A model's signature, and its example as a request of the Open Inference Protocol.

MLflow keeps the signature as text in the MLmodel file, and the example as rows. The registry keeps the first as
JSON, and the second as the request that a client would send, one tensor of shape [n, 1] for each column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

_DATATYPES: Final[Mapping[str, str]] = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
    "string": "BYTES",
    "float64": "FP64",
    "float32": "FP32",
    "int64": "INT64",
    "int32": "INT32",
}


def signature_json(mlmodel: Mapping[str, Any]) -> str:
    """The signature in a parsed MLmodel file: JSON with inputs and outputs; empty where it has none."""
    signature = mlmodel.get("signature")
    if not isinstance(signature, Mapping) or not signature.get("inputs"):
        return ""
    parts = {name: json.loads(signature.get(name) or "[]") for name in ("inputs", "outputs")}
    return json.dumps(parts, sort_keys=True)


def input_types(signature: str) -> dict[str, str]:
    """Each input's type, as MLflow calls it; a tensor's columns have no names of their own.

    Args:
        signature: As `signature_json` gives it, not empty.

    >>> input_types('{"inputs": [{"type": "double", "name": "age"}]}')
    {'age': 'double'}
    """
    inputs = [one for one in json.loads(signature)["inputs"] if isinstance(one, Mapping)]
    return {str(one.get("name", "input")): str(one.get("type", "")) for one in inputs}


def input_example_json(signature: str, example: Any) -> str:
    """The example as a request.

    Args:
        signature: As `signature_json` gives it.
        example: The parsed example: rows with columns (pandas' split form), or a nested list for one tensor.

    Returns:
        JSON with inputs; empty where there is no signature or no example, or the two don't fit each other.

    >>> input_example_json('{"inputs": [{"type": "double", "name": "age"}]}', {"columns": ["age"], "data": [[41.0]]})
    '{"inputs": [{"name": "age", "shape": [1, 1], "datatype": "FP64", "data": [41.0]}]}'
    """
    fields = json.loads(signature)["inputs"] if signature else []
    rows = example.get("dataframe_split", example) if isinstance(example, Mapping) else example
    if isinstance(rows, Mapping) and "columns" in rows:
        tensors = _columns(fields, rows["columns"], rows["data"])
    else:
        tensors = _matrix(fields, rows.get("inputs") if isinstance(rows, Mapping) else rows)
    return json.dumps({"inputs": tensors}) if tensors else ""


def _columns(
    fields: Sequence[Mapping[str, Any]], columns: Sequence[str], data: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    places = {name: place for place, name in enumerate(columns)}
    return [
        {
            "name": field["name"],
            "shape": [len(data), 1],
            "datatype": _DATATYPES.get(str(field["type"]), "BYTES"),
            "data": [row[places[field["name"]]] for row in data],
        }
        for field in fields
        if field.get("name") in places and data
    ]


def _matrix(fields: Sequence[Mapping[str, Any]], data: Any) -> list[dict[str, Any]]:
    if len(fields) != 1 or "tensor-spec" not in fields[0] or not isinstance(data, list) or not data:
        return []
    if not all(isinstance(row, list) and len(row) == len(data[0]) for row in data):
        return []
    return [
        {
            "name": fields[0].get("name") or "input",
            "shape": [len(data), len(data[0])],
            "datatype": _DATATYPES.get(str(fields[0]["tensor-spec"]["dtype"]), "FP64"),
            "data": [value for row in data for value in row],
        }
    ]
