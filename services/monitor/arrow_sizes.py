"""How large an Arrow stream will be, told by its messages before anything of it is unpacked.

A message's metadata says where in its body each buffer stands, and a buffer that is compressed begins with its length
when it isn't. Arrow's decompressors fill exactly so many bytes or fail, so the sum bounds what reading takes. pyarrow
shows the metadata as bytes only; two tables of it are read here, of which it has checked that they are whole.

Sources: Arrow's Message.fbs; flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from pyarrow.lib import MessageReader

_HEADER: Final = 2  # fields' numbers: of a message,
_DICTIONARY: Final = 1  # of a dictionary batch, whose records are a batch,
_BUFFERS, _COMPRESSION = 2, 3  # and of a record batch
_BUFFER: Final = 16  # bytes: an offset and a length
_UNCOMPRESSED: Final = -1  # the length of a buffer that compression would have made larger


def unpacked_bytes(data: bytes) -> int:
    """The bytes of all buffers of a stream, unpacked.

    Raises:
        ArrowInvalid: it is no stream.
        OSError: it was cut off.
        struct.error: a buffer isn't where it should be, or has less than no bytes.
    """
    reader: Any = MessageReader.open_stream(data)
    return sum(_of_message(message) for message in reader if message.type in {"record batch", "dictionary"})


def _of_message(message: Any) -> int:
    table = _field(message.metadata, _at(message.metadata, 0), _HEADER)
    batch = _at(message.metadata, table)
    if message.type == "dictionary":
        batch = _at(message.metadata, _field(message.metadata, batch, _DICTIONARY))
    where = _field(message.metadata, batch, _BUFFERS)
    if not where:
        return 0
    start = _at(message.metadata, where)
    (buffers,) = struct.unpack_from("<I", message.metadata, start)
    compressed = bool(_field(message.metadata, batch, _COMPRESSION))
    places = struct.iter_unpack("<qq", memoryview(message.metadata)[start + 4 : start + 4 + _BUFFER * buffers])
    return sum(_of_buffer(message.body, offset, length, compressed) for offset, length in places)


def _of_buffer(body: Any, offset: int, length: int, compressed: bool) -> int:  # noqa: FBT001 (a private function's last)
    (unpacked,) = struct.unpack_from("<q", body, offset) if compressed and length else (_UNCOMPRESSED,)
    size = length if unpacked == _UNCOMPRESSED else int(unpacked)
    if size < 0:  # it would make up for another's size
        raise struct.error(f"a buffer has {size} bytes")
    return size


def _at(metadata: Any, place: int) -> int:
    """Where the offset at a place leads."""
    (offset,) = struct.unpack_from("<I", metadata, place)
    return place + int(offset)


def _field(metadata: Any, table: int, number: int) -> int:
    """Where a table's field stands; 0 where it has none."""
    (back,) = struct.unpack_from("<i", metadata, table)
    (size,) = struct.unpack_from("<H", metadata, table - back)
    entry = 4 + 2 * number
    if entry >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, table - back + entry)
    return table + int(offset) if offset else 0
