"""By how much a part has moved, at the least and at the most: what `drift.detected` and `drift.cleared` stand on.

Each group's share, in the reference and now, has a confidence interval; the stability index has one term per group,
which grows as the two shares move apart. So its lower bound takes, group by group, the nearest two shares that the
intervals allow, and its upper bound the furthest two.

    reference   |--p--|                      each term's least:  from the right end of p to the left end of q
    now                      |---q---|       each term's most:   from the left end of p to the right end of q

- *Now*: rows arrive without end and are looked at all the time, so the interval holds at all times at once: the shares
  q at which the mixture martingale Beta(1/2, 1/2) / q^x (1-q)^(n-x) stays below 1/a (Robbins 1970; Waudby-Smith and
  Ramdas 2020). As n kl(x/n, q) <= ln(1/a) + regret, with the regret that the mixture pays for not knowing q.
- *Reference*: drawn once, so Chernoff's bound serves: n kl(p^, p) <= ln(2/a). Its failure is counted anew in every
  stretch of evidence, as if the reference were drawn anew, so the sum over a year holds.

The chance of error of a stretch is shared out over starts, parts, groups, and the two intervals (a union bound).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.parts import Parts
from services.monitor.domain.special import divergence, log_gamma, shares_within
from services.profile.columns import Counts, Numbers
from services.profile.effects import stability_terms

INTERVALS = 2  # of the reference, and of now
LOG_BETA_HALVES = float(np.log(np.pi))  # ln B(1/2, 1/2)


@dataclass(frozen=True)
class Bounds:
    """The stability index of some starts and parts, with what it is at the least and at the most.

    Args:
        effect: The index itself, 0 or more.
        lower: Its lower confidence bound, at most the effect.
        upper: Its upper confidence bound, at least the effect.
    """

    effect: Numbers
    lower: Numbers
    upper: Numbers


def effects(parts: Parts, counts: Numbers) -> Numbers:
    """The stability index of each start and part.

    Args:
        parts: What is judged.
        counts: Effective rows from each start to now, shape (..., parts, groups).

    Returns:
        Shape (..., parts); 0 where a part has no rows.
    """
    rows = counts.sum(axis=-1, keepdims=True)
    terms = stability_terms(_shares(parts.reference), _shares(counts))
    return np.asarray(np.where(rows[..., 0] > 0, (terms * parts.used()).sum(axis=-1), 0.0))


def bounds(parts: Parts, counts: Numbers, places: Counts, log_chances: Numbers) -> Bounds:
    """The stability index and its bounds, for chosen pairs of a start and a part.

    Args:
        parts: What is judged.
        counts: Effective rows of each pair, shape (pairs, groups).
        places: The part of each pair, shape (pairs,).
        log_chances: Natural logarithm of the chance that the bounds from a pair's start may fail, for any part;
            shape (pairs,).
    """
    reference = parts.reference[places]
    used = parts.used()[places]
    cost = np.log(INTERVALS * len(parts) * parts.groups[places]) - log_chances
    p_low, p_high = shares_within(_shares(reference), _fixed_radius(reference, cost))
    q_low, q_high = shares_within(_shares(counts), _running_radius(counts, cost))
    above = np.where(p_high < q_low, stability_terms(p_high, q_low), 0.0)
    nearest = np.where(q_high < p_low, stability_terms(p_low, q_high), above)
    furthest = np.maximum(stability_terms(p_low, q_high), stability_terms(p_high, q_low))
    terms = stability_terms(_shares(reference), _shares(counts))
    effect, lower, upper = ((each * used).sum(axis=-1) for each in (terms, nearest, furthest))
    return Bounds(effect, lower, upper)


def _shares(counts: Numbers) -> Numbers:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-9))


def _fixed_radius(counts: Numbers, cost: Numbers) -> Numbers:
    rows = np.maximum(counts.sum(axis=-1, keepdims=True), 1e-9)
    return np.broadcast_to((np.log(2.0) + cost[:, np.newaxis]) / rows, counts.shape)


def _running_radius(counts: Numbers, cost: Numbers) -> Numbers:
    rows = counts.sum(axis=-1, keepdims=True)
    others = rows - counts
    best = _times_log(counts, counts / np.maximum(rows, 1e-9)) + _times_log(others, others / np.maximum(rows, 1e-9))
    mixture = log_gamma(counts + 0.5) + log_gamma(others + 0.5) - log_gamma(rows + 1.0) - LOG_BETA_HALVES
    return np.asarray((cost[:, np.newaxis] + best - mixture) / np.maximum(rows, 1e-9))


def _times_log(counts: Numbers, shares: Numbers) -> Numbers:
    return np.where(counts > 0, counts * np.log(np.where(counts > 0, shares, 1.0)), 0.0)


def worth_bounding(parts: Parts, counts: Numbers, cost: float) -> NDArray[np.bool_]:
    """Where a lower bound can be above 0 at all: some group's share is further from the reference's than its own cost.

    Args:
        parts: What is judged.
        counts: Effective rows from each start to now, shape (starts, parts, groups).
        cost: The logarithm of one over the chance of error, before it is shared out.

    Returns:
        Shape (starts, parts). It spares the halving for the many starts that are too fresh.
    """
    rows = counts.sum(axis=-1, keepdims=True)
    reference = np.clip(_shares(parts.reference), 1e-9, 1.0 - 1e-9)
    return np.asarray((rows * divergence(_shares(counts), reference) * parts.used() > cost).any(axis=-1))
