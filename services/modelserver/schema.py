"""A request against the signature: what goes on to the model has the right names, shapes, datatypes and values.

- One tensor per column, of shape [n] or [n, 1], the same n for all; or, for a matrix, one tensor of shape [n,
  width].
- A tensor's datatype may be narrower than the column's (FP32, INT64 and INT32 go into FP64, INT32 into
  INT64), since nothing is lost. It may not be wider.
- A missing value is `null` in JSON, NaN in floating point. FP64, FP32 and BYTES can be missing; INT64, INT32
  and BOOL can't, because a column that was trained as integers or booleans has never held a gap.
  A tensor of nothing but `null` may have any datatype, since its values have none.
- A column that the signature calls optional may be left out; it is then missing in every row.
- **Inputs that the signature doesn't know are passed over.** While a rollout divides traffic between two
  versions, one request must fit both, and the newer may use more columns.

Values are lists of Python's own types. For one row that is cheaper than arrays, and JSON brings them so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

from services.chassis.errors import Invalid
from services.modelserver.signature import Input, Matrix, Signature

_NUMBER: frozenset[type] = frozenset({float, int, type(None)})
_VALUES: Mapping[str, frozenset[type]] = {
    "FP64": _NUMBER,
    "FP32": _NUMBER,
    "INT64": frozenset({int}),
    "INT32": frozenset({int}),
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str, type(None)}),
}
_WORDS: Mapping[str, str] = {
    "FP64": "a number",
    "FP32": "a number",
    "INT64": "a whole number",
    "INT32": "a whole number",
    "BOOL": "true or false",
    "BYTES": "text",
}
ACCEPTS: Mapping[str, frozenset[str]] = {
    "FP64": frozenset({"FP64", "FP32", "INT64", "INT32"}),
    "FP32": frozenset({"FP32"}),
    "INT64": frozenset({"INT64", "INT32"}),
    "INT32": frozenset({"INT32"}),
    "BOOL": frozenset({"BOOL"}),
    "BYTES": frozenset({"BYTES"}),
}
NULLABLE: frozenset[str] = frozenset(datatype for datatype, kinds in _VALUES.items() if type(None) in kinds)
_LIMITS: Mapping[str, int] = {"INT64": 2**63, "INT32": 2**31}


class Tensor(NamedTuple):
    """A tensor as an edge read it: flat or nested values, not checked yet."""

    name: str
    datatype: str
    shape: Sequence[Any]
    data: Sequence[Any]


class Rows(NamedTuple):
    """Checked values: a list per column of the signature, in its order, each of `size` values."""

    columns: list[list[Any]]
    size: int


class Schema(Protocol):
    """What checks requests for one signature."""

    def rows(self, tensors: Sequence[Tensor]) -> Rows:
        """Check a request's tensors.

        Raises:
            Invalid: something is wrong; `where` names the input.
        """
        ...


def schema_of(signature: Signature) -> Schema:
    """The check for a signature."""
    return MatrixSchema(signature) if isinstance(signature, Matrix) else TableSchema(signature.columns)


class TableSchema:
    """Checks one tensor per column."""

    def __init__(self, columns: Sequence[Input]) -> None:
        self._columns = tuple(columns)

    def rows(self, tensors: Sequence[Tensor]) -> Rows:
        """Check a request's tensors."""
        given = {tensor.name: tensor for tensor in tensors}
        if len(given) != len(tensors):
            raise Invalid("an input's name occurs twice", where="inputs")
        count = _count(given, self._columns)
        return Rows([_column(column, given.get(column.name), count) for column in self._columns], count)


def _count(given: Mapping[str, Tensor], columns: Iterable[Input]) -> int:
    for column in columns:
        tensor = given.get(column.name)
        if tensor is not None:
            count = _rows_in(tensor)
            if len(tensor.data) != count:
                raise _wrong_size(tensor, count, len(tensor.data))
            return count
    wanted = ", ".join(f"{column.name} ({column.datatype})" for column in columns)
    raise Invalid(f"the request has none of the model's inputs: {wanted}", where="inputs")


