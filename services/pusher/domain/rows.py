"""A row as an event gives it, held against its view: every key, no feature that the view hasn't, a moment that was."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.chassis.errors import Invalid
from services.features.shapes import Kind, Row, Scalar, Shape

MOST_ROWS: Final = 10_000
"""Of one event."""

AHEAD: Final = timedelta(minutes=5)
"""How far a publisher's clock may be ahead of ours. A row from the far future would stay for ever."""

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_LARGEST: Final = 2**53  # beyond it a double doesn't hold every whole number


@dataclass(frozen=True, slots=True)
class Given:
    """A row as it was sent; `event_time` is None where it says none."""

    keys: Mapping[str, str]
    event_time: datetime | None
    numbers: Mapping[str, float]
    texts: Mapping[str, str]


def row_of(given: Given, shape: Shape, now: datetime, *, where: str) -> Row:
    """The row, if it is one of the view's.

    Raises:
        Invalid: a key is missing or of another type, a feature isn't the view's, or its moment is none, or ahead.
    """
    if given.event_time is None:
        raise Invalid("when did it come true?", where=f"{where}.event_time")
    if given.event_time - now > AHEAD:
        raise Invalid(f"{given.event_time.isoformat()} is ahead of us", where=f"{where}.event_time")
    if unknown := sorted(given.keys.keys() ^ shape.keys.keys()):
        raise Invalid(f"the view's keys are {', '.join(shape.keys)}; see {unknown[0]!r:.80}", where=f"{where}.keys")
    keys = {name: _key(given.keys[name], kind, where=f"{where}.keys[{name}]") for name, kind in shape.keys.items()}
    return Row(keys, _values(given, shape, where), given.event_time)


def _key(text: str, kind: Kind, *, where: str) -> Scalar:
    if not text or "\x00" in text:
        raise Invalid("empty, or with a NUL in it", where=where)
    if kind is Kind.TEXT:
        return text
    if not _WHOLE.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is no whole number", where=where)
    return int(text)


def _values(given: Given, shape: Shape, where: str) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    sent: list[tuple[str, float | str]] = [*given.numbers.items(), *given.texts.items()]
    for name, value in sent:
        kind, place = shape.values.get(name), f"{where}[{name[:80]}]"
        if kind is None:
            raise Invalid(f"the view {shape.view} has no such feature", where=place)
        if (kind is Kind.TEXT) != isinstance(value, str) or name in values:
            raise Invalid(f"it is a {kind.value}, given once", where=place)
        if isinstance(value, str) or not math.isnan(value):
            values[name] = value if isinstance(value, str) else _number(value, kind, place)
    return values


def _number(value: float, kind: Kind, where: str) -> Scalar:
    if kind is Kind.NUMBER:
        return value
    if kind is Kind.FLAG and value in {0.0, 1.0}:
        return bool(value)
    if kind is Kind.WHOLE and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    raise Invalid(f"{value} is no {kind.value}", where=where)
