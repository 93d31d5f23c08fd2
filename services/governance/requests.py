"""What both edges check of a request before anything is asked of the database."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.governance.v1 import governance_service_pb2 as pb
from services.chassis.errors import Invalid

PRODUCTION: Final = "production"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_LARGEST_VERSION: Final = 2**31 - 1  # PostgreSQL's integer
_LARGEST_INDEX: Final = 2**63 - 1  # PostgreSQL's bigint


def model_of(text: str) -> str:
    """A model's name."""
    return _name(text, "model")


def environment_of(text: str) -> str:
    """An environment's name; empty: production."""
    return _name(text or PRODUCTION, "environment")


def version_of(number: int) -> int:
    """A version's number; 0 is left to the question."""
    if not 0 <= number <= _LARGEST_VERSION:
        raise Invalid(f"there is no version {number}", where="version")
    return number


def some_version_of(number: int) -> int:
    """The number of one version."""
    if not version_of(number):
        raise Invalid("name one version: 0 is none", where="version")
    return number


def index_of(number: int, where: str) -> int:
    """A place in the log, or its size."""
    if not 0 <= number <= _LARGEST_INDEX:
        raise Invalid(f"no log is as long as {number}", where=where)
    return number


def entry_of(request: pb.GetInclusionProofRequest) -> tuple[int, str]:
    """Which entry: its index, or its event's id."""
    if request.WhichOneof("entry") is None:
        raise Invalid("name an entry, by its index or by its event's id", where="entry")
    if request.WhichOneof("entry") == "event_id" and not request.event_id:
        raise Invalid("it is empty", where="event_id")
    return index_of(request.index, "index"), text_of(request.event_id, "event_id")


def moment_of(stamp: Timestamp, where: str) -> datetime:
    """A moment, in UTC."""
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Invalid("it is no moment between the years 1 and 9999", where=where) from None


def text_of(text: str, where: str) -> str:
    """A text that the database can take."""
    if "\x00" in text:
        raise Invalid("it holds a NUL", where=where)
    return text


def _name(text: str, where: str) -> str:
    if not _NAME.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is not 1 to 63 of a-z, 0-9 and -, starting with a letter", where=where)
    return text
