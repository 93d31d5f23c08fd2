"""Whether a version keeps what it promised, as outcomes show.

Records count once they are due: their outcome came, or it didn't within its time. They are taken in the order in which
they came and never in the order of their outcomes, since frauds are reported before anybody knows that the others were
none. What the promised metric is the mean of is each record's loss; from it grows a confidence sequence (`confidence`).

A version that was right for a year and then is wrong would hide behind its year. So a sequence begins each day, by the
records' own time, has that day's share of the false alarms of a year, and is followed for `FOLLOWED`. The promise is
broken once the lower end of one of them is beyond the limit. If all means are within it, that happens at most as often
as was said, however often somebody looks: each sequence errs with its own chance at most.

A record whose outcome never came counts as one that lost nothing. Whether an outcome comes may depend on what it is,
and so those that came are no sample of all; but no loss is below 0, so this too can only hide what is lost.

A loss counts at most `bound`: a sequence needs one. A mean of what was cut off is at most the whole mean, so a lower
end stays one; it can only hide what is lost beyond. Metrics that are no means, such as the area under the curve, aren't
judged: they are shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from services.chassis.errors import Invalid
from services.monitor.domain.budget import DAYS_PER_YEAR
from services.monitor.domain.confidence import Watched
from services.monitor.domain.performance import CostMatrix
from services.profile.columns import Counts, Numbers

FOLLOWED: Final = timedelta(days=28)
CLASSIFIED: Final = frozenset({"log_loss", "brier", "auc", "average_precision", "f1", "accuracy", "cost"})
"""Metrics of scores that are probabilities; all others are of a regression."""

LARGEST: Final = 1e150  # of a value: squares of what is beyond are no numbers, and it is a mark for something missing
_LEAST_LIKELY: Final = 1e-3  # what a probability counts at least, in a log loss that is judged: 6.9 nats
_MOST_ERRORS: Final = 25.0  # times the limit, of an absolute or squared error
_MOST_COST: Final = 1_000.0  # times the limit
_MOST_CHANCE: Final = 0.5  # of one sequence, however many false alarms are allowed


def amounts_of(told: Numbers) -> Numbers:
    """What records are about, shape (rows,): 0 where that is missing, infinite, or a mark for something missing."""
    return np.where(np.abs(told) < LARGEST, told, 0.0)


def first_followed(newest: date) -> date:
    """The first of the days that are followed, where the newest is this one."""
    return newest - FOLLOWED + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Promise:
    """What a version promised, and how it is held to it.

    Args:
        metric: What it promised.
        limit: What the metric must not be beyond, margin included: in the metric's unit.
        within: How long an outcome may take.
        threshold: The score from which on a record is decided to be positive.
        quantile: Of a regression the quantile that predictions are meant to be.
        amount: The numeric input that says what a record is about; empty where nothing does.
        segments: The inputs of text by whose values records are shown apart.
        cost: What decisions cost; None where nobody said.
        false_alarms_per_year: Expected, by the records' own time.
    """

    metric: str
    limit: float
    within: timedelta
    threshold: float = 0.5
    amount: str = ""
    segments: tuple[str, ...] = ()
    cost: CostMatrix | None = None
    false_alarms_per_year: float = 1.0
    quantile: float = 0.5

    @property
    def classified(self) -> bool:
        """Whether scores are probabilities."""
        return self.metric in CLASSIFIED

    @property
    def judged(self) -> bool:
        """Whether the metric is the mean of losses."""
        return self.metric in _LOSSES

    @property
    def loss_limit(self) -> float:
        """What the mean loss must not be beyond: the limit as a loss."""
        if self.metric == "accuracy":
            return 1.0 - self.limit
        return self.limit**2 if self.metric == "rmse" else self.limit

    @property
    def bound(self) -> float:
        """What a loss counts at most; above 0."""
        known = {"log_loss": -float(np.log(_LEAST_LIKELY)), "brier": 1.0, "accuracy": 1.0}
        factor = _MOST_COST if self.metric == "cost" else _MOST_ERRORS
        return known.get(self.metric) or max(factor * self.loss_limit, float(np.finfo(np.float64).tiny))

    def costs(self, outcomes: Numbers, amounts: Numbers) -> tuple[Numbers, Numbers]:
        """What each record costs if it is decided not to be positive, and if it is, shape (rows,); NaN if unknown."""
        known = np.isin(outcomes, (0.0, 1.0))
        cells = tuple((np.full(outcomes.size, decided), np.where(known, outcomes, 0).astype(int)) for decided in (0, 1))
        passed, flagged = (np.where(known, _priced(self.cost, cell, amounts), np.nan) for cell in cells)
        return passed, flagged

    def losses(self, scores: Numbers, outcomes: Numbers, amounts: Numbers) -> Numbers:
        """What each record lost, 0 to `bound`, shape (rows,).

        Args:
            scores: Shape (rows,); probabilities of a classification.
            outcomes: What turned out: the value, or 0 and 1, shape (rows,).
            amounts: What each record is about, in the currency, shape (rows,).
        """
        return np.clip(_LOSSES[self.metric](self, scores, outcomes, amounts), 0.0, self.bound)


def _log_loss(_: Promise, scores: Numbers, outcomes: Numbers, __: Numbers) -> Numbers:
    return -np.log(np.maximum(np.where(outcomes > 0, scores, 1.0 - scores), _LEAST_LIKELY))


def _square(_: Promise, scores: Numbers, outcomes: Numbers, __: Numbers) -> Numbers:
    return np.asarray((scores - outcomes) ** 2)


def _absolute(_: Promise, scores: Numbers, outcomes: Numbers, __: Numbers) -> Numbers:
    return np.abs(scores - outcomes)


def _pinball(promise: Promise, scores: Numbers, outcomes: Numbers, _: Numbers) -> Numbers:
    below = outcomes - scores
    return np.asarray(np.maximum(promise.quantile * below, (promise.quantile - 1) * below))


def _wrong(promise: Promise, scores: Numbers, outcomes: Numbers, _: Numbers) -> Numbers:
    return np.asarray((scores >= promise.threshold) != (outcomes > 0), dtype=np.float64)


def _cost(promise: Promise, scores: Numbers, outcomes: Numbers, amounts: Numbers) -> Numbers:
    return _priced(promise.cost, ((scores >= promise.threshold).astype(int), outcomes.astype(int)), amounts)


def _priced(cost: CostMatrix | None, cell: tuple[Counts, Counts], amounts: Numbers) -> Numbers:
    """What records cost, by what was decided and what each was; shapes (rows,)."""
    prices = cost or CostMatrix(fixed=((0.0, 0.0), (0.0, 0.0)))
    return np.asarray(np.asarray(prices.fixed)[cell] + np.asarray(prices.of_amount)[cell] * amounts)


_LOSSES: Final[Mapping[str, Callable[[Promise, Numbers, Numbers, Numbers], Numbers]]] = {
    "log_loss": _log_loss,
    "brier": _square,
    "accuracy": _wrong,
    "cost": _cost,
    "rmse": _square,
    "mae": _absolute,
    "quantile_loss": _pinball,
}


@dataclass(frozen=True, slots=True)
class Kept:
    """How a promise is kept: a confidence sequence for each day that is followed.

    Args:
        days: When each began, by the records' own time, rising, and what it knows.
        known: Records that came due with an outcome.
        missing: Records that came due without one.
    """

    days: tuple[tuple[date, Watched], ...] = ()
    known: int = 0
    missing: int = 0

    def after(self, promise: Promise, day: date, losses: Numbers, *, known: int) -> Kept:
        """The same after more records of a day came due: their losses in the records' order, and how many are known.

        A day that is earlier than one that has begun counts as that one: late records are taken when they come.
        """
        day = max(day, self.days[-1][0]) if self.days else day
        days = [(began, each) for began, each in self.days if day - began < FOLLOWED]
        if not days or days[-1][0] < day:
            chance = min(promise.false_alarms_per_year / DAYS_PER_YEAR, _MOST_CHANCE)
            days.append((day, Watched(promise.bound, chance)))
        moved = tuple((began, each.after(losses)) for began, each in days) if promise.judged else ()
        return Kept(moved, self.known + known, self.missing + losses.size - known)

    def surest(self) -> tuple[date, Watched] | None:
        """The sequence with the highest lower end: what speaks most for a broken promise; None where none has begun."""
        return max(self.days, key=lambda each: each[1].interval()[0], default=None)

    def to_bytes(self) -> bytes:
        """As JSON."""
        days = [[began.isoformat(), asdict(each)] for began, each in self.days]
        return json.dumps({"days": days, "known": self.known, "missing": self.missing}).encode()

    @classmethod
    def from_bytes(cls, kept: bytes) -> Kept:
        """Read what `to_bytes` wrote.

        Raises:
            Invalid: another release wrote it in another form.
        """
        try:
            told = json.loads(kept)
            days = tuple((date.fromisoformat(began), Watched(**each)) for began, each in told["days"])
            return cls(days, told["known"], told["missing"])
        except (ValueError, KeyError, TypeError) as error:
            raise Invalid(f"what was known of the promise can't be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Segment:
    """How a segment of the records did: an input, its value, its records that came due, and what they lost together."""

    feature: str
    value: str
    rows: int
    loss: float


def carrying(segments: Sequence[Segment], limit: float) -> list[tuple[Segment, float]]:
    """The segments that lost more than was promised, each with its share of its input's such losses, largest first.

    >>> carrying([Segment("shop", "online", 100, 60.0), Segment("shop", "branch", 900, 90.0)], 0.1)
    [(Segment(feature='shop', value='online', rows=100, loss=60.0), 1.0)]
    """
    beyond = [(each, each.loss - limit * each.rows) for each in segments]
    totals: dict[str, float] = {}
    for each, excess in beyond:
        totals[each.feature] = totals.get(each.feature, 0.0) + max(excess, 0.0)
    shares = [(each, excess / totals[each.feature]) for each, excess in beyond if excess > 0]
    return sorted(shares, key=lambda pair: -pair[1])
