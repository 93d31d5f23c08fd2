"""Columnar batches as their senders' contract has them: ids, scores, labels and inputs of records that were kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from math import nan
from typing import Final

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.profile.columns import coded

ROLES: Final = {pb.ARM_STABLE: "stable", pb.ARM_CANDIDATE: "candidate"}
SCORE: Final = "score"
LABEL: Final = "label"
ID_BYTES: Final = 16
_DAY_US: Final = 86_400_000_000


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
    text = coded(texts)
    return pb.Column(name=name, dictionary=text.dictionary, codes=text.codes.tolist())


def picked(batches: Iterable[pb.InferenceRecorded], rows: list[int]) -> list[pb.Column]:
    """The inputs of chosen records of many batches, as one batch; one that a batch doesn't have is missing there.

    Args:
        batches: The batches.
        rows: The records' places in all batches together, rising.
    """
    held = [{column.name: column for column in batch.inputs} for batch in batches]
    sizes = [max(map(_size, columns.values()), default=0) for columns in held]
    names = dict.fromkeys(name for columns in held for name in columns)
    return [_chosen(name, [columns.get(name) for columns in held], sizes, rows) for name in names]


def a_day(batches: Iterable[pb.InferenceRecorded]) -> float:
    """How many records come a day, by their own time, of batches that lie close; 0 where that can't be told."""
    times = [moment for batch in batches for moment in batch.event_times_us]
    span = max(times, default=0) - min(times, default=0)
    return len(times) * _DAY_US / span if span else 0.0


def only(batch: pb.InferenceRecorded, rows: Sequence[int]) -> pb.InferenceRecorded:
    """Chosen records of a batch, by their places, with what is kept of each: ids, times, inputs and outputs."""
    ids = batch.record_ids
    return pb.InferenceRecorded(
        record_ids=b"".join(ids[ID_BYTES * row : ID_BYTES * (row + 1)] for row in rows),
        event_times_us=[batch.event_times_us[row] for row in rows],
        inputs=[_of(column, rows) for column in batch.inputs],
        outputs=[_of(column, rows) for column in batch.outputs],
    )


def whole(batch: pb.InferenceRecorded, row: int) -> pb.InferenceRecorded:
    """One record of a batch with all that was told of it, as a batch of one."""
    one = only(batch, [row])
    one.MergeFrom(
        pb.InferenceRecorded(
            model=batch.model,
            version=batch.version,
            environment=batch.environment,
            epoch=batch.epoch,
            arm=batch.arm,
            server=batch.server,
            batch=batch.batch,
            assignment_probabilities=batch.assignment_probabilities[row : row + 1],
            durations_us=batch.durations_us[row : row + 1],
            artifact_digest=batch.artifact_digest,
            units=_told(batch.units, row),
            request_ids=_told(batch.request_ids, row),
            keys=[_of(column, [row]) for column in batch.keys],
            features=[
                pb.FeaturesRead(
                    view=read.view,
                    event_times_us=[read.event_times_us[row]],
                    codes=[0],
                    outcomes=[read.outcomes[read.codes[row]]],
                )
                for read in batch.features
            ],
        )
    )
    return one


def _told(column: pb.Column, row: int) -> pb.Column | None:
    """One value of a column that may have none at all."""
    return _of(column, [row]) if column.codes or column.numbers else None


def _of(column: pb.Column, rows: Sequence[int]) -> pb.Column:
    """Chosen values of a column."""
    return _chosen(column.name, [column], [_size(column)], rows)


def _chosen(name: str, columns: Sequence[pb.Column | None], sizes: Sequence[int], rows: Sequence[int]) -> pb.Column:
    """Chosen values of columns that follow each other, each of its size; None is one that isn't there."""
    if any(column is not None and column.codes for column in columns):
        texts: list[str | None] = []
        for column, size in zip(columns, sizes, strict=True):
            texts += texts_of(column) if column is not None and column.codes else [None] * size
        return text_column(name, [texts[row] for row in rows])
    numbers: list[float] = []
    for column, size in zip(columns, sizes, strict=True):
        numbers += column.numbers if column is not None else [nan] * size
    return pb.Column(name=name, numbers=[numbers[row] for row in rows])


def _size(column: pb.Column) -> int:
    return len(column.codes) or len(column.numbers)
