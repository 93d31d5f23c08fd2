"""How well a classifier probably does before outcomes come: confidence-based performance estimation (CBPE).

If a score of 0.3 means three in ten, then scores alone say how many of the decisions are right, on average. So each
record counts as both: by its calibrated score as a positive, and by the rest as a negative.

It rests on two assumptions, and is an estimate of nothing where they fail:

- the calibrated scores are right for the records at hand, and not only for the reference: the inputs may move, but
  what the inputs say about the outcome may not. **It is blind to concept drift**: to a fraud that looks genuine to
  the model, it looks genuine.
- the reference's outcomes were complete when the calibration was fitted.

So it is shown as an estimate, reconciled with the truth when that comes, and is never alone a reason to act.

Source: NannyML's definition, https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html; the
calibration is isotonic (Zadrozny and Elkan 2002), by pooling adjacent violators (Ayer et al. 1955), on the bins of
`performance`, which is what makes it fit in a row of a database, and add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.chassis.errors import Invalid
from services.monitor.domain.performance import BINS, Tally, area, average_precision, bins_of
from services.profile.columns import Counts, Numbers


@dataclass(frozen=True, eq=False)
class Calibration:
    """What scores of each bin mean.

    Args:
        likely: The probability of the positive class, by bin, rising, shape (bins,).
    """

    likely: Numbers


@dataclass(frozen=True, slots=True)
class Estimated:
    """Expected numbers of records, by decision and what they may turn out to be.

    Args:
        hits: Decided to be positive, and positive.
        alarms: Decided to be positive, and negative.
        misses: Decided to be negative, and positive.
        rests: Decided to be negative, and negative.
        auc: The area under the ROC curve, NaN without records.
        average_precision: As `Tally` has it.
    """

    hits: float
    alarms: float
    misses: float
    rests: float
    auc: float
    average_precision: float

    @property
    def precision(self) -> float:
        """How many of those decided to be positive are; NaN where nobody is."""
        return _ratio(self.hits, self.hits + self.alarms)

    @property
    def recall(self) -> float:
        """How many of the positives are decided to be; NaN where none is expected."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def accuracy(self) -> float:
        """How many decisions are right; NaN without records."""
        return _ratio(self.hits + self.rests, self.hits + self.alarms + self.misses + self.rests)


def calibrated(reference: Tally) -> Calibration:
    """The calibration that the reference's outcomes ask for: the likeliest that never falls as scores rise.

    Args:
        reference: Records that the model was not trained on, with their outcomes; both outcomes must occur.

    Raises:
        Invalid: only one of the outcomes occurs.
    """
    negatives, positives = reference.bins.astype(np.float64)
    if not negatives.sum() or not positives.sum():
        raise Invalid("scores are calibrated on records of both outcomes")
    held = np.flatnonzero(negatives + positives)
    pooled = _pooled(positives[held], (negatives + positives)[held])
    return Calibration(np.interp(np.arange(BINS), held, pooled))  # between bins that the reference has, in between


def counted(scores: Numbers, threshold: float) -> Counts:
    """Records by decision and bin of the score, shape (2, bins): all that an estimate needs, and it adds up.

    Raises:
        Invalid: a score isn't between 0 and 1.
    """
    if not ((scores >= 0) & (scores <= 1)).all():
        raise Invalid("a score is a probability, 0 to 1", where="scores")
    places = (scores >= threshold) * BINS + bins_of(scores)
    return np.bincount(places, minlength=2 * BINS).reshape(2, BINS).astype(np.int64)


def estimate(calibration: Calibration, counts: Counts) -> Estimated:
    """The performance that is expected of records whose outcomes aren't known.

    Args:
        calibration: What their scores mean.
        counts: See `counted`.
    """
    positives, negatives = counts * calibration.likely, counts * (1 - calibration.likely)
    return Estimated(
        hits=float(positives[1].sum()),
        alarms=float(negatives[1].sum()),
        misses=float(positives[0].sum()),
        rests=float(negatives[0].sum()),
        auc=area(negatives.sum(axis=0), positives.sum(axis=0)).value,
        average_precision=average_precision(negatives.sum(axis=0), positives.sum(axis=0)).value,
    )


def _pooled(positives: Numbers, rows: Numbers) -> Numbers:
    """The share of positives, pooled with neighbours until it never falls, shape (bins,)."""
    blocks: list[tuple[float, float, int]] = []  # positives, rows, bins
    for block in zip(positives.tolist(), rows.tolist(), [1] * rows.size, strict=True):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last, before = blocks.pop(), blocks.pop()
            blocks.append((last[0] + before[0], last[1] + before[1], last[2] + before[2]))
    hits, held, widths = zip(*blocks, strict=True)
    return np.repeat(np.asarray(hits) / np.asarray(held), widths)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
