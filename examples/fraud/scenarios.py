"""Who cheats, and how: the handbook's three scenarios, and two that are new.

A scenario marks transactions, and may change their amounts. They come one after the other, as in the handbook; where
two meet, the later one counts. The new ones aren't in the handbook. Each begins on a chosen day, so that models may
have been trained when nobody had ever seen it.

    below the limit    stolen cards whose owners spend much anyway, each used for an amount just below the limit over
                       which everybody looks. For its owner such an amount is nothing special, and the terminal has a
                       clean record, so a model that knows customers and terminals is reassured. One that looks at
                       amounts alone has always been wary of those
    in the crowd       stolen cards of anybody, each used for about a hundred euros, which many people pay. A model that
                       looks at amounts alone sees nothing; one that knows customers sees those for whom it is much;
                       both see it once they have learnt how many of these amounts are fraud
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

NEW_SHARE: Final = 0.03
"""How many of its victims' transactions a new scenario makes fraud, once it has begun."""


class Scenario(IntEnum):
    """Why a transaction is fraud; none is 0."""

    GENUINE = 0
    ABOVE_THE_LIMIT = 1
    COMPROMISED_TERMINAL = 2
    LEAKED_CREDENTIALS = 3
    BELOW_THE_LIMIT = 4
    IN_THE_CROWD = 5


AMOUNTS: Final = {Scenario.BELOW_THE_LIMIT: (160.0, 200.0), Scenario.IN_THE_CROWD: (95.0, 105.0)}
"""Euros; the amounts of the new scenarios."""

VICTIMS: Final = {Scenario.BELOW_THE_LIMIT: BIG_SPENDER, Scenario.IN_THE_CROWD: 0.0}
"""Euros; the mean amount from which customers are struck by the new scenarios."""


@dataclass(frozen=True, slots=True)
class Outbreak:
    """A new scenario, and when it begins.

    Args:
        day: The first day, counted from the world's, 0 or more.
        share: How many of the transactions that it can take it takes, 0 to 1.
        scenario: Which of the new ones.
    """

    day: int
    share: float = NEW_SHARE
    scenario: Scenario = Scenario.BELOW_THE_LIMIT


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
        scenario[taken] = outbreak.scenario
        amount[taken] = world.chance(Chance.OUTBREAK).uniform(*AMOUNTS[outbreak.scenario], int(taken.sum()))
    return amount, scenario.astype(np.int8)


def _taken(world: World, customers: Customers, paid: Payments, outbreak: Outbreak) -> NDArray[np.bool_]:
    drawn = world.chance(Chance.OUTBREAK).random(paid.day.size) < outbreak.share
    victims = customers.mean_amount >= VICTIMS[outbreak.scenario]
    return np.asarray(drawn & (paid.day >= outbreak.day) & victims[paid.customer])


def _stretches(chance: np.random.Generator, days: int, many: int, how: tuple[float, int]) -> NDArray[np.bool_]:
    """Which of many are struck on which day, shape (days, many): each draws anew every day, and stays so for some."""
    share, length = how
    struck = np.cumsum(chance.random((days, many)) < share, axis=0, dtype=np.int16)
    before = np.zeros_like(struck)
    before[length:] = struck[:-length]
    return np.asarray(struck > before)
