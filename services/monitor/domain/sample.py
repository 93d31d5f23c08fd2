"""Which records of a sample to show, and what their outcomes say about the score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

Known: TypeAlias = tuple[float | None, str | None]
LEAST_SCORE = 1e-15  # a score of exactly 0 or 1 that turns out wrong costs 34.5 nats, not infinitely many
CLASSES = 2


@dataclass(frozen=True, slots=True)
class Scored:
    """A record's prediction, and what turned out: a value, a label, or neither yet."""

    score: float
    label: str | None
    known: Known | None


def chosen(known: Sequence[bool], limit: int) -> list[int]:
    """Which records to show, in their order: those with an outcome first, the newer before the older.

    >>> chosen([True, False, True, False], 3)
    [0, 2, 3]
    """
    preferred = sorted(range(len(known)), key=lambda place: (not known[place], -place))
    return sorted(preferred[:limit])


def outcomes_of(records: Sequence[Scored]) -> list[float]:
    """Each record's outcome as a number: a regression's value, or whether the class came true that the score is about.

    Of two classes the score is about the one that records with higher scores are predicted to be in. Of more, it is
    about the predicted class itself. NaN where nothing is known yet, and of a class that a model of two hasn't: whoever
    writes "fraud" for "1" spoils that record, and not what is thought of all others.

    >>> outcomes_of([Scored(0.9, "yes", (None, "yes")), Scored(0.2, "no", (None, "yes")), Scored(0.1, "no", None)])
    [1.0, 1.0, nan]
    >>> outcomes_of([Scored(0.9, "1", (None, "1")), Scored(0.2, "0", (None, "0")), Scored(0.1, "0", (None, "fraud"))])
    [1.0, 0.0, nan]
    """
    means = _means(records)
    predicted = {record.label for record in records} - {None}
    classes = predicted | ({record.known[1] for record in records if record.known} - {None})
    if len(classes) > CLASSES:
        means, classes = (means, predicted) if _is_about_one(means) else ({}, classes)
    return [_outcome(record, means, classes) for record in records]


def log_loss(records: Sequence[Scored]) -> float:
    """The mean negative log-likelihood of the classes that came true, in nats; NaN where no outcome is known.

    >>> round(log_loss([Scored(0.8, "yes", (None, "yes"))]), 4)
    0.2231
    """
    pairs = zip(records, outcomes_of(records), strict=True)
    losses = [_loss(record.score, outcome) for record, outcome in pairs if outcome in {0.0, 1.0}]
    return sum(losses) / len(losses) if losses else math.nan


def _means(records: Sequence[Scored]) -> dict[str, float]:
    """The mean score of the records that are predicted to be in each class."""
    by_label: dict[str, list[float]] = {}
    for record in records:
        if record.label is not None and not math.isnan(record.score):
            by_label.setdefault(record.label, []).append(record.score)
    return {label: sum(scores) / len(scores) for label, scores in by_label.items()}


def _is_about_one(means: dict[str, float]) -> bool:
    """Whether scores are of one of two classes: of the other they are low, and a predicted class's own never are."""
    return 0 < len(means) <= CLASSES and min(means.values()) < 1 / CLASSES


def _outcome(record: Scored, means: dict[str, float], classes: AbstractSet[str | None]) -> float:
    if record.known is None:
        return math.nan
    value, label = record.known
    if value is not None:
        return value
    if label not in classes:
        return math.nan
    if not means:
        return float(label == record.label)
    highest = max(means, key=lambda each: means[each])
    scored_high = len(means) == CLASSES or means[highest] >= 1 / CLASSES  # else it is the class of the low scores
    return float((label == highest) == scored_high)


def _loss(score: float, outcome: float) -> float:
    likely = score if outcome else 1.0 - score
    return -math.log(min(max(likely, LEAST_SCORE), 1.0))
