"""The records of one stretch of evidence, kept so that any moment in it may have been the change.

Records are kept as counts in stretches that follow one another. A stretch closes when it has a pane's worth of
records, and old ones are joined, so that the starts lie ever further apart the longer ago they are: the moment of a
change is known to about half of what has passed since, with some twenty stretches for a million records (exponential
histograms: Datar et al. 2002; ADWIN keeps its window so: Bifet and Gavaldà 2007). Where a stretch ends depends on the
number of records alone, never on what they hold, so every start is an honest one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from services.profile import Window
from services.profile.columns import Counts

PANE_ROWS = 64  # the finest start: below some dozens of records no bound says anything


@dataclass(frozen=True, eq=False)
class Stretch:
    """Records that followed one another.

    Args:
        pane: The number of the pane it starts with, from 1.
        began: When its first record arrived.
        rows: How many records.
        counts: Rows per bin, shape (bins of all features,).
    """

    pane: int
    began: datetime
    rows: int
    counts: Counts


@dataclass(frozen=True)
class History:
    """All stretches since evidence restarted, oldest first.

    Args:
        stretches: The stretches.
        panes: How many panes have been started.
    """

    stretches: tuple[Stretch, ...] = ()
    panes: int = 0

    @property
    def rows(self) -> int:
        """How many records arrived since evidence restarted."""
        return sum(stretch.rows for stretch in self.stretches)

    def add(self, window: Window, at: datetime) -> History:
        """The history with a batch more."""
        if not window.rows:
            return self
        if self.stretches and self.stretches[-1].rows < PANE_ROWS:
            last = self.stretches[-1]
            grown = replace(last, rows=last.rows + window.rows, counts=last.counts + window.counts)
            return replace(self, stretches=(*self.stretches[:-1], grown))
        fresh = Stretch(self.panes + 1, at, window.rows, window.counts)
        return History(_joined((*self.stretches, fresh)), self.panes + 1)

    def since(self) -> Counts:
        """Rows per bin from each start to now, shape (starts, bins of all features)."""
        return np.cumsum([stretch.counts for stretch in reversed(self.stretches)], axis=0)[::-1]

    def rows_since(self) -> Counts:
        """Records from each start to now, shape (starts,)."""
        return np.cumsum([stretch.rows for stretch in reversed(self.stretches)])[::-1]

    def starts(self) -> Counts:
        """The pane that each start is, shape (starts,)."""
        return np.array([stretch.pane for stretch in self.stretches])


def _joined(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Join two neighbours that together are no longer than all that came after them."""
    after = sum(stretch.rows for stretch in stretches)
    kept: list[Stretch] = []
    for stretch in stretches:
        after -= stretch.rows
        if kept and kept[-1].rows + stretch.rows <= after:
            last = kept[-1]
            kept[-1] = replace(last, rows=last.rows + stretch.rows, counts=last.counts + stretch.counts)
        else:
            kept.append(stretch)
    return tuple(kept)
