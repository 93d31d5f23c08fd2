"""Single events in protobuf that are laid out alike, read column by column and not one by one.

A sender writes the same fields in the same order each time, so that two of its events differ in a few bytes only: in
numbers, ids, times and texts. The first event of a kind gives the layout (segments of bytes that stay the same or are
free, each perhaps followed by so many bytes as its last one says), and numpy walks over all events at once, segment by
segment. An event that differs in any byte that should stay the same doesn't fit. It gives a layout in its turn, or is
left to be read by itself, which costs ten times as much and says what is wrong with it.

Source: the wire format, protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyarrow import lib as arrow

from services.monitor.layouts import DASHES, ID_TEXT, LABEL, MORE, TIME, WORD, Layout, Segment, layout_of
from services.monitor.predictions import Predictions, random_ids
from services.profile import CodedText
from services.profile.columns import Counts, Numbers

Bytes = NDArray[np.uint8]
WORTH: Final = 16  # events: reading so many together costs as much as one by one
MOST_MISSES: Final = 4  # layouts that fit nobody else: the sender has no order, as Go's maps have none
_NO_DIGIT: Final = 255
_HEX: Final = np.full(256, _NO_DIGIT, dtype=np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
_HEX[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = np.arange(10, 16)


@dataclass
class _Walked:
    """What the walk over events of one layout passed, a row per event that fits."""

    fits: NDArray[np.bool_]
    windows: list[Bytes] = field(default_factory=list)
    tails: list[Bytes] = field(default_factory=list)


def read_alike(messages: Sequence[bytes], appended_us: Counts) -> tuple[list[Predictions], list[int]]:
    """What many events tell.

    Args:
        messages: The events' bodies, `PredictionRecorded`.
        appended_us: When the broker took each, microseconds since 1970-01-01 UTC: its time where it tells none.

    Returns:
        Those that are laid out alike, and the places of the others.
    """
    lengths = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
    ends = lengths.cumsum()
    stream = b"".join(messages)
    found: list[Predictions] = []
    rest, odd = np.arange(len(messages)), list[int]()
    while rest.size >= WORTH and len(odd) < MOST_MISSES:
        layout = layout_of(messages[rest[0]])
        walked = _walk(layout, stream, (ends - lengths)[rest], ends[rest]) if layout else None
        told = _told(layout, walked, appended_us[rest]) if layout and walked else None
        if walked is None or told is None:
            odd.append(int(rest[0]))
            rest = rest[1:]
        else:
            found.append(told)
            rest = rest[~walked.fits]
    return found, [*odd, *rest.tolist()]


def _walk(layout: Layout, stream: bytes, starts: Counts, ends: Counts) -> _Walked:
    longest = sum(len(segment.pattern) + MORE for segment in layout.segments) + WORD
    stream += bytes(longest)  # who doesn't fit goes astray, but not out of it
    at, walked = starts, _Walked(np.ones(starts.size, dtype=bool))
    for segment in layout.segments:
        window = _windows(stream, at, _words(segment) * WORD)
        walked.fits &= _agree(segment, window)
        at = at + len(segment.pattern)
        if segment.tail:
            lengths = window[:, len(segment.pattern) - 1].astype(np.int64)
            if segment.outer >= 0:
                walked.fits &= window[:, segment.outer] - lengths == len(segment.pattern) - segment.outer - 1
            walked.fits &= lengths < MORE
            lengths[~walked.fits] = 0
            walked.tails.append(_tails(stream, at, lengths))
            at = at + lengths
        walked.windows.append(window)
    walked.fits &= at == ends
    if not walked.fits.all():
        walked.windows = [window[walked.fits] for window in walked.windows]
        walked.tails = [tail[walked.fits] for tail in walked.tails]
    return walked


def _words(segment: Segment) -> int:
    """How many words a segment fills, with at least a byte of what comes behind."""
    return len(segment.pattern) // WORD + 1


def _windows(stream: bytes, at: Counts, width: int) -> Bytes:
    """So many bytes from each place on, shape (places, width)."""
    every = np.ndarray((len(stream) - width + 1,), dtype=f"V{width}", buffer=stream, strides=(1,))
    return np.asarray(every[at].view(np.uint8).reshape(at.size, width))


def _tails(stream: bytes, at: Counts, lengths: Counts) -> Bytes:
    """The length and so many bytes from each place on, zeros behind; shape (places, 1 + the longest)."""
    tails = _windows(stream, at - 1, int(lengths.max(initial=0)) + 1)
    tails *= np.arange(tails.shape[1]) <= lengths[:, np.newaxis]
    return tails


def _agree(segment: Segment, window: Bytes) -> NDArray[np.bool_]:
    """Which events have the pattern where it isn't free: compared by words, with what is behind it free."""
    pattern, same = np.zeros((2, window.shape[1]), np.uint8)
    pattern[: len(segment.pattern)] = segment.pattern
    same[: len(segment.pattern)] = np.frombuffer(segment.free, np.uint8) - 1  # 255 where not free
    different = window.view(np.uint64) ^ pattern.view(np.uint64)
    different &= same.view(np.uint64)
    return np.asarray(np.bitwise_or.reduce(different, axis=1) == 0)


