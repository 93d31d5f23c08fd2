"""Payments as they would come in, one by one, each with what it was and when the bank will know.

The month after the data is simulated twice: as it would have been, and with a new scenario. A payment that the
scenario changes has a twin, and `outbreak` is the change from one to the other.

    python -m examples.fraud.traffic --count 3 --outbreak
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Final

import numpy as np
import pandas as pd

from examples.fraud.features import features_of
from examples.fraud.scenarios import Outbreak, Scenario
from examples.fraud.simulator import DOCUMENTED, simulate

DAYS: Final = 30
"""Days that come in, after those that trained the models."""

SHARES: Final = {Scenario.BELOW_THE_LIMIT: 0.15, Scenario.IN_THE_CROWD: 0.015}
"""How many of its victims' payments a new scenario takes, so that a demonstration needn't wait for weeks."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment.

    Args:
        inputs: What is known of it at its moment, by column: what a model may take.
        unit: The customer, such as customer-0042.
        label: What it turns out to be, as the models name their classes: 1 for fraud, or 0.
        known_after: How long it takes until the bank knows.
        twin: The same payment once the new scenario goes on; None where it changes nothing.
    """

    inputs: Mapping[str, float]
    unit: str
    label: str
    known_after: timedelta
    twin: Payment | None = None


def outbreak_of(scenario: Scenario) -> Outbreak:
    """A new scenario that begins right after the data."""
    return Outbreak(DOCUMENTED.days, SHARES[scenario], scenario)


def payments(seed: int = DOCUMENTED.seed, scenario: Scenario = Scenario.BELOW_THE_LIMIT) -> Iterator[Payment]:
    """Every payment of the month after the data, once, in no order: any hundred of them have its nights and weekends.

    Args:
        seed: Of the world that they come from. The data's own: the customers that trained the models.
        scenario: The new one that twins are of.
    """
    world = replace(DOCUMENTED, days=DOCUMENTED.days + DAYS, seed=seed)
    usual, struck = (list(_month(simulate(world, how))) for how in (None, outbreak_of(scenario)))
    for place in np.random.default_rng(seed).permutation(len(usual)):
        one, twin = usual[place], struck[place]
        yield one if one == twin else replace(one, twin=twin)


def payments_a_day() -> float:
    """How many payments a day of that world has."""
    return len(simulate(DOCUMENTED)) / DOCUMENTED.days


def outbreak(payment: Payment) -> Payment:
    """The payment, now that the new scenario goes on."""
    return payment.twin or payment


def _month(transactions: pd.DataFrame) -> Iterator[Payment]:
    """The payments of the last days of a world."""
    inputs = features_of(transactions)
    began = transactions["time"].min().normalize() + timedelta(days=DOCUMENTED.days)
    month = (transactions["time"] >= began).to_numpy()
    paid = transactions[month]
    known_after = (paid["known_at"] - paid["time"]).dt.to_pytimedelta()
    for values, customer, scenario, after in zip(
        inputs[month].to_dict("records"), paid["customer"], paid["scenario"], known_after, strict=True
    ):
        yield Payment(values, f"customer-{customer:04d}", str(int(scenario > 0)), after)


def main() -> None:
    """Print payments as JSON, one a line."""
    parser = argparse.ArgumentParser(description="Payments of the month after the data, as JSON lines.")
    parser.add_argument("--seed", type=int, default=DOCUMENTED.seed)
    parser.add_argument("--outbreak", action="store_true", help="with the new scenario")
    parser.add_argument("--count", type=int, default=10)
    wanted = parser.parse_args()
    for payment in islice(payments(wanted.seed), wanted.count):
        shown = dataclasses.asdict(outbreak(payment) if wanted.outbreak else payment)
        shown.pop("twin")
        sys.stdout.write(json.dumps(shown, default=lambda span: span.total_seconds()) + "\n")


if __name__ == "__main__":
    main()
