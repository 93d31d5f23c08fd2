"""What a person names on the command line: MODEL, MODEL@VERSION, and moments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from services.chassis.errors import Invalid

_REFERENCE: Final = re.compile(r"([a-z][a-z0-9-]{0,62})(?:@([1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, or one of its versions.

    Args:
        model: The model's name.
        version: The version's number; 0: the newest that fits.
    """

    model: str
    version: int = 0

    def __str__(self) -> str:
        return f"{self.model}@{self.version}" if self.version else self.model


def reference(text: str) -> Reference:
    """Read MODEL or MODEL@VERSION.

    Raises:
        Invalid: it is neither.

    >>> reference("credit-prescreen@2")
    Reference(model='credit-prescreen', version=2)
    """
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise Invalid(f"{text!r} names no model", fix="write MODEL or MODEL@VERSION, such as credit-prescreen@2")
    return Reference(found[1], int(found[2] or 0))


def is_record(text: str) -> bool:
    """Whether it is a record's id, and no model.

    >>> is_record("0199a6b0-7c3e-7d10-8f00-5a1b2c3d4e5f")
    True
    """
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def model_of(text: str) -> str:
    """Read MODEL, where a version would be passed over in silence.

    Raises:
        Invalid: it is no model, or one of its versions.
    """
    found = reference(text)
    if found.version:
        raise Invalid(f"{text!r} names a version, and this is about the model", fix=f"write {found.model}")
    return found.model


def moment(text: str) -> datetime:
    """Read a moment: now, or ISO 8601; without a zone it is local time.

    Raises:
        Invalid: it is no moment.
    """
    if text == "now":
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{text!r} is no moment", fix="write now, or 2026-11-23T14:05:00") from None
