"""Record ids: UUIDs of version 7, so that they sort by time and nobody has to hand them out.

Source: RFC 9562, section 5.7. The 74 random bits come from the operating system, since a guessable id would let
anybody publish an outcome for somebody else's record.
"""

from __future__ import annotations

import os

_RANDOM_BYTES = 10
_VERSION = 0x7000
_VARIANT = 0x8000_0000_0000_0000


def new_ids(milliseconds: int, count: int) -> list[bytes]:
    """New ids of 16 bytes each, of one moment.

    Args:
        milliseconds: The moment, since 1970-01-01 UTC.
        count: How many, at least 1.
    """
    moment = milliseconds.to_bytes(6, "big")
    noise = os.urandom(_RANDOM_BYTES * count)
    return [moment + _tail(noise[at : at + _RANDOM_BYTES]) for at in range(0, len(noise), _RANDOM_BYTES)]


def text_of(record_id: bytes) -> str:
    """An id as people and protocols write it.

    >>> text_of(bytes(range(16)))
    '00010203-0405-0607-0809-0a0b0c0d0e0f'
    """
    text = record_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _tail(noise: bytes) -> bytes:
    bits = int.from_bytes(noise, "big")
    high = (bits >> 64) & 0x0FFF | _VERSION
    low = bits & 0x3FFF_FFFF_FFFF_FFFF | _VARIANT
    return high.to_bytes(2, "big") + low.to_bytes(8, "big")
