"""Columnar batches as the monitor reads them: columns that numpy takes over as they are (`monitor/v1/packed.proto`).

protobuf lets a sender pack a column in several pieces, or not at all. Such a batch doesn't fit its own number of
records; it is packed anew through the sender's contract, which also says what is wrong with one that fits nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch, PackedColumn
from services.chassis import cloudevents
from services.chassis.cloudevents import PROTOBUF, CloudEvent
from services.chassis.errors import Invalid
from services.monitor import places
from services.monitor.batches import ID_BYTES, LABEL, SCORE
from services.monitor.sample_store import Kept
from services.profile import CodedText, Column
from services.profile.columns import Counts, Numbers

DOUBLE: Final = 8  # bytes
CONTINUED: Final = 128  # the bit of a varint's byte after which more come
LONGEST: Final = 10  # bytes of a varint
AHEAD: Final = timedelta(seconds=5)  # a record's own clock may be so far ahead of the broker's
_DOUBLES: Final = np.dtype("<f8")
_SMALL: Final = bytes((byte >> 1 ^ -(byte & 1)) & 255 for byte in range(256))  # each varint of one byte, as int8
_NO_LABEL: Final = CodedText(np.empty(0, dtype=np.int8), ())
MOST_ROWS: Final = 1_000_000  # no server closes a batch with more


@dataclass(frozen=True)
class Batch:
    """A batch that is whole.

    Args:
        head: The batch without its records.
        data: Its bytes, of which nothing is held a second time.
        columns: Its inputs and its score, by name.
        times_us: Its records' event times, microseconds since 1970-01-01 UTC, shape (rows,).
    """

    head: PackedBatch
    data: bytes
    columns: Mapping[str, Column]
    times_us: Counts

    @property
    def rows(self) -> int:
        """How many records it holds, at least one."""
        return int(self.times_us.size)


def read(event: CloudEvent) -> Batch:
    """An event's batch.

    Raises:
        Invalid: it is none, or isn't whole.
    """
    if event.content_type.startswith(PROTOBUF):
        cloudevents.check_schema(event, pb.InferenceRecorded)
        try:
            return whole(event.data)
        except (DecodeError, Invalid):
            pass  # packed otherwise, or broken
    return whole(cloudevents.body(event, pb.InferenceRecorded).SerializeToString())


def whole(data: bytes) -> Batch:
    """A batch of its bytes, checked.

    Raises:
        DecodeError: they are none.
        Invalid: it names no model or server, its columns differ in length, or a code has no entry in its dictionary.
    """
    body = PackedBatch.FromString(data)
    places.check(body.model, body.version, body.environment, body.epoch)
    places.check_batch(body.server, body.batch)
    rows, rest = divmod(len(body.record_ids), ID_BYTES)
    if rest or not 0 < rows <= MOST_ROWS:
        raise Invalid(f"record ids are {ID_BYTES} bytes each, of 1 to {MOST_ROWS} records", where="record_ids")
    times = zigzags(body.event_times_us, rows, "event_times_us").astype(np.int64, copy=False)
    outputs, inputs = _columns(body.outputs, rows), _columns(body.inputs, rows)
    if isinstance(outputs.get(SCORE), CodedText) or not isinstance(outputs.get(LABEL, _NO_LABEL), CodedText):
        raise Invalid("a score is a number and a label a text", where="outputs")
    _check_features(body, rows)
    score = {SCORE: outputs[SCORE]} if SCORE in outputs else {}
    return Batch(head_of(body), data, score | inputs, times)


def head_of(body: PackedBatch) -> PackedBatch:
    """A batch without its records: who served them, where, and which batch it is."""
    return PackedBatch(
        model=body.model,
        version=body.version,
        environment=body.environment,
        epoch=body.epoch,
        arm=body.arm,
        server=body.server,
        batch=body.batch,
        dropped=body.dropped,
    )


def clamped(times_us: Counts, appended: datetime) -> Counts:
    """Event times, those from the future as the broker's own time and a little, those from before 1970 as 1970."""
    latest = int((appended + AHEAD).timestamp() * 1e6)
    return np.minimum(np.maximum(times_us, 0), latest)


def told_of(data: bytes) -> pb.InferenceRecorded:
    """A batch as its sender told it, with what the monitor seldom reads."""
    return pb.InferenceRecorded.FromString(data)


