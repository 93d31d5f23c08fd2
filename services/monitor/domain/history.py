"""The records of one stretch of evidence, kept so that any moment in it may have been the change.

Records are kept as counts in stretches that follow one another. A stretch closes when it has a pane's worth of
records, and old ones are joined, so that the starts lie ever further apart the longer ago they are: the moment of a
change is known to about half of what has passed since, with some twenty stretches for a million records (exponential
histograms: Datar et al. 2002; ADWIN keeps its window so: Bifet and Gavaldà 2007). Where a stretch ends depends on the
number of records alone, never on what they hold, so every start is an honest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from services.profile.columns import Counts

PANE_ROWS = 64  # the finest start: below some dozens of records no bound says anything


@dataclass(frozen=True, eq=False)
class Stretch:
    """Records that followed one another.

    Args:
        began: When its first record arrived.
        rows: How many records.
        counts: Rows per part and group, shape (parts, groups).
        together: Rows that go together per relation, shape (relations,).
    """

    began: datetime
    rows: int
    counts: Counts
    together: Counts

    def __add__(self, other: Stretch) -> Stretch:
        return Stretch(self.began, self.rows + other.rows, self.counts + other.counts, self.together + other.together)


@dataclass(frozen=True)
class History:
    """All stretches since evidence restarted, oldest first.

    Args:
        stretches: The stretches.
    """

    stretches: tuple[Stretch, ...] = ()

    @property
    def rows(self) -> int:
        """How many records arrived since evidence restarted."""
        return sum(stretch.rows for stretch in self.stretches)

    def add(self, more: Stretch) -> History:
        """The history with a batch more, of at least one record."""
        if self.stretches and self.stretches[-1].rows < PANE_ROWS:
            return History((*self.stretches[:-1], self.stretches[-1] + more))
        return History(_joined((*self.stretches, more)))

    def since(self) -> Counts:
        """Rows per part and group from each start to now, shape (starts, parts, groups)."""
        return np.cumsum([stretch.counts for stretch in reversed(self.stretches)], axis=0)[::-1]

    def together_since(self) -> Counts:
        """Rows that go together per relation from each start to now, shape (starts, relations)."""
        return np.cumsum([stretch.together for stretch in reversed(self.stretches)], axis=0)[::-1]

    def total(self) -> Counts:
        """Rows per part and group of all stretches, shape (parts, groups); of at least one."""
        return np.asarray(np.sum([stretch.counts for stretch in self.stretches], axis=0))

    def rows_since(self) -> Counts:
        """Records from each start to now, shape (starts,)."""
        return np.cumsum([stretch.rows for stretch in reversed(self.stretches)])[::-1]

    def starts(self) -> Counts:
        """How many records came before each start, shape (starts,)."""
        return self.rows - self.rows_since()


def _joined(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Join two neighbours that together are no longer than all that came after them."""
    after = sum(stretch.rows for stretch in stretches)
    kept: list[Stretch] = []
    for stretch in stretches:
        after -= stretch.rows
        if kept and kept[-1].rows + stretch.rows <= after:
            kept[-1] += stretch
        else:
            kept.append(stretch)
    return tuple(kept)
