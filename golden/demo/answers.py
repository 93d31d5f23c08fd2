"""How the story reads the platform's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from golden.connection import error_of
from services.chassis.errors import NotFound

T = TypeVar("T")


def known(ask: Callable[[], T]) -> T | None:
    """An answer; None while there is nothing to tell of yet. Whoever doesn't answer at all ends the story.

    Raises:
        GoldenpathError: any other failure.
    """
    try:
        return ask()
    except grpc.RpcError as failure:
        error = error_of(failure)
        if isinstance(error, NotFound):
            return None
        raise error from None


def seconds_between(start: Timestamp, end: Timestamp) -> float:
    """How long it is from one moment to another."""
    return (end.ToDatetime() - start.ToDatetime()).total_seconds()


def false_alarms(per_year: float) -> str:
    """A rate of false alarms, in words."""
    return "one false alarm a year" if per_year == 1 else f"{per_year:g} false alarms a year"
