"""The functions of numerical mathematics that the judging needs and numpy lacks."""

from __future__ import annotations

import numpy as np

from services.profile.columns import Numbers

SHIFT = 8  # from 8 on, Stirling's series below is exact to 1e-13
HALF_LOG_TWO_PI = 0.9189385332046727
HALVINGS = 45  # 2 ** -45: a share to thirteen digits


def log_gamma(x: Numbers) -> Numbers:
    """The natural logarithm of the gamma function.

    Args:
        x: Above 0, at most 1e30; any shape.

    Returns:
        Of the same shape, with an absolute error below 1e-12 times the larger of 1 and the answer.

    Source: Abramowitz and Stegun (1964), 6.1.41, where one is small after eight steps of the recurrence 6.1.15.

    >>> np.round(np.exp(log_gamma(np.array([0.5, 1.0, 5.0]))), 9).tolist()
    [1.772453851, 1.0, 24.0]
    """
    if np.all(x >= SHIFT):
        return _stirling(x)
    rising = x.copy()
    for step in range(1, SHIFT):
        rising *= x + step
    return np.asarray(_stirling(x + SHIFT) - np.log(rising))


def log_beta(hits: Numbers, misses: Numbers) -> Numbers:
    """The logarithm of the beta function; by how much it grows is the chance of more hits and misses in one order.

    Args:
        hits: Above 0, any shape.
        misses: Above 0, of a shape that broadcasts with it.

    >>> round(float(np.exp(log_beta(np.array(2.0), np.array(3.0)))), 9)  # 1! 2! / 4!
    0.083333333
    """
    return log_gamma(hits) + log_gamma(misses) - log_gamma(hits + misses)


def divergence(p: Numbers, q: Numbers) -> Numbers:
    """The Kullback-Leibler divergence, in nats, of a coin with share q from one with share p.

    Args:
        p: Shares, 0 to 1.
        q: Shares above 0 and below 1, of a shape that broadcasts with it.

    >>> round(float(divergence(np.array(0.5), np.array(0.25))), 4)
    0.1438
    """
    return np.asarray(_entropic(p, q) + _entropic(1.0 - p, 1.0 - q))


def shares_within(p: Numbers, radius: Numbers) -> tuple[Numbers, Numbers]:
    """The least and the greatest share q whose divergence from p is at most a radius.

    Args:
        p: Shares, 0 to 1, any shape.
        radius: In nats, 0 or more, of the same shape.

    Returns:
        The two ends, by halving; each a hair outside the set, never inside it.

    >>> low, high = shares_within(np.array([0.5]), np.array([0.1438]))
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.25, 0.75)
    """
    return _end(p, radius, towards=0.0), _end(p, radius, towards=1.0)


def _stirling(x: Numbers) -> Numbers:
    inverse = 1.0 / x
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    return np.asarray((x - 0.5) * np.log(x) - x + HALF_LOG_TWO_PI + series)


def _end(p: Numbers, radius: Numbers, *, towards: float) -> Numbers:
    inside, outside = p.copy(), np.full_like(p, towards)
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        within = divergence(p, np.clip(middle, 1e-300, 1.0 - 1e-16)) <= radius
        inside = np.where(within, middle, inside)
        outside = np.where(within, outside, middle)
    return outside


def _entropic(p: Numbers, q: Numbers) -> Numbers:
    safe = np.where(p > 0, p, 1.0)
    return np.where(p > 0, p * np.log(safe / q), 0.0)
