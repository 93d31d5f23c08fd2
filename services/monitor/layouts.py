"""The layout of a single event in protobuf: which of its bytes every event of the same sender shares.

Source: the wire format, protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import DecodeError

from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from services.monitor import places
from services.monitor.predictions import Served

ID, TIME, NUMBER, TEXT, SCORE, LABEL = 0x32, 0x3A, 0x42, 0x4A, 0x51, 0x5A  # fields' tags
WORD: Final = 8  # bytes
ID_TEXT: Final = 36  # characters of a UUID
DASHES: Final = (8, 13, 18, 23)
MORE: Final = 0x80  # the bit of a varint's byte after which more come, and of a length that needs two bytes
_SAME: Final = frozenset({0x0A, 0x10, 0x1A, 0x20, 0x28})  # where it was served
_KEY, _DOUBLE, _VALUE = 0x0A, 0x11, 0x12  # of a map's entry


class _Unlike(Exception):
    """The event has something that layouts don't know."""


@dataclass
class Segment:
    """Bytes at the same places of all events, then perhaps as many more as the last of them says.

    Args:
        pattern: The first event's bytes.
        free: For each whether it may differ.
        numbers: Where doubles stand, by the name of a number.
        score: Where the score stands; -1 where there is none.
        record_id: Where the record's id stands; -1 where there is none.
        tail: What comes behind: the tag of its field, and a text's name. Nothing where the event ends here.
        outer: Where a text's entry tells its length; -1 where it is no text.
    """

    pattern: bytearray = field(default_factory=bytearray)
    free: bytearray = field(default_factory=bytearray)
    numbers: dict[str, int] = field(default_factory=dict)
    score: int = -1
    record_id: int = -1
    tail: tuple[int, str] | None = None
    outer: int = -1

    def add(self, told: bytes, *, free: bool = False) -> int:
        """Add bytes; where they begin."""
        self.pattern += told
        self.free += bytes([free]) * len(told)
        return len(self.pattern) - len(told)


@dataclass(frozen=True)
class Layout:
    """Where events of a layout were served, and their segments.

    Args:
        place: Where.
        segments: What follows what; the last one has no tail.
    """

    place: Served
    segments: tuple[Segment, ...]


def layout_of(message: bytes) -> Layout | None:
    """The layout of an event; nothing where it has something that layouts don't know."""
    try:
        body = PredictionRecorded.FromString(message)
        segments = [Segment()]
        for tag, start, value, end in _fields(message):
            _lay_out(segments[-1], tag, message[start:value], message[value:end])
            if segments[-1].tail:
                segments.append(Segment())
    except (DecodeError, UnicodeDecodeError, IndexError, _Unlike):
        return None
    place = Served(body.model, body.version, body.environment, body.epoch or 1, body.candidate)
    return Layout(place, tuple(segments)) if places.fits(*place[:4]) else None


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Each field's tag, and where it, its value and the next one begin."""
    at = 0
    while at < len(message):
        tag, value = message[at], at + 1
        if tag & 7 == 0:
            end = value + 1
            while message[end - 1] & MORE:
                end += 1
        elif tag & 7 == 1:
            end = value + WORD
        elif tag & 7 == 2 and message[value] < MORE:  # noqa: PLR2004 (the wire type of what has a length)
            value, end = value + 1, value + 1 + message[value]
        else:
            raise _Unlike
        yield tag, at, value, end
        at = end


def _lay_out(segment: Segment, tag: int, head: bytes, value: bytes) -> None:
    if tag in _SAME:
        segment.add(head + value)
    elif tag == NUMBER and value[:1] == bytes([_KEY]) and len(value) == 2 + value[1] + 1 + WORD:
        named = 2 + value[1]
        segment.add(head + value[:named] + bytes([_DOUBLE]))
        if value[named] != _DOUBLE:
            raise _Unlike
        segment.numbers[value[2:named].decode()] = segment.add(value[-WORD:], free=True)
    elif tag == SCORE:
        segment.add(head)
        segment.score = segment.add(value, free=True)
    elif tag == ID and len(value) == ID_TEXT:
        segment.record_id = segment.add(head) + len(head)
        segment.add(value, free=True)
        for dash in DASHES:
            segment.free[segment.record_id + dash] = False
    elif tag == TEXT and value[:1] == bytes([_KEY]) and value[2 + value[1]] == _VALUE:
        named = 2 + value[1]
        if value[named + 1] != len(value) - named - 2:
            raise _Unlike
        segment.outer = segment.add(head[:1]) + 1
        segment.add(head[1:], free=True)
        segment.add(value[: named + 1])
        _end(segment, tag, value[named + 1 : named + 2], value[2:named].decode())
    elif tag in {TIME, LABEL}:
        segment.add(head[:1])
        _end(segment, tag, head[1:])
    else:
        raise _Unlike


def _end(segment: Segment, tag: int, length: bytes, name: str = "") -> None:
    segment.add(length, free=True)
    segment.tail = tag, name
