"""How well a classifier of two classes did, from its scores and what turned out: metrics that only add up.

A `Tally` is counts and exact sums of records with outcomes. Two tallies of different records add to the tally of all
of them; the same records give the same tally, bit for bit, in whatever order and grouping they come. A record that
comes twice must be kept out, and one that is corrected taken out (`-`) and put in again, by whoever knows ids. A
segment, a window and a day have a tally each.

Counts on fixed bins of the score rank records: what shares a bin isn't told apart. So the area under the curve and the
average precision come with bounds, between which scikit-learn's on the same records surely is. The bins have 32 steps
per octave towards 0 and towards 1, down to 2 ** -16, since scores of rare events are small. Everything else is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Invalid
from services.monitor.domain.exact import exact_sum, rounded
from services.profile.columns import Counts, Numbers

OCTAVES: Final = 15
STEPS: Final = 32  # per octave: neighbours are 3 % apart at most
GROUPS: Final = 10  # in which calibration is judged, all as wide, as scikit-learn's calibration_curve has them
LEAST_SCORE: Final = float(np.finfo(np.float64).eps)  # a score of 0 that turns out wrong costs 36 nats, as scikit-learn

_HALF: Final = np.ldexp(
    1 + np.arange(OCTAVES * STEPS) % STEPS / STEPS, np.arange(OCTAVES * STEPS) // STEPS - OCTAVES - 1
)
EDGES: Final = np.concatenate((_HALF, [0.5], 1 - _HALF[::-1]))
"""Where bins of the score begin, shape (bins - 1,), rising; the first bin begins at 0. All are exact doubles."""
BINS: Final = EDGES.size + 1
_INNER: Final = np.linspace(0, 1, GROUPS + 1)[1:-1]

Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bounded:
    """A value and what it lies between, for sure: not a matter of chance."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CostMatrix:
    """What a record costs, by what was decided and what it was: a fixed price, and a share of its amount.

    Args:
        fixed: In the currency, [decided][was], 0 or 1 each.
        of_amount: Factor of the record's amount, the same way.

    >>> frauds = CostMatrix(fixed=((0, 0), (1.5, 1.5)), of_amount=((0, 1), (0, 0)))  # a call, or the amount is lost
    """

    fixed: tuple[tuple[float, float], tuple[float, float]]
    of_amount: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Tally:
    """Records with outcomes, added up.

    Args:
        threshold: The score from which on a record is decided to be positive.
        bins: Records by outcome and bin of the score, shape (2, bins).
        cells: Records by decision and outcome, shape (2, 2).
        amounts: The sum of amounts of each cell, exact, by decision and outcome in turn: four.
        groups: Records by outcome and tenth of the score, shape (2, groups).
        scores: The sum of scores of each tenth, exact.
        losses: The sum of log losses, in nats, exact.
    """

    threshold: float
    bins: Counts
    cells: Counts
    amounts: tuple[int, ...]
    groups: Counts
    scores: tuple[int, ...]
    losses: int

    @property
    def rows(self) -> int:
        """How many records."""
        return int(self.cells.sum())

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return self._with(other, 1)

    def __sub__(self, other: Tally) -> Tally:
        """Without records that were added before."""
        return self._with(other, -1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def auc(self) -> Bounded:
        """The area under the ROC curve: how often a positive's score is above a negative's; NaN without both.

        Of a pair in one bin half is counted; the bounds are that none, or all, are in order.
        """
        return area(*self.bins.astype(np.float64))

    def average_precision(self) -> Bounded:
        """The mean, over the positives, of the precision at their scores, as scikit-learn has it; NaN without any."""
        return average_precision(*self.bins.astype(np.float64))

    def log_loss(self) -> float:
        """The mean negative log-likelihood of what turned out, in nats; NaN without records."""
        return rounded(self.losses, self.rows) if self.rows else math.nan

    def calibration_error(self) -> float:
        """The expected calibration error, 0 to 1: how far mean scores and shares are apart, over tenths; NaN if none.

        Source: Naeini, Cooper and Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian Binning.
        """
        gaps = [abs(rounded(said) - true) for said, true in zip(self.scores, self.groups[1].tolist(), strict=True)]
        return math.fsum(gaps) / self.rows if self.rows else math.nan

    def precision(self) -> float:
        """How many of those decided to be positive were; NaN where nobody was."""
        return _ratio(self.cells[1, 1], self.cells[1].sum())

    def recall(self) -> float:
        """How many of the positives were decided to be; NaN where there was none."""
        return _ratio(self.cells[1, 1], self.cells[:, 1].sum())

    def accuracy(self) -> float:
        """How many decisions were right; NaN without records."""
        return _ratio(self.cells[0, 0] + self.cells[1, 1], self.rows)

    def cost(self, matrix: CostMatrix) -> float:
        """What all records cost together, in the currency."""
        fixed = np.asarray(matrix.fixed).ravel() * self.cells.ravel()
        of_amount = np.asarray(matrix.of_amount).ravel() * [rounded(amount) for amount in self.amounts]
        return math.fsum((*fixed.tolist(), *of_amount.tolist()))

    def _with(self, other: Tally, sign: int) -> Tally:
        if other.threshold != self.threshold:
            raise Invalid(f"tallies at the thresholds {self.threshold:g} and {other.threshold:g} don't add up")
        return replace(
            self,
            bins=self.bins + sign * other.bins,
            cells=self.cells + sign * other.cells,
            amounts=tuple(one + sign * two for one, two in zip(self.amounts, other.amounts, strict=True)),
            groups=self.groups + sign * other.groups,
            scores=tuple(one + sign * two for one, two in zip(self.scores, other.scores, strict=True)),
            losses=self.losses + sign * other.losses,
        )

    def _key(self) -> tuple[object, ...]:
        counts = (self.bins.tobytes(), self.cells.tobytes(), self.groups.tobytes())
        return (self.threshold, *counts, self.amounts, self.scores, self.losses)


def tally(scores: Numbers, outcomes: Numbers, *, threshold: float = 0.5, amounts: Numbers | None = None) -> Tally:
    """Add up records with outcomes.

    Args:
        scores: Probabilities of the positive class, shape (rows,).
        outcomes: 1 where it was, else 0, shape (rows,).
        threshold: The score from which on a record is decided to be positive.
        amounts: What each record is about, in the currency, shape (rows,); without it 0.

    Raises:
        Invalid: a score isn't between 0 and 1, an outcome neither 0 nor 1, an amount not finite, or lengths differ.

    >>> made = tally(np.array([0.9, 0.8, 0.3, 0.1]), np.array([1.0, 0.0, 1.0, 0.0]))
    >>> made.precision(), made.recall(), made.auc().value
    (0.5, 0.5, 0.75)
    """
    amounts = np.zeros(scores.shape) if amounts is None else amounts
    if not scores.shape == outcomes.shape == amounts.shape or scores.ndim != 1:
        raise Invalid(
            f"{scores.shape} scores, {outcomes.shape} outcomes and {amounts.shape} amounts: one each, in a row"
        )
    if not ((scores >= 0) & (scores <= 1)).all():
        raise Invalid("a score is a probability, 0 to 1", where="scores")
    if not np.isin(outcomes, (0.0, 1.0)).all():
        raise Invalid("an outcome is 0 or 1", where="outcomes")
    was = outcomes.astype(np.int64)
    cell, tenth = 2 * (scores >= threshold) + was, np.searchsorted(_INNER, scores)
    likely = np.clip(np.where(was, scores, 1.0 - scores), LEAST_SCORE, 1.0 - LEAST_SCORE)
    return Tally(
        threshold=threshold,
        bins=_counted(was * BINS + bins_of(scores), 2 * BINS).reshape(2, BINS),
        cells=_counted(cell, 4).reshape(2, 2),
        amounts=tuple(exact_sum(amounts[cell == place]) for place in range(4)),
        groups=_counted(was * GROUPS + tenth, 2 * GROUPS).reshape(2, GROUPS),
        scores=tuple(exact_sum(scores[tenth == place]) for place in range(GROUPS)),
        losses=exact_sum(-np.log(likely)),
    )


def by_segment(
    segments: NDArray[np.str_], scores: Numbers, outcomes: Numbers, *, threshold: float = 0.5
) -> Mapping[str, Tally]:
    """A tally of each segment, by its name; `segments` names each record's, shape (rows,)."""
    return {
        str(name): tally(scores[segments == name], outcomes[segments == name], threshold=threshold)
        for name in np.unique(segments)
    }


def bins_of(scores: Numbers) -> Counts:
    """The bin of each score, 0 to `BINS` - 1; higher scores are never in a lower bin."""
    return np.searchsorted(EDGES, scores, side="right")


def area(negatives: Numbers, positives: Numbers) -> Bounded:
    """The area under the ROC curve of records by bin, each shape (bins,); they may be expected numbers."""
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return Bounded(math.nan, math.nan, math.nan)
    below = np.cumsum(negatives) - negatives
    ordered, tied = float(positives @ below / pairs), float(positives @ negatives / pairs)
    return Bounded(ordered + tied / 2, ordered, min(ordered + tied, 1.0))


def average_precision(negatives: Numbers, positives: Numbers) -> Bounded:
    """The average precision of records by bin, each shape (bins,); they may be expected numbers.

    Of a bin's positives each has at least the precision of the first where all negatives of the bin are above it, and
    at most that of the last where none is.
    """
    if not positives.sum():
        return Bounded(math.nan, math.nan, math.nan)
    held = positives[::-1] > 0
    hits, misses = (np.cumsum(each[::-1])[held] for each in (positives, negatives))
    of_bin, missed = positives[::-1][held], negatives[::-1][held]
    shares, first = of_bin / positives.sum(), hits - of_bin + np.minimum(of_bin, 1.0)
    value = shares @ (hits / (hits + misses))
    low, high = shares @ (first / (first + misses)), shares @ (hits / (hits + misses - missed))
    return Bounded(float(value), float(low), float(min(high, 1.0)))


def _counted(places: Counts, of: int) -> Counts:
    return np.bincount(places, minlength=of).astype(np.int64)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan
