"""Card transactions that never happened, as many as wanted: millions in seconds, and the same for the same seed.

Each customer pays some times a day (Poisson), around noon (normal, with a deviation of some five and a half hours), an
amount by habit (normal, never negative) at a terminal within reach; `scenarios` then says what of it is fraud. What
turned out is known later: a fraud when the customer has complained, everything else when a week has passed without a
complaint. `world` names the source of the design; the delays are ours.

    python -m examples.fraud.simulator --days 150 --customers 1000 --terminals 2000 --into transactions.parquet
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from examples.fraud.scenarios import Outbreak, Payments, Scenario, cheat
from examples.fraud.world import Chance, Counts, Customers, Numbers, World, customers_of, expanded

DAY: Final = 86_400
"""Seconds in a day."""

TIME_OF_DAY: Final = (DAY / 2, 20_000.0)
"""Mean and standard deviation of when in a day somebody pays, in seconds."""

COMPLAINT: Final = (1.0, 2.0)
"""Days until a fraud is known: never less than the first, and on average the second more."""

LATEST: Final = 7
"""Days after which everything is known: a fraud by then at the latest, and that the others are none."""

DOCUMENTED: Final = World(customers=1_000, terminals=2_000, days=150, seed=6)
"""The world whose transactions train the models."""

DATA: Final = Path(__file__).parent / "data" / "transactions.parquet"
"""Its transactions."""


def simulate(world: World, outbreak: Outbreak | None = None) -> pd.DataFrame:
    """A world's transactions, in the order of time.

    Args:
        world: Which one.
        outbreak: A new scenario that begins some day. All else stays as it is without it.

    Returns:
        One row each: `time` and `known_at` (when it is known whether it was fraud), UTC; `customer` and `terminal`,
        from 0; `amount`, euros and cents; `scenario`, see `Scenario`: fraud is where it isn't 0.
    """
    customers = customers_of(world)
    seconds, paid = _payments(world, customers)
    amount, scenario = cheat(world, customers, paid, outbreak)
    delay = _delays(world, scenario > Scenario.GENUINE)
    order = np.lexsort((paid.customer, seconds))
    began = np.datetime64(world.first_day, "s")
    columns = {
        "time": began + seconds,
        "customer": paid.customer.astype(np.int32),
        "terminal": paid.terminal.astype(np.int32),
        "amount": amount.round(2),
        "scenario": scenario,
        "known_at": began + (seconds + delay),
    }
    return pd.DataFrame({name: values[order] for name, values in columns.items()})


def _payments(world: World, customers: Customers) -> tuple[Counts, Payments]:
    """When, in seconds since the world began, and what is paid; those whose time falls outside the day aren't made."""
    habits = world.chance(Chance.HABITS)
    a_day = np.where(np.diff(customers.first) > 0, customers.mean_a_day, 0.0)  # who reaches no terminal never pays
    cell, _ = expanded(habits.poisson(a_day, (world.days, world.customers)).ravel())
    time = habits.normal(*TIME_OF_DAY, cell.size)
    amount = _amounts(habits, customers.mean_amount[cell % world.customers])
    made = (time > 0) & (time < DAY)
    day, customer = np.divmod(cell[made], world.customers)
    payments = Payments(day, customer, _terminals(world, customers, customer), amount[made])
    return day * DAY + time[made].astype(np.int64), payments


def _amounts(chance: np.random.Generator, mean: Numbers) -> Numbers:
    drawn = chance.normal(mean, mean / 2)
    return np.where(drawn < 0, chance.uniform(0, 2 * mean), drawn)


def _terminals(world: World, customers: Customers, customer: Counts) -> Counts:
    first, reached = customers.first[customer], np.diff(customers.first)[customer]
    drawn = world.chance(Chance.CHOICES).random(customer.size)
    return np.asarray(customers.reach[first + (drawn * reached).astype(np.int64)])


def _delays(world: World, fraud: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Counts:
    """Seconds from each transaction to when it is known what it was."""
    least, more = COMPLAINT
    complained = least + world.chance(Chance.OUTCOMES).exponential(more, fraud.size)
    days = np.where(fraud, np.minimum(complained, LATEST), LATEST)
    return np.asarray((days * DAY).astype(np.int64))


def main() -> None:
    """Write a world's transactions as Parquet."""
    parser = argparse.ArgumentParser(description="Simulated card transactions, as a Parquet file.")
    usual = World()
    parser.add_argument("--customers", type=int, default=usual.customers)
    parser.add_argument("--terminals", type=int, default=usual.terminals)
    parser.add_argument("--days", type=int, default=usual.days)
    parser.add_argument("--first-day", type=date.fromisoformat, default=usual.first_day)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--outbreak", type=int, help="the day on which a new scenario begins")
    parser.add_argument("--into", type=Path, required=True)
    wanted = parser.parse_args()
    world = World(wanted.customers, wanted.terminals, wanted.days, wanted.first_day, seed=wanted.seed)
    outbreak = None if wanted.outbreak is None else Outbreak(wanted.outbreak)
    simulate(world, outbreak).to_parquet(wanted.into, index=False, compression="zstd")


if __name__ == "__main__":
    main()
