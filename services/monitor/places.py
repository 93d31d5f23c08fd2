"""What a sender may tell of where and when records were served: what tables, their keys and the calendar can hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import Invalid

LONGEST_NAME: Final = 200  # bytes of a model or an environment; the registry takes 63
LONGEST_SERVER: Final = 1_000  # bytes: an event's source and id, or a place on a topic and all of a deployment's names
_MOST_VERSION: Final = 2**31  # PostgreSQL's integer
_MOST_NUMBER: Final = 2**63  # and its bigint


def fits(model: str, version: int, environment: str, epoch: int) -> bool:
    """Whether a deployment can be as a sender tells."""
    names = _is_name(model, LONGEST_NAME) and _is_name(environment, LONGEST_NAME)
    return names and bool(model) and 0 < version < _MOST_VERSION and epoch < _MOST_NUMBER


def check(model: str, version: int, environment: str, epoch: int) -> None:
    """See that a deployment can be as a sender tells.

    Raises:
        Invalid: it can't.
    """
    if not fits(model, version, environment, epoch):
        most = f"at most {LONGEST_NAME} bytes, a version below {_MOST_VERSION:,}, an epoch below {_MOST_NUMBER:,}"
        raise Invalid(f"records name their model, environment and version: names of {most}, without NUL", where="model")


def check_batch(server: str, number: int) -> None:
    """See that a batch can be named as its sender does.

    Raises:
        Invalid: it can't.
    """
    if not server or not _is_name(server, LONGEST_SERVER) or not 0 < number < _MOST_NUMBER:
        said = f"a batch names its server in at most {LONGEST_SERVER} bytes without NUL, and its number"
        raise Invalid(said, where="server")


def moment_of(stamp: Timestamp, where: str) -> datetime:
    """The moment of a timestamp.

    Raises:
        Invalid: the calendar has none such.
    """
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Invalid("it is no moment between the years 1 and 9999", where=where) from None


def _is_name(text: str, most: int) -> bool:
    return len(text) <= most and len(text.encode()) <= most and "\0" not in text
