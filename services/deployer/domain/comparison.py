"""Would going back help? Two versions on the same affected records, and how sure the difference is.

By losses where outcomes are known, else by how far each version's scores have moved from its own reference's. Both
versions see the very same records, so what is compared is the paired difference per record: what the records have
in common cancels, and its interval says whether noise alone could have made it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from services.chassis.errors import Invalid
from services.deployer.domain.losses import Values, losses, measure_for

SCORE_SHIFT: Final = "score_shift"
COST: Final = "cost"
_RESAMPLES: Final = 1000  # the interval's ends wander by under 0.2 standard errors from seed to seed
_SEED: Final = 20260101  # the same records give the same decision, whoever recomputes it


@dataclass(frozen=True, slots=True)
class Comparison:
    """The version in trouble against the one that might come back.

    Args:
        measure: cost, log_loss, squared_error or score_shift; smaller is better.
        current: The measure of the version in trouble.
        target: The measure of the other one, on the same records.
        lower: The lower end of the interval of current minus target.
        upper: The upper end of it.
        rows: How many records were compared.
        rows_with_outcome: How many of them had an outcome.
        records_a_day: How many such records there are a day; 0 where nobody can tell.
    """

    measure: str
    current: float
    target: float
    lower: float
    upper: float
    rows: int
    rows_with_outcome: int
    records_a_day: float = 0.0

    @property
    def helps(self) -> bool:
        """True where going back is better beyond noise.

        Of scores' movements alone, the target's must also be less than half: one that moved much itself sees the same
        broken data, and which of the two is less wrong its scores can't say.
        """
        steady = self.measure != SCORE_SHIFT or self.target < self.current / 2
        return self.lower > 0 and steady

    @property
    def harms(self) -> bool:
        """True where going back is worse beyond noise, or where the target's scores moved much as well."""
        return self.upper < 0 or (self.measure == SCORE_SHIFT and not self.helps and self.lower > 0)


@dataclass(frozen=True, slots=True)
class Reference:
    """How a version's scores were distributed when it was made.

    Args:
        edges: Inclusive upper edges of all bins but the last, rising, shape (bins - 1,).
        counts: Rows per bin, shape (bins,), not all 0.
    """

    edges: Values
    counts: Values


@dataclass(frozen=True, slots=True)
class Costs:
    """What decisions about records cost, in the currency; shapes (records,), NaN where the outcome isn't known.

    Args:
        passed: What each costs if it is decided not to be positive.
        flagged: What each costs if it is decided to be.
        threshold: The score from which on it is decided to be.
        records_a_day: How many such records there are a day, by their own time; 0 where nobody can tell.
    """

    passed: Values
    flagged: Values
    threshold: float
    records_a_day: float

    def of(self, scores: Values) -> Values:
        """What a version's decisions cost, by its scores."""
        return np.where(scores >= self.threshold, self.flagged, self.passed)


def confidence_of_look(outcomes: int, minimum: int, confidence: float) -> float:
    """The confidence of a look at so many outcomes, where looks are taken as their number doubles.

    The k-th doubling has half of the error that the one before it had, so all looks together err as one would.

    Args:
        outcomes: How many are known, at least `minimum`.
        minimum: At which the first look is taken, 1 or more.
        confidence: Of all looks together, 0 to 1.

    >>> confidence_of_look(100, 100, 0.95), confidence_of_look(400, 100, 0.95)
    (0.975, 0.99375)
    """
    doublings = int(math.log2(max(outcomes / minimum, 1)))
    return float(1 - (1 - confidence) / 2 ** (doublings + 1))


def compare_losses(current: Values, target: Values, outcomes: Values, *, confidence: float) -> Comparison:
    """Compare two versions by loss on the records whose outcome is known.

    Args:
        current: Scores of the version in trouble, shape (records,).
        target: Scores of the other one on the same records, shape (records,).
        outcomes: What turned out to be true, NaN where it isn't known, shape (records,).
        confidence: Of the two-sided interval, 0 to 1.

    Returns:
        Mean losses and the interval of the mean paired difference.

    Raises:
        Invalid: fewer than two outcomes are known, or the shapes differ.

    Source: the paired t interval with the normal quantile, which from 100 records on is within 2 % of it (Student
    1908); by the central limit theorem it needs no normal losses. Tested against scipy.stats.ttest_rel.
    """
    if not current.shape == target.shape == outcomes.shape:
        raise Invalid("scores and outcomes are of different records")
    known = _known(outcomes, "losses")
    measure = measure_for(np.concatenate([current[known], target[known]]), outcomes)
    lost = losses(measure, current[known], outcomes[known])
    other = losses(measure, target[known], outcomes[known])
    return _paired(measure, lost, other, current.size, confidence)