def _told(layout: Layout, walked: _Walked, appended_us: Counts) -> Predictions | None:
    """What the events that fit tell; None where they are too few, or one has a text that is none."""
    ids, times = None, appended_us[walked.fits]
    right = np.ones(times.size, dtype=bool)
    numbers: dict[str, Numbers] = {}
    texts: dict[str, CodedText] = {}
    score = np.full(times.size, np.nan)
    label = None
    for segment, window in zip(layout.segments, walked.windows, strict=True):
        numbers |= {name: _doubles(window, at) for name, at in segment.numbers.items()}
        score = _doubles(window, segment.score) if segment.score >= 0 else score
        if segment.record_id >= 0:
            ids, hexadecimal = _ids(window[:, segment.record_id :])
            right &= hexadecimal
    kinds = [segment.tail for segment in layout.segments if segment.tail]
    try:
        for (tag, name), tail in zip(kinds, walked.tails, strict=True):
            if tag == TIME:
                times, valid = _moments(tail)
                right &= valid
            elif tag == LABEL:
                label = _coded(tail)
            else:
                texts[name] = _coded(tail)
    except UnicodeDecodeError:
        return None
    if np.count_nonzero(right) < WORTH:
        return None
    walked.fits[walked.fits] = right
    ids = random_ids(times.size) if ids is None else ids
    told = Predictions(layout.place, ids, times, numbers, texts, score, label)
    return told if right.all() else told.only(right)


def _doubles(window: Bytes, at: int) -> Numbers:
    return np.ascontiguousarray(window[:, at : at + WORD]).view("<f8")[:, 0]


def _ids(window: Bytes) -> tuple[Bytes, NDArray[np.bool_]]:
    """UUIDs, shape (rows, 16), of their texts, and which of these have digits only."""
    digits = _HEX[np.delete(window[:, :ID_TEXT], DASHES, axis=1)]
    return np.asarray(digits[:, ::2] << 4 | digits[:, 1::2]), np.asarray((digits < _NO_DIGIT).all(axis=1))


def _moments(tails: Bytes) -> tuple[Counts, NDArray[np.bool_]]:
    """Microseconds of timestamps of this century, and which of them are: five bytes of seconds, then nanoseconds."""
    held = np.zeros((len(tails), 13), dtype=np.uint8)
    held[:, : min(tails.shape[1], 13)] = tails[:, :13]
    lengths = held[:, 0]
    seconds, right = _varint(held[:, 2:7], np.full(len(tails), 5))
    nanos, ends = _varint(held[:, 8:], lengths.astype(np.int64) - 7)
    right &= (held[:, 1] == 0x08) & (((held[:, 7] == 0x10) & ends & (lengths <= 12)) | (lengths == 6))  # noqa: PLR2004
    return seconds * 1_000_000 + nanos // 1_000, right


def _varint(digits: Bytes, widths: Counts) -> tuple[Counts, NDArray[np.bool_]]:
    """Varints of some widths, shape (rows,), and which of them really have that width."""
    places = np.arange(digits.shape[1])
    used = places < widths[:, np.newaxis]
    values = ((digits & np.uint8(MORE - 1)).astype(np.int64) * used) @ (1 << 7 * places)
    continued = (digits >= MORE) == (places < widths[:, np.newaxis] - 1)
    return values, np.asarray((continued | ~used).all(axis=1))


def _coded(tails: Bytes) -> CodedText:
    """Texts, each behind its length."""
    rows, width = tails.shape
    held = arrow.FixedSizeBinaryArray.from_buffers(
        arrow.binary(width), rows, [None, arrow.py_buffer(np.ascontiguousarray(tails))]
    ).dictionary_encode()
    texts = tuple(text[1 : 1 + text[0]].decode() for text in held.dictionary.to_pylist())
    codes = held.indices.buffers()[1]  # to_numpy would import pandas, which takes a second
    return CodedText(np.frombuffer(codes, dtype=np.int32, count=rows), texts)
