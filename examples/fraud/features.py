"""What is known at the moment of a transaction, and nothing later: the models' inputs.

    amount, at_night, on_weekend    what the request itself says
    customer_count_Nd               the customer's transactions of the last N days
    customer_mean_Nd                their mean amount, in euros; 0 where there was none
    customer_usual                  the same of the 30 days that ended a week ago, without what turned out to be fraud
    amount_over_usual               how many times the customer's usual amount this one is; 0 where none is known
    terminal_count_Nd               the terminal's transactions of N days that ended a week ago
    terminal_risk_Nd                how many of those were fraud, 0 to 1; 0 where there was none

A customer's window at time t is [t - N days, t): a transaction isn't in its own, nor is another of the same second.
Where labels are used it is [t - 7 - N days, t - 7 days): a week later everything is known about every transaction in
it. The windows are the handbook's (see `world`), but for two: it counts the transaction itself among the customer's,
which a feature store couldn't know yet, and it has no usual amount.

All rows are answered at once: sorted by whom they are about and by time, a window is what lies between two places that
a binary search finds, and its sum a difference of running sums, exact since they are of cents and of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from examples.fraud.simulator import DAY, LATEST
from examples.fraud.world import Counts, Numbers

WINDOWS: Final = (1, 7, 30)
"""Days."""

USUAL: Final = 30
"""Days."""

NIGHT_ENDS: Final = 6
"""The hour, UTC; night begins with the day."""

CENTS: Final = 100
"""In a euro."""

WARM_UP: Final = max(WINDOWS) + LATEST
"""Days after which every window is full."""

_SATURDAY: Final = 5  # pandas counts from Monday, 0


def features_of(transactions: pd.DataFrame) -> pd.DataFrame:
    """The inputs of all transactions, one row each, in their order and with their index.

    Args:
        transactions: In any order; see `simulator.simulate`. Of `scenario` only rows count that were known in time.
    """
    time = transactions["time"].dt
    made = {
        "amount": transactions["amount"].to_numpy(float),
        "at_night": (time.hour < NIGHT_ENDS).to_numpy(float),
        "on_weekend": (time.dayofweek >= _SATURDAY).to_numpy(float),
        **dict(_of_customers(transactions)),
        **dict(_of_terminals(transactions)),
    }
    return pd.DataFrame(made, index=transactions.index)


def _of_customers(transactions: pd.DataFrame) -> Iterator[tuple[str, Numbers]]:
    seconds = _seconds(transactions)
    cents = np.rint(transactions["amount"].to_numpy() * CENTS).astype(np.int64)
    timeline = _Timeline.of(transactions["customer"].to_numpy(), seconds, cents)
    for days in WINDOWS:
        count, total = timeline.between(seconds - days * DAY, seconds)
        yield f"customer_count_{days}d", count.astype(float)
        yield f"customer_mean_{days}d", _ratio(total, count) / CENTS
    known, genuine = seconds - LATEST * DAY, (transactions["scenario"].to_numpy() == 0).astype(np.int64)
    count, total = (
        _Timeline.of(transactions["customer"].to_numpy(), seconds, values).between(known - USUAL * DAY, known)[1]
        for values in (genuine, genuine * cents)
    )
    yield "customer_usual", _ratio(total, count) / CENTS
    yield "amount_over_usual", np.where(total > 0, _ratio(cents * count, total), 0.0)


def _of_terminals(transactions: pd.DataFrame) -> Iterator[tuple[str, Numbers]]:
    seconds = _seconds(transactions)
    fraud = (transactions["scenario"].to_numpy() > 0).astype(np.int64)
    timeline = _Timeline.of(transactions["terminal"].to_numpy(), seconds, fraud)
    known = seconds - LATEST * DAY
    for days in WINDOWS:
        count, frauds = timeline.between(known - days * DAY, known)
        yield f"terminal_count_{days}d", count.astype(float)
        yield f"terminal_risk_{days}d", _ratio(frauds, count)


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Rows by whom they are about and by time, with running sums.

    Args:
        about: Whom each row is about, in the order of the questions, shape (rows,).
        earliest: The first row's time, in seconds.
        span: More than the seconds from the first row to the last.
        keys: Sorted: whom a row is about, times the span, plus its time since the earliest; shape (rows,).
        sums: Of the values before each place, shape (rows + 1,).
    """

    about: Counts
    earliest: int
    span: int
    keys: Counts
    sums: Counts

    @classmethod
    def of(cls, about: Counts, seconds: Counts, values: Counts) -> _Timeline:
        earliest = int(seconds.min(initial=0))
        span = int(seconds.max(initial=0)) - earliest + 1
        keys = about.astype(np.int64) * span + (seconds - earliest)
        order = np.argsort(keys, kind="stable")
        return cls(about.astype(np.int64), earliest, span, keys[order], np.concatenate(([0], np.cumsum(values[order]))))

    def between(self, start: Counts, end: Counts) -> tuple[Counts, Counts]:
        """For each row, how many of the same whom are in [start, end), and the sum of their values."""
        low, high = self._place(start), self._place(end)
        return high - low, self.sums[high] - self.sums[low]

    def _place(self, seconds: Counts) -> Counts:
        """Where the first row is that isn't before a moment, among those of the same whom."""
        since = np.clip(seconds - self.earliest, 0, self.span)
        return np.searchsorted(self.keys, self.about * self.span + since)


def _seconds(transactions: pd.DataFrame) -> Counts:
    return transactions["time"].to_numpy("datetime64[s]").astype(np.int64)


def _ratio(part: Counts, whole: Counts) -> Numbers:
    return np.asarray(part / np.maximum(whole, 1))
