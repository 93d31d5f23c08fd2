"""By how much a part has moved, at the least and at the most: what `drift.detected` and `drift.cleared` stand on.

Each share, in the reference and now, has a confidence interval; an effect has one term per share, which grows as the
two shares move apart (`measures`). So its lower bound takes, share by share, the nearest two that the intervals allow,
and its upper bound the furthest two.

    reference   |--p--|                      each term's least:  from the right end of p to the left end of q
    now                      |---q---|       each term's most:   from the left end of p to the right end of q

- *Now*: rows arrive without end and are looked at all the time, so the interval holds at all times at once: the shares
  q at which the mixture martingale Beta(1/2, 1/2) / q^x (1-q)^(n-x) stays below 1/a (Robbins 1970; Waudby-Smith and
  Ramdas 2020). As n kl(x/n, q) <= ln(1/a) + regret, with the regret that the mixture pays for not knowing q.
- *Reference*: drawn once, so Chernoff's bound serves: n kl(p^, p) <= ln(2/a). Its failure is counted anew in every
  stretch of evidence, as if the reference were drawn anew, so the sum over a year holds.

The chance of error of a stretch is shared out over starts, parts, shares, and the two intervals (a union bound).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.measures import Measure, Yardstick
from services.monitor.domain.parts import Parts
from services.monitor.domain.special import divergence, log_gamma, shares_within
from services.profile.columns import Counts, Numbers

INTERVALS = 2  # of the reference, and of now
LOG_BETA_HALVES = float(np.log(np.pi))  # ln B(1/2, 1/2)
NONE = 1e-9  # rows, where there are none to divide by


@dataclass(frozen=True)
class Bounds:
    """The effect of some starts and parts, with what it is at the least and at the most.

    Args:
        effect: The effect itself, 0 or more.
        lower: Its lower confidence bound, at most the effect.
        upper: Its upper confidence bound, at least the effect.
    """

    effect: Numbers
    lower: Numbers
    upper: Numbers


class Drift:
    """How far parts are from their reference, by one measure.

    Args:
        parts: What is judged.
        measure: The effect.
    """

    def __init__(self, parts: Parts, measure: Measure) -> None:
        self._yardstick = Yardstick(parts, measure)
        self._intervals = INTERVALS * len(parts) * parts.groups
        self._rows = parts.reference.sum(axis=-1)
        self._reference = _shares(self._yardstick.tallied(parts.reference), self._rows)

    def effects(self, counts: Numbers) -> Numbers:
        """The effect of each start and part.

        Args:
            counts: Effective rows from each start to now, shape (..., parts, groups).

        Returns:
            Shape (..., parts); 0 where a part has no rows.
        """
        rows = counts.sum(axis=-1)
        now = _shares(self._yardstick.tallied(counts), rows)
        return np.where(rows > 0, self._yardstick.between(self._reference, now, slice(None)), 0.0)

    def bounds(self, counts: Numbers, starts: Counts, places: Counts, log_chances: Numbers) -> Bounds:
        """The effect and its bounds, for chosen pairs of a start and a part.

        Args:
            counts: Effective rows from each start to now, shape (starts, parts, groups).
            starts: The start of each pair, shape (pairs,).
            places: The part of each pair, shape (pairs,).
            log_chances: Natural logarithm of the chance that the bounds from a pair's start may fail, for any part;
                shape (pairs,).
        """
        tallied, rows = self._of_pairs(counts, starts, places)
        cost = self._cost(places, log_chances)
        before, now = self._reference[places], _shares(tallied, rows)
        radius = (np.log(2.0) + cost) / np.maximum(self._rows[places], NONE)[:, np.newaxis]
        then = shares_within(before, np.broadcast_to(radius, before.shape))
        here = shares_within(now, _running_radius(tallied, rows[:, np.newaxis], cost))
        return Bounds(
            self._yardstick.between(before, now, places),
            self._yardstick.nearest(then, here, places),
            self._yardstick.furthest(then, here, places),
        )

    def may_differ(self, counts: Numbers, starts: Counts, places: Counts, log_chances: Numbers) -> NDArray[np.bool_]:
        """Which pairs can have a lower bound above 0: those of which some share's two intervals may lie apart.

        They overlap where both hold the share of all rows together. Takes what `bounds` takes, and spares its halving
        for the many pairs that are too fresh. Shape (pairs,).
        """
        tallied, rows = self._of_pairs(counts, starts, places)
        cost, before, now = self._cost(places, log_chances), self._reference[places], _shares(tallied, rows)
        of_now, of_before = rows[:, np.newaxis], self._rows[places][:, np.newaxis]
        between = (of_now * now + of_before * before) / np.maximum(of_now + of_before, NONE)
        between = np.clip(between, NONE, 1.0 - NONE)
        apart = (of_now * divergence(now, between) > cost) | (of_before * divergence(before, between) > cost)
        return np.asarray((apart & self._yardstick.counted[places]).any(axis=-1))

    def _of_pairs(self, counts: Numbers, starts: Counts, places: Counts) -> tuple[Numbers, Numbers]:
        return self._yardstick.tallied(counts)[starts, places], counts[starts, places].sum(axis=-1)

    def _cost(self, places: Counts, log_chances: Numbers) -> Numbers:
        return np.asarray((np.log(self._intervals[places]) - log_chances)[:, np.newaxis])


def _shares(tallied: Numbers, rows: Numbers) -> Numbers:
    return np.minimum(tallied / np.maximum(rows, NONE)[..., np.newaxis], 1.0)


def _running_radius(counts: Numbers, rows: Numbers, cost: Numbers) -> Numbers:
    others = np.maximum(rows - counts, 0.0)
    best = _times_log(counts, rows) + _times_log(others, rows)
    mixture = log_gamma(counts + 0.5) + log_gamma(others + 0.5) - log_gamma(rows + 1.0) - LOG_BETA_HALVES
    return np.asarray((cost + best - mixture) / np.maximum(rows, NONE))


def _times_log(counts: Numbers, rows: Numbers) -> Numbers:
    return np.where(counts > 0, counts * np.log(np.where(counts > 0, counts, 1.0) / np.maximum(rows, NONE)), 0.0)
