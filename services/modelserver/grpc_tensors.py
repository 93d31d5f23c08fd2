"""Tensors in the protocol's gRPC form: typed contents, or raw bytes.

An answer has the form of its request, since not every client reads both.

Raw bytes are little-endian and row-major. A raw BYTES tensor is a sequence of elements, each of which is a length in
four bytes and then so many bytes. Text is UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from goldenpath.openinference.v2.inference_pb2 import ModelInferRequest, ModelInferResponse
from services.chassis.errors import Invalid
from services.modelserver.predict import LABEL, Output, Prediction
from services.modelserver.schema import Tensor

_FIELDS: Final[Mapping[str, str]] = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
_RAW: Final[Mapping[str, str]] = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4", "BOOL": "?"}
_LENGTH_BYTES: Final = 4


def read(request: ModelInferRequest) -> list[Tensor]:
    """The tensors of a request.

    Raises:
        Invalid: there are none, or one's contents aren't of its datatype; `where` names the input.
    """
    if not request.inputs:
        raise Invalid("expected at least one tensor", where="inputs")
    raw = request.raw_input_contents
    if not raw:
        return [Tensor(one.name, one.datatype, list(one.shape), _typed(one)) for one in request.inputs]
    if len(raw) != len(request.inputs):
        raise Invalid(f"expected {len(request.inputs)} entries, got {len(raw)}", where="raw_input_contents")
    return [
        Tensor(one.name, one.datatype, list(one.shape), _unpacked(one.name, one.datatype, content))
        for one, content in zip(request.inputs, raw, strict=True)
    ]


def _typed(one: ModelInferRequest.InferInputTensor) -> list[Any]:
    field = _FIELDS.get(one.datatype)
    if field is None:
        raise _unknown(one.name, one.datatype)
    values = list(getattr(one.contents, field))
    return _decoded(one.name, values) if one.datatype == "BYTES" else values


def _unpacked(name: str, datatype: str, content: bytes) -> list[Any]:
    if datatype == "BYTES":
        return _decoded(name, _elements(name, content))
    dtype = _RAW.get(datatype)
    if dtype is None:
        raise _unknown(name, datatype)
    if len(content) % np.dtype(dtype).itemsize:
        raise Invalid(f"{len(content)} bytes are no whole number of {datatype} values", where=f"input {name!r:.80}")
    values: list[Any] = np.frombuffer(content, dtype=dtype).tolist()
    return values


def _elements(name: str, content: bytes) -> list[bytes]:
    elements, at = [], 0
    while at < len(content):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(content[at:start], "little")
        elements.append(content[start:at])
    if at != len(content):
        raise Invalid("the last element is cut short", where=f"input {name!r:.80}")
    return elements


def _decoded(name: str, values: Sequence[bytes]) -> list[Any]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise Invalid("a value isn't UTF-8", where=f"input {name!r:.80}") from None


def _unknown(name: str, datatype: str) -> Invalid:
    return Invalid(f"the datatype {datatype!r:.20} is none of {', '.join(_FIELDS)}", where=f"input {name!r:.80}")


def write(response: ModelInferResponse, outputs: Sequence[Output], prediction: Prediction, *, raw: bool) -> None:
    """Write the outputs of a prediction into its response, as raw bytes or as typed contents."""
    for output in outputs:
        one = response.outputs.add(name=output.name, datatype=output.datatype, shape=[len(prediction.scores)])
        labels = [label.encode() for label in prediction.labels or []]
        if raw:
            response.raw_output_contents.append(_packed(labels) if output == LABEL else _doubles(prediction.scores))
        elif output == LABEL:
            one.contents.bytes_contents.extend(labels)
        else:
            one.contents.fp64_contents.extend(prediction.scores)


def _packed(elements: Sequence[bytes]) -> bytes:
    return b"".join(len(element).to_bytes(_LENGTH_BYTES, "little") + element for element in elements)


def _doubles(values: Sequence[float]) -> bytes:
    return np.array(values, dtype=_RAW["FP64"]).tobytes()
