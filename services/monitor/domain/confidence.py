"""How large a mean is at least and at most, at every moment at once: confidence sequences.

An interval for a sample of fixed size breaks its promise when somebody looks at it again and again until it says what
they fear. A confidence sequence holds for all moments at once: with probability 1 - `chance` at least, the mean is in
it from the first record to the last, whoever looks however often, and stops when. So "the promise is broken" can be
said at the first moment at which the whole interval is beyond the promise.

What is bounded: the mean of losses that lie between 0 and a bound; each new loss must have the same mean given all
before it, so no more is assumed of them. Where the mean moves, the interval is about the average of the means so far,
weighted by the bets. The interval adapts to the variance: rare losses have tight ones.

Outcomes that come late must be taken when they are due, in the order of their records, and not as they come: frauds
are reported before anybody knows that the others were none, so the first to come are nearly all losses.

Source: Waudby-Smith and Ramdas (2023), Estimating means of bounded random variables by betting, J. R. Stat. Soc. B
86(1), theorem 2: the predictable plug-in empirical-Bernstein confidence sequence, (13) to (15), with c = 1/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.chassis.errors import Invalid
from services.profile.columns import Numbers

MOST_BET = 0.5  # the paper's c
PRIOR_MEAN, PRIOR_VARIANCE = 0.5, 0.25  # of a loss between 0 and 1, before any is seen: they count as one record


@dataclass(frozen=True, slots=True)
class Watched:
    """Losses so far, as the confidence sequence of their mean remembers them. It depends on their order.

    Args:
        bound: The greatest loss that there can be, above 0.
        chance: That the mean is ever outside, above 0 and below 1.
        rows: How many there were.
        total: Their sum, as shares of the bound.
        squares: The sum of squared distances, each from the mean up to it.
        bets: The sum of the bets.
        weighted: The sum of losses times bets.
        spent: What the variance has cost so far.
    """

    bound: float = 1.0
    chance: float = 0.05
    rows: int = 0
    total: float = 0.0
    squares: float = 0.0
    bets: float = 0.0
    weighted: float = 0.0
    spent: float = 0.0

    def __post_init__(self) -> None:
        if not (self.bound > 0 and 0 < self.chance < 1):
            raise Invalid("a bound is above 0, and a chance above 0 and below 1")

    def interval(self) -> tuple[float, float]:
        """What the mean is at least and at most, in the unit of the loss."""
        low, high = _interval(self, *(np.array([each]) for each in (self.bets, self.weighted, self.spent)))
        return float(low[0]), float(high[0])

    def after(self, losses: Numbers) -> Watched:
        """The same after more losses, in the order in which they came; see `path`."""
        return path(self, losses)[0]


def path(watched: Watched, losses: Numbers) -> tuple[Watched, Numbers, Numbers]:
    """What is known after each of some more losses.

    Args:
        watched: What is remembered of the losses before them.
        losses: 0 to the bound, shape (rows,).

    Returns:
        What is remembered after all of them, and the lower and upper ends after each, shape (rows,).

    Raises:
        Invalid: a loss isn't between 0 and the bound.

    >>> watched, low, high = path(Watched(), np.zeros(1_000))
    >>> float(low[-1]), bool(high[-1] < 0.02)
    (0.0, True)
    """
    if not ((losses >= 0) & (losses <= watched.bound)).all():
        raise Invalid(f"a loss is between 0 and {watched.bound:g}", where="losses")
    if not losses.size:
        return watched, losses, losses
    shares = losses / watched.bound
    rows = watched.rows + np.arange(1, shares.size + 1)
    totals = watched.total + np.cumsum(shares)
    means = (PRIOR_MEAN + totals) / (rows + 1)
    squares = watched.squares + np.cumsum((shares - means) ** 2)
    mean_before = np.append((PRIOR_MEAN + watched.total) / (watched.rows + 1), means[:-1])
    variance_before = (PRIOR_VARIANCE + np.append(watched.squares, squares[:-1])) / rows
    bet = np.minimum(np.sqrt(2 * _cost(watched) / (variance_before * rows * np.log1p(rows))), MOST_BET)
    bets = watched.bets + np.cumsum(bet)
    weighted = watched.weighted + np.cumsum(bet * shares)
    spent = watched.spent + np.cumsum((shares - mean_before) ** 2 * (-np.log1p(-bet) - bet))
    low, high = _interval(watched, bets, weighted, spent)
    last = (float(each[-1]) for each in (totals, squares, bets, weighted, spent))
    return Watched(watched.bound, watched.chance, int(rows[-1]), *last), low, high


def _interval(watched: Watched, bets: Numbers, weighted: Numbers, spent: Numbers) -> tuple[Numbers, Numbers]:
    safe = np.where(bets > 0, bets, 1.0)
    middle, radius = weighted / safe, np.where(bets > 0, (_cost(watched) + spent) / safe, 1.0)
    low, high = np.maximum(middle - radius, 0.0), np.minimum(middle + radius, 1.0)
    return low * watched.bound, high * watched.bound


def _cost(watched: Watched) -> float:
    """What being wrong on either side costs, in nats: each side has half of the chance."""
    return math.log(2 / watched.chance)