def compare_costs(current: Values, target: Values, costs: Costs, *, confidence: float) -> Comparison:
    """Compare two versions by what their decisions cost on the records whose outcome is known; see `compare_losses`."""
    known = _known(costs.passed, "costs")
    lost, other = costs.of(current)[known], costs.of(target)[known]
    found = _paired(COST, lost, other, current.size, confidence)
    return replace(found, records_a_day=costs.records_a_day)


def _known(outcomes: Values, what: str) -> npt.NDArray[np.bool_]:
    """Which records have an outcome: at least two of them, of which a spread can be had."""
    known = ~np.isnan(outcomes)
    rows = int(known.sum())
    if rows < 2:  # noqa: PLR2004 - a spread needs two
        raise Invalid(f"{rows} outcomes are too few to compare {what}")
    return known


def _paired(measure: str, lost: Values, other: Values, rows: int, confidence: float) -> Comparison:
    difference = lost - other
    half = NormalDist().inv_cdf((1 + confidence) / 2) * float(difference.std(ddof=1)) / math.sqrt(lost.size)
    middle = float(difference.mean())
    return Comparison(measure, float(lost.mean()), float(other.mean()), middle - half, middle + half, rows, lost.size)


def compare_shifts(
    current: Values, target: Values, current_reference: Reference, target_reference: Reference, *, confidence: float
) -> Comparison:
    """Compare two versions by how far their scores have moved, each from its own reference.

    Args:
        current: Scores of the version in trouble, shape (records,).
        target: Scores of the other one on the same records, shape (records,).
        current_reference: How the first one's scores were distributed.
        target_reference: How the second one's were.
        confidence: Of the two-sided interval, 0 to 1.

    Returns:
        Jensen-Shannon distances (0 to 1) and the percentile bootstrap interval of their difference; records are
        resampled whole, so that the pairing stays.

    Source: Lin (1991), IEEE Trans. Inf. Theory 37; Efron & Tibshirani (1993), ch. 13. Tested against
    scipy.spatial.distance.jensenshannon.
    """
    joint, shape = _joint_bins(current, target, current_reference, target_reference)
    counts = np.bincount(joint, minlength=shape[0] * shape[1]).astype(np.float64)
    shifts = _shifts(counts[None, :], shape, current_reference, target_reference)
    rng = np.random.default_rng(_SEED)
    draws = rng.multinomial(current.size, counts / counts.sum(), size=_RESAMPLES).astype(np.float64)
    drawn = _shifts(draws, shape, current_reference, target_reference)
    gaps = drawn[0] - drawn[1]
    lower, upper = np.quantile(gaps, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Comparison(
        SCORE_SHIFT, float(shifts[0][0]), float(shifts[1][0]), float(lower), float(upper), current.size, 0
    )


def jensen_shannon(p: Values, q: Values) -> Values:
    """The Jensen-Shannon distance of distributions, base 2, 0 to 1; along the last axis.

    Args:
        p: Rows per bin, shape (..., bins); each row not all 0.
        q: Rows per bin, shape (bins,), not all 0.

    >>> float(jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    1.0
    """
    p = p / p.sum(axis=-1, keepdims=True)
    q = q / q.sum()
    middle = (p + q) / 2
    divergence = (_entropy_terms(p, middle) + _entropy_terms(np.broadcast_to(q, p.shape), middle)) / 2
    return np.asarray(np.sqrt(np.clip(divergence, 0, 1)))


def _entropy_terms(p: Values, middle: Values) -> Values:
    ratio = np.divide(p, middle, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=-1))


def _joint_bins(
    current: Values, target: Values, one: Reference, other: Reference
) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
    if current.shape != target.shape or current.size == 0:
        raise Invalid("there are no records to compare, or they differ")
    first = np.searchsorted(one.edges, current, side="left")
    second = np.searchsorted(other.edges, target, side="left")
    return first * other.counts.size + second, (one.counts.size, other.counts.size)


def _shifts(counts: Values, shape: tuple[int, int], one: Reference, other: Reference) -> tuple[Values, Values]:
    table = counts.reshape(-1, *shape)
    return jensen_shannon(table.sum(axis=2), one.counts), jensen_shannon(table.sum(axis=1), other.counts)
