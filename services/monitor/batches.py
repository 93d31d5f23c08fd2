"""Columnar batches <-> columns, and what of a batch is kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.errors import Invalid
from services.monitor.sample_store import Kept
from services.profile import CodedText, Column

ROLES: Final = {pb.ARM_STABLE: "stable", pb.ARM_CANDIDATE: "candidate"}
SCORE: Final = "score"
LABEL: Final = "label"
ID_BYTES: Final = 16
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


def columns_of(batch: pb.InferenceRecorded) -> dict[str, Column]:
    """A batch's inputs and its score, by name.

    Raises:
        Invalid: a code has no entry in its column's dictionary.
    """
    scores = (column for column in batch.outputs if column.name == SCORE)
    return {column.name: _column(column) for column in (*scores, *batch.inputs)}


def newest_time(batch: pb.InferenceRecorded, appended: datetime) -> datetime:
    """The newest record's event time; one from the future counts as the broker's own time and a little."""
    latest = appended + AHEAD
    newest = max(batch.event_times_us)
    return min(datetime.fromtimestamp(newest / 1e6, UTC), latest) if newest < latest.timestamp() * 1e6 else latest


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


def _column(column: pb.Column) -> Column:
    if column.codes:
        return CodedText(np.array(column.codes, dtype=np.int32), tuple(column.dictionary))
    return np.array(column.numbers, dtype=np.float64)


def _joined(name: str, columns: list[pb.Column], rows: list[int]) -> pb.Column:
    if not any(column.codes for column in columns):
        numbers = [number for column in columns for number in column.numbers]
        return pb.Column(name=name, numbers=[numbers[row] for row in rows])
    texts = [text for column in columns for text in texts_of(column)]
    codes: dict[str, int] = {}
    coded = [-1 if text is None else codes.setdefault(text, len(codes)) for text in (texts[row] for row in rows)]
    return pb.Column(name=name, dictionary=list(codes), codes=coded)
