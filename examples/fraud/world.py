"""Who pays, and where: customers with a place and habits, terminals with a place, and which are within reach.

The design is the Fraud Detection Handbook's, written anew: Y.-A. Le Borgne, W. Siblini, B. Lebichot, G. Bontempi,
Reproducible Machine Learning for Credit Card Fraud Detection: Practical Handbook (2022), chapter 3, Simulator;
https://fraud-detection-handbook.github.io/fraud-detection-handbook/. The numbers are its own where none is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

SIDE: Final = 100.0
"""The world is a square; its side, in kilometres."""

MEAN_AMOUNT: Final = (5.0, 100.0)
"""A customer's mean amount lies between these, in euros; the standard deviation is half of it."""

MOST_A_DAY: Final = 4.0
"""A customer's mean number of transactions a day lies between 0 and this."""

_CHUNK: Final = 1_000  # customers whose reach is measured at once: some 10 MB


@dataclass(frozen=True, slots=True)
class World:
    """How large a world is, and which.

    Args:
        customers: How many there are, at least 1.
        terminals: How many there are, at least 1.
        days: For how long they pay, at least 1.
        first_day: The day that it begins with, UTC.
        radius: How far a customer goes to a terminal, in kilometres.
        seed: Which world of this size. The same seed gives the same world, to the last transaction.
    """

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    first_day: date = date(2018, 4, 1)
    radius: float = 5.0
    seed: int = 0

    def chance(self, about: Chance) -> np.random.Generator:
        """The random numbers of one thing, so that more of one thing changes nothing about the others."""
        return np.random.default_rng([self.seed, about])


class Chance(IntEnum):
    """What is left to chance, each with random numbers of its own."""

    CUSTOMERS = 0
    TERMINALS = 1
    HABITS = 2
    CHOICES = 3
    COMPROMISED = 4
    LEAKED = 5
    OUTBREAK = 6
    OUTCOMES = 7


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers and their habits.

    Args:
        mean_amount: Of a transaction, in euros, shape (customers,).
        mean_a_day: Transactions a day, shape (customers,).
        reach: All customers' terminals, one customer's after another's, shape (pairs,).
        first: Where each customer's begin in it, shape (customers + 1,); the last is the number of pairs.
    """

    mean_amount: Numbers
    mean_a_day: Numbers
    reach: Counts
    first: Counts


def customers_of(world: World) -> Customers:
    """The customers of a world, with the terminals within their radius."""
    chance = world.chance(Chance.CUSTOMERS)
    places = chance.uniform(0, SIDE, (world.customers, 2))
    mean_amount = chance.uniform(*MEAN_AMOUNT, world.customers)
    mean_a_day = chance.uniform(0, MOST_A_DAY, world.customers)
    terminals = world.chance(Chance.TERMINALS).uniform(0, SIDE, (world.terminals, 2))
    pairs = list(_within(places, terminals, world.radius))
    owners, reach = (np.concatenate(each) for each in zip(*pairs, strict=True))
    first = np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=world.customers))))
    return Customers(mean_amount, mean_a_day, reach, first)


def expanded(lengths: Counts) -> tuple[Counts, Counts]:
    """For runs of given lengths laid end to end: of each element, which run it is in, and its place in it.

    >>> [each.tolist() for each in expanded(np.array([2, 0, 1]))]
    [[0, 0, 2], [0, 1, 0]]
    """
    runs = np.repeat(np.arange(lengths.size), lengths)
    return runs, np.arange(runs.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _within(places: Numbers, terminals: Numbers, radius: float) -> Iterator[tuple[Counts, Counts]]:
    """Pairs of a customer and a terminal in reach, by customer; only a strip of the square is measured for each."""
    order = np.argsort(terminals[:, 0], kind="stable")
    x = terminals[order, 0]
    for start in range(0, len(places), _CHUNK):
        some = places[start : start + _CHUNK]
        low, high = np.searchsorted(x, some[:, 0] - radius), np.searchsorted(x, some[:, 0] + radius, side="right")
        rows, steps = expanded(high - low)
        found = order[low[rows] + steps]
        near = np.hypot(*(some[rows] - terminals[found]).T) < radius
        yield start + rows[near], found[near]
