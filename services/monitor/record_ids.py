"""What a record's id says: one that a model server gave is a UUIDv7, whose first bits are a moment (RFC 9562)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

_WITH_A_MOMENT: Final = 7
_AFTER_THE_MOMENT: Final = 80  # bits


def made_ms(record: UUID) -> int | None:
    """When a record's id was made, milliseconds since 1970-01-01 UTC; None where the id doesn't tell.

    >>> made_ms(UUID("01927a3c-5d00-7000-8000-000000000000"))
    1728627629312
    >>> made_ms(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
    """
    return record.int >> _AFTER_THE_MOMENT if record.version == _WITH_A_MOMENT else None
