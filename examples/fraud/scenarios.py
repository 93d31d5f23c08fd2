"""Who cheats, and how: the handbook's three scenarios, and one that is new.

A scenario marks transactions, and may change their amounts. They come one after the other, as in the handbook; where
two meet, the later one counts. The new one isn't in the handbook. It begins on a chosen day, so that models may have
been trained when nobody had ever seen it: stolen cards whose owners spend much anyway, each used for an amount just
below the limit over which everybody looks. For its owner such an amount is nothing special, and the terminal has a
clean record, so a model that knows customers and terminals is reassured. One that looks at amounts alone has always
been wary of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from examples.fraud.world import Chance, Counts, Customers, Numbers, World

LIMIT: Final = 220.0
"""Euros; what is above it is fraud, in the first scenario."""

COMPROMISED: Final = (2 / 10_000, 28)
"""The chance of a terminal to be compromised on a day, and for how many days it then is."""

LEAKED: Final = (3 / 5_000, 14)
"""The chance of a customer's credentials to leak on a day, and for how many days they are then used."""

LEAKED_SHARE: Final = 1 / 3
"""How many of such a customer's transactions are fraud."""

LEAKED_FACTOR: Final = 5.0
"""How much more than the customer would the fraudster spends."""

BIG_SPENDER: Final = 80.0
"""Euros; a customer's mean amount from which an amount just below the limit is nothing special."""

JUST_BELOW: Final = (160.0, 200.0)
"""Euros; the amounts of the new scenario."""

BELOW_THE_LIMIT_SHARE: Final = 0.03
"""How many of the big spenders' transactions it makes fraud, once it has begun."""


class Scenario(IntEnum):
    """Why a transaction is fraud; none is 0."""

    GENUINE = 0
    ABOVE_THE_LIMIT = 1
    COMPROMISED_TERMINAL = 2
    LEAKED_CREDENTIALS = 3
    BELOW_THE_LIMIT = 4


@dataclass(frozen=True, slots=True)
class Outbreak:
    """A new scenario, and when it begins.

    Args:
        day: The first day, counted from the world's, 0 or more.
        share: How many of the transactions that it can take it takes, 0 to 1.
    """

    day: int
    share: float = BELOW_THE_LIMIT_SHARE


@dataclass(frozen=True, slots=True)
class Payments:
    """Transactions as scenarios see them: one row each, all of shape (rows,), in any order.

    Args:
        day: Counted from the world's first.
        customer: Who pays.
        terminal: Where.
        amount: Euros.
    """

    day: Counts
    customer: Counts
    terminal: Counts
    amount: Numbers


def cheat(
    world: World, customers: Customers, paid: Payments, outbreak: Outbreak | None
) -> tuple[Numbers, NDArray[np.int8]]:
    """The amounts with what fraudsters made of them, and each row's scenario.

    Everything but the outbreak is the same with it and without it.
    """
    scenario = np.where(paid.amount > LIMIT, Scenario.ABOVE_THE_LIMIT, Scenario.GENUINE)
    stretches = _stretches(world.chance(Chance.COMPROMISED), world.days, world.terminals, COMPROMISED)
    scenario[stretches[paid.day, paid.terminal]] = Scenario.COMPROMISED_TERMINAL
    chance = world.chance(Chance.LEAKED)
    stretches = _stretches(chance, world.days, world.customers, LEAKED)
    leaked = stretches[paid.day, paid.customer] & (chance.random(paid.day.size) < LEAKED_SHARE)
    scenario[leaked] = Scenario.LEAKED_CREDENTIALS
    amount = np.where(leaked, paid.amount * LEAKED_FACTOR, paid.amount)
    if outbreak is not None:
        taken = _taken(world, customers, paid, outbreak)
        scenario[taken] = Scenario.BELOW_THE_LIMIT
        amount[taken] = world.chance(Chance.OUTBREAK).uniform(*JUST_BELOW, int(taken.sum()))
    return amount, scenario.astype(np.int8)


def _taken(world: World, customers: Customers, paid: Payments, outbreak: Outbreak) -> NDArray[np.bool_]:
    drawn = world.chance(Chance.OUTBREAK).random(paid.day.size) < outbreak.share
    return drawn & (paid.day >= outbreak.day) & (customers.mean_amount[paid.customer] >= BIG_SPENDER)


def _stretches(chance: np.random.Generator, days: int, many: int, how: tuple[float, int]) -> NDArray[np.bool_]:
    """Which of many are struck on which day, shape (days, many): each draws anew every day, and stays so for some."""
    share, length = how
    struck = np.cumsum(chance.random((days, many)) < share, axis=0, dtype=np.int16)
    before = np.zeros_like(struck)
    before[length:] = struck[:-length]
    return np.asarray(struck > before)
