"""How a view's rows look: what pushing, history and proof agree on. Pure.

A row is of one entity from one moment on; a history of rows says what was known of an entity at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Kind(Enum):
    """A column's type, as PostgreSQL names it."""

    TEXT = "text"
    WHOLE = "bigint"
    NUMBER = "double precision"
    FLAG = "boolean"


Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Shape:
    """A view's columns.

    Args:
        view: Its name.
        table: Where its history is.
        keys: Join keys with their types, by name.
        values: Features with their types, by name.
        event_time: The column with the moment from which a row is true.
        kept_at: The column with the moment at which a row was kept.
    """

    view: str
    table: str
    keys: Mapping[str, Kind]
    values: Mapping[str, Kind]
    event_time: str
    kept_at: str


@dataclass(frozen=True, slots=True)
class Row:
    """What a view gives of one entity from a moment on; a feature that isn't there is missing."""

    keys: Mapping[str, Scalar]
    values: Mapping[str, Scalar]
    event_time: datetime
