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
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    made = {
        **request_of(transactions),
        **dict(of_customers(transactions)),
        **dict(of_terminals(transactions)),
    }
    return pd.DataFrame(made, index=transactions.index)


def request_of(transactions: pd.DataFrame) -> dict[str, Numbers]:
    """What the requests themselves say."""
    time = transactions["time"].dt
    return {
        "amount": transactions["amount"].to_numpy(float),
        "at_night": (time.hour < NIGHT_ENDS).to_numpy(float),
        "on_weekend": (time.dayofweek >= _SATURDAY).to_numpy(float),
    }


def of_customers(transactions: pd.DataFrame, *, after: int = 0) -> Iterator[tuple[str, Numbers]]:
    """What is known of each transaction's customer, so many seconds after it."""
    timeline = _Timeline.of(transactions["customer"].to_numpy(), _seconds(transactions), after)
    cents = np.rint(transactions["amount"].to_numpy() * CENTS).astype(np.int64)
    genuine = (transactions["scenario"].to_numpy() == 0).astype(np.int64)
    paid = timeline.running(cents)
    for days in WINDOWS:
        low, high = timeline.window(days)
        yield f"customer_count_{days}d", timeline.back(high - low).astype(float)
        yield f"customer_mean_{days}d", timeline.back(_ratio(paid[high] - paid[low], high - low) / CENTS)
    low, high = timeline.window(USUAL, ended=LATEST)
    count, total = (each[high] - each[low] for each in map(timeline.running, (genuine, genuine * cents)))
    yield "customer_usual", timeline.back(_ratio(total, count) / CENTS)
    yield "amount_over_usual", timeline.back(np.where(total > 0, _ratio(timeline.sorted(cents) * count, total), 0.0))


def of_terminals(transactions: pd.DataFrame, *, after: int = 0) -> Iterator[tuple[str, Numbers]]:
    """What is known of each transaction's terminal, so many seconds after it."""
    timeline = _Timeline.of(transactions["terminal"].to_numpy(), _seconds(transactions), after)
    frauds = timeline.running((transactions["scenario"].to_numpy() > 0).astype(np.int64))
    for days in WINDOWS:
        low, high = timeline.window(days, ended=LATEST)
        yield f"terminal_count_{days}d", timeline.back(high - low).astype(float)
        yield f"terminal_risk_{days}d", timeline.back(_ratio(frauds[high] - frauds[low], high - low))


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Rows sorted by whom they are about and by time. Asked in this order, a search finds neighbours side by side.

    Args:
        order: Which row is at each place, shape (rows,).
        since: Seconds since the earliest row, by place.
        base: Whom a row is about, times `span`, by place; with `since` added, the key that it is sorted by.
        span: More than the seconds from the first row to the last, and `after`.
        after: How many seconds after a row its windows are asked for.
    """

    order: Counts
    since: Counts
    base: Counts
    span: int
    after: int

    @classmethod
    def of(cls, about: Counts, seconds: Counts, after: int) -> _Timeline:
        since = seconds - seconds.min(initial=np.iinfo(np.int64).max)
        span = int(since.max(initial=0)) + after + 1
        base = about.astype(np.int64) * span
        order = np.argsort(base + since, kind="stable")
        return cls(order, since[order], base[order], span, after)

    def window(self, days: int, ended: int = 0) -> tuple[Counts, Counts]:
        """Where each place's window of days begins, and where it ends, so many days before its own moment."""
        until = self.since + self.after - ended * DAY
        return self._first(until - days * DAY), self._first(until)

    def running(self, values: Counts) -> Counts:
        """Sums of rows' values before each place, shape (rows + 1,)."""
        return np.concatenate(([0], np.cumsum(values[self.order])))

    def sorted(self, values: Counts) -> Counts:
        """Rows' values by place."""
        return values[self.order]

    def back(self, values: NDArray[Any]) -> NDArray[Any]:
        """Places' values by row."""
        rows = np.empty_like(values)
        rows[self.order] = values
        return rows

    def _first(self, moments: Counts) -> Counts:
        """The first place of the same whom that isn't before a moment."""
        return np.searchsorted(self.base + self.since, self.base + np.clip(moments, 0, self.span))


def _seconds(transactions: pd.DataFrame) -> Counts:
    return transactions["time"].to_numpy("datetime64[s]").astype(np.int64)


def _ratio(part: Counts, whole: Counts) -> Numbers:
    return np.asarray(part / np.maximum(whole, 1))
