"""Columnar batches <-> columns, and what of a batch is kept.

A batch is read twice: in the sender's contract, and packed (`goldenpath.monitor.v1.PackedBatch`: the same bytes, whose
numbers numpy takes over as they are). Where a sender packed otherwise, which protobuf allows, the contract counts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch, PackedColumn
from services.chassis.errors import Invalid
from services.monitor.sample_store import Kept
from services.profile import CodedText, Column
from services.profile.columns import Counts

ROLES: Final = {pb.ARM_STABLE: "stable", pb.ARM_CANDIDATE: "candidate"}
SCORE: Final = "score"
LABEL: Final = "label"
ID_BYTES: Final = 16
DOUBLE: Final = 8  # bytes
CONTINUED: Final = 128  # the bit of a varint's byte after which more come
AHEAD: Final = timedelta(seconds=5)  # a record's own clock may be so far ahead of the broker's
MOST_ROWS: Final = 1_000_000  # no server closes a batch with more


def check(batch: pb.InferenceRecorded) -> int:
    """How many records a batch holds.

    Raises:
        Invalid: it names no model or server, or its columns differ in length.
    """
    if not batch.model or not batch.version or not batch.server or not batch.batch:
        raise Invalid("a batch names its model, version, server and number")
    rows, rest = divmod(len(batch.record_ids), ID_BYTES)
    if rest or not 0 < rows <= MOST_ROWS:
        raise Invalid(f"record ids are {ID_BYTES} bytes each, of 1 to {MOST_ROWS} records", where="record_ids")
    if len(batch.event_times_us) != rows:
        raise Invalid(f"there are {len(batch.event_times_us)} times for {rows} records", where="event_times_us")
    for column in (*batch.inputs, *batch.outputs):
        if len(column.numbers) + len(column.codes) != rows:
            held = len(column.numbers) + len(column.codes)
            raise Invalid(f"the column has {held} values for {rows} records", where=column.name)
    return rows


def columns_of(batch: pb.InferenceRecorded, packed: PackedBatch) -> dict[str, Column]:
    """A batch's inputs and its score, by name.

    Raises:
        Invalid: a code has no entry in its column's dictionary.
    """
    outputs = zip(batch.outputs, packed.outputs, strict=True)
    scores = (pair for pair in outputs if pair[0].name == SCORE)
    inputs = zip(batch.inputs, packed.inputs, strict=True)
    return {told.name: _column(told, bare) for told, bare in (*scores, *inputs)}


def times_of(batch: pb.InferenceRecorded, packed: PackedBatch, appended: datetime) -> Counts:
    """The records' event times, microseconds since 1970-01-01 UTC.

    One from the future counts as the broker's own time and a little, one from before 1970 as 1970.
    """
    times = _integers(batch.event_times_us, packed.event_times_us).astype(np.int64, copy=False)
    return np.clip(times, 0, int((appended + AHEAD).timestamp() * 1e6))


def kept_of(batch: pb.InferenceRecorded) -> Kept:
    """What the sample keeps of a batch."""
    predictions = pb.InferenceRecorded(record_ids=batch.record_ids, outputs=batch.outputs)
    inputs = pb.InferenceRecorded(inputs=batch.inputs)
    return Kept(predictions.SerializeToString(), inputs.SerializeToString())


def ids_of(batch: pb.InferenceRecorded) -> list[uuid.UUID]:
    """The records' ids."""
    packed = batch.record_ids
    return [uuid.UUID(bytes=packed[at : at + ID_BYTES]) for at in range(0, len(packed), ID_BYTES)]


def scores_of(batch: pb.InferenceRecorded) -> list[float]:
    """The records' scores; NaN where the batch has none."""
    found = next((column for column in batch.outputs if column.name == SCORE), None)
    return list(found.numbers) if found else [float("nan")] * (len(batch.record_ids) // ID_BYTES)


def labels_of(batch: pb.InferenceRecorded) -> list[str | None]:
    """The labels that were predicted; None where the batch has none."""
    found = next((column for column in batch.outputs if column.name == LABEL), None)
    return texts_of(found) if found else [None] * (len(batch.record_ids) // ID_BYTES)


def texts_of(column: pb.Column) -> list[str | None]:
    """A column of text, written out."""
    return [column.dictionary[code] if code >= 0 else None for code in column.codes]


def text_column(name: str, texts: Sequence[str | None]) -> pb.Column:
    """Texts as a column; None is a missing value."""
    codes: dict[str, int] = {}
    coded = [-1 if text is None else codes.setdefault(text, len(codes)) for text in texts]
    return pb.Column(name=name, dictionary=list(codes), codes=coded)


def picked(batches: Iterable[pb.InferenceRecorded], rows: list[int]) -> list[pb.Column]:
    """The inputs of chosen records of many batches, as one batch.

    Args:
        batches: The batches, with the same inputs.
        rows: The records' places in all batches together, rising.
    """
    parts: dict[str, list[pb.Column]] = {}
    for batch in batches:
        for column in batch.inputs:
            parts.setdefault(column.name, []).append(column)
    return [_joined(name, columns, rows) for name, columns in parts.items()]


def _column(told: pb.Column, bare: PackedColumn) -> Column:
    if told.codes:
        return CodedText(_integers(told.codes, bare.codes), tuple(bare.dictionary))
    if len(bare.numbers) == DOUBLE * len(told.numbers):
        return np.frombuffer(bare.numbers, dtype="<f8")
    return np.array(told.numbers, dtype=np.float64)


def _integers(told: Sequence[int], packed: bytes) -> NDArray[np.signedinteger]:
    """Zigzag varints of one width, as codes below 64 are and all times of a century; else the contract's numbers."""
    if packed and told and len(packed) % len(told) == 0:
        digits = np.frombuffer(packed, dtype=np.uint8).reshape(len(told), -1)
        if (digits[:, :-1] >= CONTINUED).all() and (digits[:, -1] < CONTINUED).all():
            return _unzigzagged(digits[:, 0] if digits.shape[1] == 1 else _joined_digits(digits))
    return np.array(told, dtype=np.int64)


def _joined_digits(digits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    places = np.uint64(CONTINUED) ** np.arange(digits.shape[1], dtype=np.uint64)
    return np.asarray((digits & np.uint8(CONTINUED - 1)).astype(np.uint64) @ places)


def _unzigzagged(zigzag: NDArray[np.unsignedinteger]) -> NDArray[np.signedinteger]:
    signed = np.dtype(f"i{zigzag.itemsize}")
    return np.asarray((zigzag >> 1).view(signed) ^ -(zigzag & 1).view(signed))


def _joined(name: str, columns: list[pb.Column], rows: list[int]) -> pb.Column:
    if not any(column.codes for column in columns):
        numbers = [number for column in columns for number in column.numbers]
        return pb.Column(name=name, numbers=[numbers[row] for row in rows])
    texts = [text for column in columns for text in texts_of(column)]
    return text_column(name, [texts[row] for row in rows])