def _rows_in(tensor: Tensor) -> int:
    shape = tensor.shape
    if len(shape) not in {1, 2} or any(type(size) is not int for size in shape):
        raise Invalid(f"expected the shape [n] or [n, 1], got {list(shape)}", where=_at(tensor.name))
    if shape[0] < 1:
        raise Invalid(f"expected at least one row, got the shape {list(shape)}", where=_at(tensor.name))
    return int(shape[0])


def _column(column: Input, tensor: Tensor | None, count: int) -> list[Any]:
    if tensor is None:
        if column.required:
            raise Invalid(f"the input is missing; the model takes it as {column.datatype}", where=_at(column.name))
        return [None] * count
    if list(tensor.shape) not in ([count], [count, 1]):
        raise Invalid(f"expected the shape [{count}] or [{count}, 1], got {list(tensor.shape)}", where=_at(column.name))
    return _checked(column, tensor, count)


class MatrixSchema:
    """Checks one tensor, and takes it apart into its columns."""

    def __init__(self, signature: Matrix) -> None:
        self._signature = signature

    def rows(self, tensors: Sequence[Tensor]) -> Rows:
        """Check a request's tensor."""
        tensor = self._chosen(tensors)
        width, shape = self._signature.width, tensor.shape
        if len(shape) != 2 or shape[1] != width or _rows_in(tensor) < 1:  # noqa: PLR2004 (rows and columns)
            raise Invalid(f"expected the shape [n, {width}], got {list(shape)}", where=_at(tensor.name))
        flat = _checked(Input(tensor.name, self._signature.datatype), tensor, shape[0] * width)
        return Rows([flat[place::width] for place in range(width)], shape[0])

    def _chosen(self, tensors: Sequence[Tensor]) -> Tensor:
        name = self._signature.name
        found = [tensor for tensor in tensors if not name or tensor.name == name]
        if len(found) != 1:
            raise Invalid(f"the model takes one tensor{f' named {name!r}' if name else ''}", where="inputs")
        return found[0]


def _checked(column: Input, tensor: Tensor, size: int) -> list[Any]:
    """The tensor's values, flat, all of its datatype; `size` is how many its shape promises."""
    data = _flat(tensor)
    if len(data) != size:
        raise _wrong_size(tensor, size, len(data))
    if tensor.datatype not in ACCEPTS[column.datatype]:
        if column.datatype in NULLABLE and all(value is None for value in data):
            return data
        raise Invalid(f"expected the datatype {column.datatype}, got {tensor.datatype}", where=_at(column.name))
    allowed = _VALUES[tensor.datatype]
    if not allowed.issuperset(map(type, data)):
        raise _wrong_value(column, tensor.datatype, data, allowed)
    if tensor.datatype in _LIMITS:
        _check_range(column, tensor.datatype, data)
    return data


def _wrong_size(tensor: Tensor, size: int, found: int) -> Invalid:
    return Invalid(f"the shape {list(tensor.shape)} has {size} values, data has {found}", where=_at(tensor.name))


def _flat(tensor: Tensor) -> list[Any]:
    data = tensor.data
    while data and type(data[0]) is list:
        if not all(type(part) is list for part in data):
            raise Invalid("data is nested unevenly", where=_at(tensor.name))
        data = list(chain.from_iterable(data))
    return data if type(data) is list else list(data)


def _wrong_value(column: Input, datatype: str, data: list[Any], allowed: frozenset[type]) -> Invalid:
    place = next(place for place, value in enumerate(data) if type(value) not in allowed)
    got = "a missing value" if data[place] is None else f"{data[place]!r:.60}"
    return Invalid(f"expected {_WORDS[datatype]} ({datatype}), got {got}", where=f"{_at(column.name)}, value {place}")


def _check_range(column: Input, datatype: str, data: list[int]) -> None:
    limit = _LIMITS[datatype]
    if not -limit <= min(data) <= max(data) < limit:
        raise Invalid(f"a value is outside the range of {datatype}", where=_at(column.name))


def _at(name: str) -> str:
    return f"input {name!r:.80}"