def kept_of(data: bytes) -> Kept:
    """What the sample keeps of a batch, readable by the sender's contract."""
    body = PackedBatch.FromString(data)
    predictions = PackedBatch(record_ids=body.record_ids, outputs=body.outputs)
    inputs = PackedBatch(inputs=body.inputs)
    if body.features:  # what the feature store gave is proven against its history, as of each record's moment
        inputs = PackedBatch(
            inputs=body.inputs, keys=body.keys, features=body.features, event_times_us=body.event_times_us
        )
    return Kept(predictions.SerializeToString(), inputs.SerializeToString())


def number_column(name: str, numbers: Numbers) -> PackedColumn:
    """Numbers as a column; NaN is a missing value."""
    return PackedColumn(name=name, numbers=numbers.astype("<f8", copy=False).tobytes())


def text_column(name: str, texts: CodedText) -> PackedColumn:
    """Texts as a column; the code -1 is a missing value."""
    return PackedColumn(name=name, dictionary=texts.dictionary, codes=zigzagged(texts.codes))


def zigzagged(values: NDArray[np.signedinteger]) -> bytes:
    """Whole numbers as zigzag varints of one width, as wide as the widest: protobuf lets them have zeros on top."""
    wide = values.astype(np.int64, copy=False)
    plain = ((wide << 1) ^ (wide >> 63)).view(np.uint64)
    width = max(1, -(-int(plain.max(initial=0)).bit_length() // 7))
    digits = (plain[:, np.newaxis] >> (7 * np.arange(width, dtype=np.uint64))).astype(np.uint8) | np.uint8(CONTINUED)
    digits[:, -1] &= CONTINUED - 1
    return digits.tobytes()


def zigzags(packed: bytes, rows: int, where: str) -> NDArray[np.signedinteger]:
    """The whole numbers of so many zigzag varints, shape (rows,); of one byte each they are int8, else int64.

    Raises:
        Invalid: they are more or fewer.
    """
    if len(packed) == rows and packed.isascii():  # no byte has CONTINUED
        return np.frombuffer(packed.translate(_SMALL), dtype=np.int8)
    digits = np.frombuffer(packed, dtype=np.uint8)
    ends = digits < CONTINUED
    held = int(np.count_nonzero(ends))
    if held != rows or not ends[-1]:
        raise Invalid(f"there are {held} values for {rows} records", where=where)
    if digits.size % rows == 0 and ends[digits.size // rows - 1 :: digits.size // rows].all():
        return _unzigzagged(_joined(digits.reshape(rows, -1)))
    return _unzigzagged(_of_many_widths(digits, np.flatnonzero(ends)))


def _check_features(body: PackedBatch, rows: int) -> None:
    """See that what the feature store gave is told of each record."""
    for read in body.features:
        if len(read.codes) != rows or len(read.event_times_us) != rows or max(read.codes) >= len(read.outcomes):
            raise Invalid("it doesn't tell of each record what came of it", where=f"features.{read.view}")
    if body.features:
        _columns(body.keys, rows)


def _columns(columns: Sequence[PackedColumn], rows: int) -> dict[str, Column]:
    read = {column.name: _column(column, rows) for column in columns}
    if len(read) != len(columns):
        raise Invalid("two columns have the same name", where="columns")
    return read


def _column(column: PackedColumn, rows: int) -> Column:
    numbers, codes = column.numbers, column.codes
    if codes and not numbers:
        return CodedText(zigzags(codes, rows, column.name), tuple(column.dictionary))
    if codes or len(numbers) != DOUBLE * rows:
        raise Invalid(f"the column has {len(numbers) / DOUBLE:g} numbers for {rows} records", where=column.name)
    return np.frombuffer(numbers, dtype=_DOUBLES)


def _joined(digits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    places = np.uint64(CONTINUED) ** np.arange(digits.shape[1], dtype=np.uint64)
    return np.asarray((digits & np.uint8(CONTINUED - 1)).astype(np.uint64) @ places)


def _of_many_widths(digits: NDArray[np.uint8], ends: Counts) -> NDArray[np.uint64]:
    widths = np.diff(ends, prepend=-1)
    if widths.max() > LONGEST:
        raise Invalid(f"a varint has at most {LONGEST} bytes")
    wide = np.zeros((ends.size, int(widths.max())), dtype=np.uint8)
    wide[np.arange(wide.shape[1]) < widths[:, np.newaxis]] = digits
    return _joined(wide)


def _unzigzagged(zigzag: NDArray[np.uint64]) -> Counts:
    return np.asarray((zigzag >> 1).view(np.int64) ^ -(zigzag & 1).view(np.int64))
