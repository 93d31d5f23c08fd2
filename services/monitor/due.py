"""Records that came due, as rows: what each was told, what turned out, and what it is about."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date

import numpy as np
from numpy.typing import NDArray

from goldenpath.modelserver.v1 import events_pb2 as records_pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.monitor import batches
from services.monitor.domain.promise import LARGEST, Promise, amounts_of
from services.monitor.domain.sample import Known, Scored, outcomes_of
from services.monitor.join_store import Open, is_kept
from services.monitor.segments import values_of
from services.profile import CodedText
from services.profile.columns import Numbers


@dataclass(frozen=True)
class Rows:
    """Records of a batch that came due, in the order of their times.

    Args:
        day: Of its newest record, UTC, whether that was kept or not: what was expected of it stands there, too.
        scores: Shape (rows,).
        outcomes: What turned out, as the score is about it; NaN where nothing did that the score can be held against;
            shape (rows,).
        amounts: What each is about, in the currency; 0 where that is missing; shape (rows,).
        segments: By input, each record's value.
    """

    day: date
    scores: Numbers
    outcomes: Numbers
    amounts: Numbers
    segments: Mapping[str, CodedText]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which have an outcome, shape (rows,)."""
        return ~np.isnan(self.outcomes)

    def losses(self, promise: Promise) -> Numbers:
        """What each lost, shape (rows,): nothing where no outcome came, which can only hide what was lost.

        Whether an outcome comes may depend on what it is: a sample of those that came would be none of all.
        """
        lost, known = np.zeros(self.scores.size), self.known
        if promise.judged:
            lost[known] = promise.losses(self.scores[known], self.outcomes[known], self.amounts[known])
        return lost


def waiting_body(data: bytes, halvings: int) -> tuple[bytes, int]:
    """What waits of a batch that arrived, by its bytes, and how many records that are."""
    body = PackedBatch.FromString(data)
    kept = PackedBatch(
        record_ids=body.record_ids, event_times_us=body.event_times_us, inputs=body.inputs, outputs=body.outputs
    ).SerializeToString()
    return thinned(kept, halvings) if halvings else (kept, len(body.record_ids) // batches.ID_BYTES)


def thinned(body: bytes, halvings: int) -> tuple[bytes, int]:
    """What is kept of a batch that waits, after so many halvings, and how many records that are."""
    batch = records_pb.InferenceRecorded.FromString(body)
    rows = [place for place, one in enumerate(batches.ids_of(batch)) if is_kept(one.bytes, halvings)]
    return batches.only(batch, rows).SerializeToString(), len(rows)


@dataclass(frozen=True, slots=True)
class Told:
    """A batch that came due: the day of its newest record, and what is kept of it, with its records' ids."""

    day: date
    batch: records_pb.InferenceRecorded
    ids: list[uuid.UUID]


def told_of(came: Sequence[Open], halvings: int) -> list[Told]:
    """Batches that came due, without those of which nothing is kept."""
    bodies = [thinned(each.body, halvings)[0] if halvings else each.body for each in came]
    told = map(records_pb.InferenceRecorded.FromString, bodies)
    return [
        Told(each.newest_at.astimezone(UTC).date(), batch, batches.ids_of(batch))
        for each, batch in zip(came, told, strict=True)
        if batch.record_ids
    ]


def rows_of(told: Sequence[Told], known: Mapping[uuid.UUID, Known], promise: Promise) -> list[Rows]:
    """Batches that came due, with what is known of their records, by id."""
    if not promise.classified:  # a label says nothing about a value
        known = {one: each for one, each in known.items() if each[0] is not None}
    ids = [one for each in told for one in each.ids]
    scores = [score for each in told for score in batches.scores_of(each.batch)]
    labels = [label for each in told for label in batches.labels_of(each.batch)]
    scored = [Scored(score, label, known.get(one)) for one, score, label in zip(ids, scores, labels, strict=True)]
    made, first, outcomes = [], 0, np.array(outcomes_of(scored), dtype=np.float64)
    for each in told:
        upto = first + len(each.ids)
        made.append(_rows(each, np.array(scores[first:upto]), outcomes[first:upto], promise))
        first = upto
    return made


def _rows(told: Told, scores: Numbers, outcomes: Numbers, promise: Promise) -> Rows:
    batch = told.batch
    times = np.array(batch.event_times_us, dtype=np.int64)
    usable = np.isfinite(scores) & np.isfinite(outcomes)
    if promise.classified:
        usable &= (scores >= 0) & (scores <= 1) & np.isin(outcomes, (0.0, 1.0))
    else:
        usable &= np.maximum(np.abs(scores), np.abs(outcomes)) < LARGEST
    order = np.lexsort((np.frombuffer(batch.record_ids, dtype="S16"), times))
    outcomes = np.where(usable, outcomes, np.nan)
    columns = {column.name: column for column in batch.inputs}
    amounts = columns.get(promise.amount)
    of_amount = amounts_of(np.array(amounts.numbers)) if amounts else np.zeros(times.size)
    segments = {name: values_of(columns[name], order) for name in promise.segments if name in columns}
    return Rows(told.day, scores[order], outcomes[order], of_amount[order], segments)
