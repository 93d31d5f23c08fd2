"""How well a version probably does before outcomes come, from its records alone.

Of a classifier: if a calibrated score of 0.3 means three in ten, then scores alone say how many of the decisions are
right, on average. So each record counts as both: by its calibrated score as a positive, and by the rest as a negative
(confidence-based performance estimation, CBPE). Of a regression: how far off such a prediction for such inputs was in
the reference (direct loss estimation, DLE).

It rests on two assumptions, and is an estimate of nothing where they fail:

- what inputs say about the outcome is as it was in the reference; the inputs themselves may move. **It is blind to
  concept drift**: to a fraud that looks genuine to the model, it looks genuine.
- the reference's outcomes were complete when the expectation was fitted (`services.profile.expected`).

So it is shown as an estimate, held against the truth day by day when that comes, and is never a reason to act.

Records add up: to counts, and to exact sums of the promised loss and of how much chance makes it vary. The same records
give the same, bit for bit, in any order.

Source: NannyML's definitions,
https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.chassis.errors import Invalid
from services.monitor.domain import compressed
from services.monitor.domain.exact import exact_sum, rounded
from services.monitor.domain.performance import BINS, EDGES, area, average_precision, bins_of
from services.monitor.domain.promise import Promise, amounts_of
from services.monitor.domain.residuals import Residuals
from services.monitor.domain.tallies import Sums
from services.profile.columns import Column, Counts, Numbers, numbers_of
from services.profile.expected import Calibration, Expected, LossTree

_OF_TREE: Final = frozenset({"rmse", "mae"})  # a tree doesn't tell errors above from those below
_MIDDLES: Final = (np.concatenate(([0.0], EDGES)) + np.concatenate((EDGES, [1.0]))) / 2


@dataclass(frozen=True, eq=False)
class Estimated:
    """Records, added up by what is expected of them.

    Args:
        counts: Of a classifier records by decision and bin of the score, shape (2 * bins,); of a regression by the
            leaf of their loss, shape (nodes,).
        loss: The sum of the promised metric's expected losses, exact; 0 where it is no mean of losses.
        squares: The sum of the squares of these losses, exact: how much they differ between records.
        variance: The sum of their variances, exact: how far chance takes the truth from them.
    """

    counts: Counts
    loss: int
    squares: int
    variance: int

    @property
    def rows(self) -> int:
        """How many records."""
        return int(self.counts.sum())

    def is_like(self, other: Estimated) -> bool:
        """Whether both are of one kind, so that they add up."""
        return self.counts.shape == other.counts.shape

    def __add__(self, other: Estimated) -> Estimated:
        """Both together.

        Raises:
            Invalid: they are of another kind.
        """
        if not self.is_like(other):
            raise Invalid("estimates of another kind don't add up")
        return Estimated(
            self.counts + other.counts,
            self.loss + other.loss,
            self.squares + other.squares,
            self.variance + other.variance,
        )

    def mean_loss(self) -> float:
        """The expected mean loss of the promised metric, in its unit; NaN without records."""
        return rounded(self.loss, self.rows) if self.rows else math.nan

    def deviation(self, known: int, learnt: int) -> float:
        """By how much chance alone takes the truth from the expectation, as a standard deviation.

        Args:
            known: The truth is of so many of the records, any of them; at least 1.
            learnt: And the expectation was learnt of so many outcomes, at least 1.
        """
        if not self.rows:
            return math.nan
        by_chance = rounded(self.variance, self.rows) * (1 / known + 1 / learnt)
        between = max(rounded(self.squares, self.rows) - self.mean_loss() ** 2, 0.0)
        return math.sqrt(by_chance + between * max(1 / known - 1 / self.rows, 0.0))


def estimate(
    expected: Expected | None, promise: Promise, columns: Mapping[str, Column], score: str, rows: int
) -> Estimated | None:
    """What is expected of records; None where nothing is: of such a promise, or without any score that can be used.

    Args:
        expected: What the reference lets one expect.
        promise: What the version is held to.
        columns: The records' inputs and their score, by name.
        score: The score's name.
        rows: How many records there are.

    Raises:
        Invalid: a column is of another kind than the reference's.
    """
    if score not in columns:
        return None
    scores = numbers_of(columns[score], score)
    amounts = columns.get(promise.amount) if promise.metric == "cost" else None
    about = np.zeros(rows) if amounts is None else numbers_of(amounts, promise.amount)
    usable = (scores >= 0) & (scores <= 1) if promise.classified else np.isfinite(scores)
    if not usable.any():
        return None
    if isinstance(expected, Calibration) and promise.classified:
        return _classified(expected, promise, scores[usable], amounts_of(about)[usable])
    if isinstance(expected, LossTree) and not promise.classified:
        return _regressed(expected, promise, expected.leaves(columns, rows)[usable])
    return None


def fits(expected: Expected, said: Estimated) -> bool:
    """Whether records were added up by this expectation, or one of its form."""
    return said.counts.size == (expected.nodes if isinstance(expected, LossTree) else 2 * BINS)


def has_loss(promise: Promise) -> bool:
    """Whether an expected loss can be told: of a mean, but of no quantile."""
    return promise.judged and (promise.classified or promise.metric in _OF_TREE)


def true_loss(promise: Promise, lost: float, sums: Sums) -> float:
    """The mean loss of records with an outcome, at least one, as it was expected: of a regression of any size.

    Args:
        promise: What the version is held to.
        lost: What they lost together, each at most the promise's bound.
        sums: What they add up to.
    """
    if isinstance(sums, Residuals):
        return sums.rmse() ** 2 if promise.metric == "rmse" else sums.mae()
    return lost / sums.rows


def metrics_of(expected: Expected, said: Estimated) -> dict[str, float]:
    """Each metric that can be estimated, by its usual name."""
    if isinstance(expected, LossTree):
        rows = said.rows or math.nan
        found = {
            "mae": float(said.counts @ expected.absolute) / rows,
            "rmse": math.sqrt(float(said.counts @ expected.square) / rows) if said.rows else math.nan,
        }
    else:
        counts = said.counts.reshape(2, BINS)
        likely = expected.of(_MIDDLES)
        positives, negatives = counts * likely, counts * (1 - likely)
        every = float(counts.sum())
        found = {
            "auc": area(negatives.sum(axis=0), positives.sum(axis=0)).value,
            "average_precision": average_precision(negatives.sum(axis=0), positives.sum(axis=0)).value,
            "precision": _ratio(positives[1].sum(), counts[1].sum()),
            "recall": _ratio(positives[1].sum(), positives.sum()),
            "accuracy": _ratio(positives[1].sum() + negatives[0].sum(), every),
        }
    return {name: value for name, value in found.items() if not math.isnan(value)}


def to_bytes(said: Estimated) -> bytes:
    """As compressed JSON."""
    held = np.flatnonzero(said.counts)
    sums = [said.loss, said.squares, said.variance]
    told = [said.counts.size, held.tolist(), said.counts[held].tolist(), sums]
    return compressed.to_bytes(told)


def from_bytes(kept: bytes) -> Estimated:
    """Read what `to_bytes` wrote.

    Raises:
        Invalid: another release wrote it in another form.
    """
    try:
        size, held, rows, (loss, squares, variance) = compressed.from_bytes(kept)
        counts: Counts = np.zeros(size, dtype=np.int64)
        counts[held] = rows
    except (ValueError, TypeError, IndexError) as error:
        raise Invalid(f"what was estimated can't be read: {error}") from None
    return Estimated(counts, loss, squares, variance)


def _classified(calibration: Calibration, promise: Promise, scores: Numbers, amounts: Numbers) -> Estimated:
    places = (scores >= promise.threshold) * BINS + bins_of(scores)
    counts = np.bincount(places, minlength=2 * BINS).astype(np.int64)
    if not has_loss(promise):
        return Estimated(counts, 0, 0, 0)
    likely = calibration.of(scores)
    if_positive, if_negative = (promise.losses(scores, np.full(scores.size, was), amounts) for was in (1.0, 0.0))
    losses = likely * if_positive + (1 - likely) * if_negative
    return _added(counts, losses, likely * (1 - likely) * (if_positive - if_negative) ** 2)


def _regressed(tree: LossTree, promise: Promise, leaves: Counts) -> Estimated:
    counts = np.bincount(leaves, minlength=tree.nodes).astype(np.int64)
    if not has_loss(promise):
        return Estimated(counts, 0, 0, 0)
    losses, squares = (tree.square, tree.fourth) if promise.metric == "rmse" else (tree.absolute, tree.square)
    return _added(counts, losses[leaves], np.maximum(squares - losses**2, 0.0)[leaves])


def _added(counts: Counts, losses: Numbers, variances: Numbers) -> Estimated:
    return Estimated(counts, exact_sum(losses), exact_sum(losses**2), exact_sum(variances))


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan
