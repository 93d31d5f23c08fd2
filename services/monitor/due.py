"""Records that came due, as rows: what each was told, what turned out, and what it is about."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from goldenpath.modelserver.v1 import events_pb2 as records_pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.monitor import batches
from services.monitor.domain.promise import Promise
from services.monitor.domain.sample import Known, Scored, outcomes_of
from services.monitor.join_store import is_kept
from services.profile.columns import Numbers

_LARGEST: Final = 1e150  # of a value: squares of what is beyond are no numbers, and it is a mark for something missing
MOST_SEGMENTS: Final = 50  # values of an input that are told apart, in what is counted at once: the commonest
OTHER: Final = "(other)"
MISSING: Final = "(missing)"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rows:
    """Records of a batch that came due, in the order of their times.

    Args:
        day: Of its newest record, UTC.
        scores: Shape (rows,).
        outcomes: What turned out, as the score is about it; NaN where nothing did that the score can be held against;
            shape (rows,).
        amounts: What each is about, in the currency; 0 where that is missing; shape (rows,).
        segments: By input, each record's value, shape (rows,).
    """

    day: date
    scores: Numbers
    outcomes: Numbers
    amounts: Numbers
    segments: Mapping[str, NDArray[np.str_]]

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


def rows_of(
    told: Sequence[records_pb.InferenceRecorded], known: Mapping[uuid.UUID, Known], promise: Promise
) -> list[Rows]:
    """Batches that came due, with what is known of their records, by id."""
    if not promise.classified:  # a label says nothing about a value
        known = {one: each for one, each in known.items() if each[0] is not None}
    ids = [one for batch in told for one in batches.ids_of(batch)]
    scores = [score for batch in told for score in batches.scores_of(batch)]
    labels = [label for batch in told for label in batches.labels_of(batch)]
    scored = [Scored(score, label, known.get(one)) for one, score, label in zip(ids, scores, labels, strict=True)]
    made, first, outcomes = [], 0, np.array(outcomes_of(scored), dtype=np.float64)
    for batch in told:
        size = len(batch.record_ids) // batches.ID_BYTES
        made.append(_rows(batch, np.array(scores[first : first + size]), outcomes[first : first + size], promise))
        first += size
    return made


def _rows(batch: records_pb.InferenceRecorded, scores: Numbers, outcomes: Numbers, promise: Promise) -> Rows:
    times = np.array(batch.event_times_us, dtype=np.int64)
    usable = np.isfinite(scores) & np.isfinite(outcomes)
    if promise.classified:
        usable &= (scores >= 0) & (scores <= 1) & np.isin(outcomes, (0.0, 1.0))
    else:
        usable &= np.maximum(np.abs(scores), np.abs(outcomes)) < _LARGEST
    order = np.lexsort((np.frombuffer(batch.record_ids, dtype="S16"), times))
    outcomes = np.where(usable, outcomes, np.nan)
    columns = {column.name: column for column in batch.inputs}
    amounts = columns.get(promise.amount)
    of_amount = np.nan_to_num(np.array(amounts.numbers), posinf=0, neginf=0) if amounts else np.zeros(times.size)
    segments = {name: _values(columns[name])[order] for name in promise.segments if name in columns}
    day = (_EPOCH + timedelta(microseconds=int(times.max()))).date()
    return Rows(day, scores[order], outcomes[order], of_amount[order], segments)


def _values(column: records_pb.Column) -> NDArray[np.str_]:
    """A segment's value for each record; of many values the commonest are told apart."""
    texts = [MISSING if text is None else text for text in batches.texts_of(column)]
    common = {text for text, _ in Counter(texts).most_common(MOST_SEGMENTS)}
    return np.array([text if text in common else OTHER for text in texts], dtype=np.str_)
