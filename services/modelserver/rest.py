"""The protocol's JSON: an inference request's body read, an answer written.

Source: Open Inference Protocol, "HTTP/REST API" (github.com/kserve/open-inference-protocol, specification/protocol).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from services.chassis.errors import Invalid
from services.modelserver.inference import Answer, Served
from services.modelserver.predict import LABEL, SCORE, Output
from services.modelserver.record_ids import text_of
from services.modelserver.schema import Tensor

_FIELDS: Final = (("name", str, "text"), ("datatype", str, "text"), ("shape", list, "a list"), ("data", list, "a list"))


def read(body: bytes) -> tuple[list[Tensor], list[str]]:
    """The tensors of a request, and the names of the outputs that it wants; none of them: all.

    Raises:
        Invalid: it isn't JSON, or not the protocol's.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the body isn't JSON: {error}", where="body") from None
    if type(request) is not dict:
        raise Invalid("the body isn't a JSON object", where="body")
    inputs = request.get("inputs")
    if type(inputs) is not list or not inputs:
        raise Invalid("expected a list of at least one tensor", where="inputs")
    wanted = request.get("outputs")
    return [_tensor(one, place) for place, one in enumerate(inputs)], _names(wanted) if wanted else []


def _tensor(one: Any, place: int) -> Tensor:
    try:
        name, datatype, shape, data = one["name"], one["datatype"], one["shape"], one["data"]
    except (KeyError, TypeError):
        raise _malformed(one, place) from None
    if type(name) is str and type(datatype) is str and type(shape) is list and type(data) is list:
        return Tensor(name, datatype, shape, data)
    raise _malformed(one, place)


def _malformed(one: Any, place: int) -> Invalid:
    where = f"inputs[{place}]"
    if type(one) is not dict:
        return Invalid("expected a tensor, a JSON object", where=where)
    field, word = next((name, word) for name, kind, word in _FIELDS if type(one.get(name)) is not kind)
    found = "found none" if field not in one else f"got {one[field]!r:.60}"
    return Invalid(f"expected {word}, {found}", where=f"{where}.{field}")


def _names(wanted: Any) -> list[str]:
    if type(wanted) is not list or not all(type(one) is dict and type(one.get("name")) is str for one in wanted):
        raise Invalid("expected a list of objects with a name", where="outputs")
    return [one["name"] for one in wanted]


def chosen(outputs: Sequence[Output], names: Sequence[str]) -> Sequence[Output]:
    """The outputs that a request wants.

    Raises:
        Invalid: it wants one that the model doesn't give.
    """
    if not names:
        return outputs
    by_name = {output.name: output for output in outputs}
    for name in names:
        if name not in by_name:
            raise Invalid(f"the model gives no {name!r:.80}, only {', '.join(by_name)}", where="outputs")
    return [by_name[name] for name in names]


def write(served: Served, answer: Answer, outputs: Sequence[Output]) -> bytes:
    """An answer's body. One row: `id` is its record id. Several: the parameter `record_ids` has all, by commas."""
    size = len(answer.ids)
    values = {SCORE: answer.prediction.scores, LABEL: answer.prediction.labels}
    ids = [text_of(record_id) for record_id in answer.ids]
    response: dict[str, Any] = {
        "model_name": served.model,
        "model_version": served.version,
        "id": ids[0],
        "outputs": [
            {"name": output.name, "datatype": output.datatype, "shape": [size], "data": values[output]}
            for output in outputs
        ],
    }
    if size > 1:
        response["parameters"] = {"record_ids": ",".join(ids)}
    return orjson.dumps(response)
