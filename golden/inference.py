"""Requests of the Open Inference Protocol, out of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def request_of(inputs: Mapping[str, Any], datatypes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One row as a request: a tensor of one element for each input.

    Args:
        inputs: Values by the names of the model's signature: numbers, text, truth values; None is missing.
        datatypes: By input, its datatype as the model's metadata names it. What isn't named there is guessed from the
            value, and every number is a double then.

    >>> request_of({"age": 41.0})
    {'inputs': [{'name': 'age', 'shape': [1], 'datatype': 'FP64', 'data': [41.0]}]}
    >>> request_of({"age": 41.0}, {"age": "INT64"})
    {'inputs': [{'name': 'age', 'shape': [1], 'datatype': 'INT64', 'data': [41]}]}
    """
    known = datatypes or {}
    return {"inputs": [_tensor(name, value, known.get(name) or _datatype(value)) for name, value in inputs.items()]}


def _tensor(name: str, value: Any, datatype: str) -> dict[str, Any]:
    whole = isinstance(value, float) and value.is_integer() and "INT" in datatype  # 41.5 stays: the server says no
    return {"name": name, "shape": [1], "datatype": datatype, "data": [int(value) if whole else value]}


def _datatype(value: Any) -> str:
    if isinstance(value, bool):
        return "BOOL"
    return "BYTES" if isinstance(value, str) else "FP64"
