"""Requests of the Open Inference Protocol, out of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def request_of(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """One row as a request: a tensor of one element for each input.

    Args:
        inputs: Values by the names of the model's signature: numbers, text, truth values; None is missing.

    >>> request_of({"age": 41.0})
    {'inputs': [{'name': 'age', 'shape': [1], 'datatype': 'FP64', 'data': [41.0]}]}
    """
    return {"inputs": [_tensor(name, value) for name, value in inputs.items()]}


def _tensor(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": _datatype(value), "data": [value]}


def _datatype(value: Any) -> str:
    if isinstance(value, bool):
        return "BOOL"
    return "BYTES" if isinstance(value, str) else "FP64"
