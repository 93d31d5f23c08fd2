"""Plain values as compressed JSON, for what is kept of each day."""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

_LARGEST: Final = 1 << 20  # bytes: some twenty times what a day's values ever take


def to_bytes(told: object) -> bytes:
    """As compressed JSON."""
    return zlib.compress(json.dumps(told).encode(), level=1)


def from_bytes(kept: bytes) -> Any:
    """Read what `to_bytes` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        return json.loads(zlib.decompressobj().decompress(kept, _LARGEST))
    except zlib.error as error:
        raise ValueError(str(error)) from None
