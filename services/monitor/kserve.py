"""What KServe's logger posts, read: the bodies of requests and responses in the protocols of version 1 and 2.

A v1 instance is an object whose keys are the inputs' names, or a list in the order of `columns`. A v2 tensor of shape
[n] or [n, 1] is an input by its name; one of shape [n, k] holds `columns`. Answers are read by what they are: a text is
a label, a number a score, one number in a list likewise, of two the second is the score (the probability of the second
class, as scikit-learn orders them); an object, or v2 tensors, may name `score` and `label` outright.

Sources: kserve's pkg/logger (worker.go, handler.go), its v1 protocol, and the Open Inference Protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any, Final

import msgspec

from goldenpath.ingest.v1.events_pb2 import LoggedAnswer, LoggedInput
from services.chassis.errors import Invalid
from services.monitor.batches import LABEL, SCORE
from services.profile.vectors import component_of

REQUEST: Final = "org.kubeflow.serving.inference.request"
RESPONSE: Final = "org.kubeflow.serving.inference.response"
_OF_TWO_CLASSES: Final = 2


def inputs_of(body: bytes, columns: Sequence[str]) -> list[LoggedInput]:
    """A request's records.

    Args:
        body: The request's body.
        columns: The inputs' names, where the body doesn't tell them.

    Raises:
        Invalid: it is neither a v1 nor a v2 request, or doesn't tell what its values are called.
    """
    document = _document(body)
    if "instances" in document:
        return [_input(_named(instance, columns)) for instance in _list(document["instances"], "instances")]
    if "inputs" in document:
        tensors = _tensors(document["inputs"], "inputs")
        table = dict(chain.from_iterable(_split(name, rows, columns) for name, rows in tensors.items()))
        return [_input(dict(zip(table, values, strict=True))) for values in zip(*table.values(), strict=True)]
    raise Invalid("a request has instances (v1) or inputs (v2)", where="body")


def answers_of(body: bytes) -> list[LoggedAnswer]:
    """A response's answers.

    Raises:
        Invalid: it is neither a v1 nor a v2 response, or its answers are neither scores nor labels.
    """
    document = _document(body)
    if "predictions" in document:
        return [_answer(each) for each in _list(document["predictions"], "predictions")]
    if "outputs" in document:
        tensors = _tensors(document["outputs"], "outputs")
        named = {name: [_single(row) for row in tensors[name]] for name in (SCORE, LABEL) if name in tensors}
        if named:
            return [_answer(dict(zip(named, values, strict=True))) for values in zip(*named.values(), strict=True)]
        return [_answer(_single(row)) for row in next(iter(tensors.values()))]
    raise Invalid("a response has predictions (v1) or outputs (v2)", where="body")


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the body isn't JSON: {error}", where="body", fix="binary tensors can't be logged") from None
    if not isinstance(document, dict):
        raise Invalid("the body is a JSON object", where="body")
    return document


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise Invalid("it is a list of at least one", where=where)
    return value


def _named(instance: Any, columns: Sequence[str]) -> Mapping[str, Any]:
    if isinstance(instance, dict):
        return instance
    values = instance if isinstance(instance, list) else [instance]
    if len(columns) == 1 < len(values):
        return {columns[0]: values}
    if len(values) != len(columns):
        said = f"an instance has {len(values)} values without names, and columns names {len(columns)}"
        raise Invalid(said, where="columns", fix="name them all in the logger's url: ?columns=age,education")
    return dict(zip(columns, values, strict=True))


def _input(values: Mapping[str, Any]) -> LoggedInput:
    made = LoggedInput()
    for name, value in values.items():
        if isinstance(value, str):
            made.texts[name] = value
        elif isinstance(value, int | float):
            made.numbers[name] = _double(value, name)
        elif isinstance(value, list) and len(value) > 1 and all(isinstance(each, int | float | None) for each in value):
            numbers = enumerate(value)
            made.numbers.update(
                {component_of(name, at): _double(each, name) for at, each in numbers if each is not None}
            )
        elif value is not None:
            raise Invalid(f"it holds {type(value).__name__}, where a number, text or vector was expected", where=name)
    return made


def _tensors(value: Any, where: str) -> dict[str, list[list[Any]]]:
    """Each tensor's rows, by its name."""
    tensors = {}
    for each in _list(value, where):
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise Invalid("a tensor has a name, shape and data", where=where)
        tensors[each["name"]] = _rows(each.get("shape"), each.get("data"), f"{where}.{each['name']}")
    if len({len(rows) for rows in tensors.values()}) > 1:
        raise Invalid("the tensors differ in their first dimension", where=where)
    return tensors


def _rows(shape: Any, data: Any, where: str) -> list[list[Any]]:
    if not isinstance(shape, list) or not shape or not all(isinstance(each, int) and each > 0 for each in shape):
        raise Invalid("a shape is a list of whole numbers above 0", where=where)
    flat = _flat(data)
    if len(flat) != prod(shape):
        raise Invalid(f"it has {len(flat)} values for the shape {shape}", where=where, fix="tensors are logged as JSON")
    width = len(flat) // shape[0]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _flat(data: Any) -> list[Any]:
    flat = data if isinstance(data, list) else []
    while any(isinstance(each, list) for each in flat):
        flat = list(chain.from_iterable(each if isinstance(each, list) else [each] for each in flat))
    return flat


def _split(name: str, rows: list[list[Any]], columns: Sequence[str]) -> list[tuple[str, list[Any]]]:
    if len(rows[0]) == 1:
        return [(name, [row[0] for row in rows])]
    if len(columns) == 1:
        return [(columns[0], list[Any](rows))]
    if len(rows[0]) != len(columns):
        said = f"{name} has {len(rows[0])} columns without names, and columns names {len(columns)}"
        raise Invalid(said, where="columns", fix="name them all in the logger's url: ?columns=age,education")
    return list(zip(columns, map(list, zip(*rows, strict=True)), strict=True))


def _single(row: list[Any]) -> Any:
    return row[0] if len(row) == 1 else row


def _answer(value: Any) -> LoggedAnswer:
    if isinstance(value, dict) and value.keys() & {SCORE, LABEL}:
        label, score = value.get(LABEL), value.get(SCORE)
        label = str(label) if isinstance(label, int | float) else label
        if (label is None or isinstance(label, str)) and (score is None or isinstance(score, int | float)):
            return LoggedAnswer(label=label or "", score=None if score is None else _double(score, SCORE))
    if isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
        if len(value) <= _OF_TWO_CLASSES:
            return LoggedAnswer(score=_double(value[-1], SCORE))
        return LoggedAnswer(label=str(max(range(len(value)), key=value.__getitem__)))
    if isinstance(value, str):
        return LoggedAnswer(label=value)
    if isinstance(value, int | float):
        return LoggedAnswer(score=_double(value, SCORE))
    raise Invalid("an answer is a score, a label, the classes' probabilities, or an object of score and label")


def _double(value: float, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Invalid("the number is too large for a double", where=where) from None
