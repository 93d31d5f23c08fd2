"""An entry of the log: which event stood where, and the digest of its bytes, in one unambiguous encoding.

The leaf's content, all numbers big-endian and unsigned:

    u32 length, then the topic in UTF-8
    u32 partition
    u64 offset
    u32 length, then ce_id as it came; length 0 where there was none
    32 bytes: SHA-256 over the event's headers and value

and that last digest is over

    u32 number of headers; for each, in the order in which they stood,
        u32 length, then its name in UTF-8
        its value
    the event's value

where a value is one byte 0 for "none", or one byte 1, u64 length, then its bytes. Every part carries its length, so
no two events have the same encoding, and a header can't be mistaken for a piece of another.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from services.governance.domain.merkle import leaf_hash


@dataclass(frozen=True, slots=True)
class Entry:
    """What the log keeps of an event.

    Args:
        topic: The topic that it stands on.
        partition: The partition, 0 or more.
        offset: The offset, 0 or more.
        event_id: Its ce_id, as text; bytes that aren't UTF-8 are escaped. Empty where it has none.
        event_type: Its ce_type; for people, and no part of the leaf.
        subject: Its ce_subject; for people, and no part of the leaf.
        content_hash: SHA-256 over its headers and value.
    """

    topic: str
    partition: int
    offset: int
    event_id: str
    event_type: str
    subject: str
    content_hash: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf's content; `merkle.leaf_hash` of it is what the tree holds."""
        place = struct.pack(">IQ", self.partition, self.offset)
        return _text(self.topic) + place + _text(self.event_id) + self.content_hash

    @property
    def leaf_hash(self) -> bytes:
        """The leaf's hash after RFC 6962."""
        return leaf_hash(self.leaf)


def entry_of(
    topic: str, partition: int, offset: int, headers: Sequence[tuple[str, bytes | None]], value: bytes | None
) -> Entry:
    """The entry of an event, whatever its bytes are: the log takes what no decoder takes."""
    named = {name: _readable(text) for name, text in reversed(headers)}
    return Entry(
        topic=topic,
        partition=partition,
        offset=offset,
        event_id=named.get("ce_id", ""),
        event_type=named.get("ce_type", ""),
        subject=named.get("ce_subject", ""),
        content_hash=content_hash(headers, value),
    )


def content_hash(headers: Sequence[tuple[str, bytes | None]], value: bytes | None) -> bytes:
    """SHA-256 over an event's headers and value, in the encoding above."""
    named = b"".join(_text(name) + _value(text) for name, text in headers)
    return hashlib.sha256(struct.pack(">I", len(headers)) + named + _value(value)).digest()


def _readable(text: bytes | None) -> str:
    # PostgreSQL's text holds no NUL; the true bytes are in the content hash.
    return (text or b"").decode(errors="backslashreplace").replace("\x00", "\\x00")


def _text(text: str) -> bytes:
    encoded = text.encode(errors="surrogatepass")
    return struct.pack(">I", len(encoded)) + encoded


def _value(value: bytes | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + struct.pack(">Q", len(value)) + value
