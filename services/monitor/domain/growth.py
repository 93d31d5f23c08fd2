"""How a state takes batches in: history grows, and so does the evidence of parts and of relations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

import numpy as np

from services.monitor.domain.budget import weights
from services.monitor.domain.history import Stretch
from services.monitor.domain.look import Yardsticks
from services.monitor.domain.state import State
from services.profile import Window
from services.profile.columns import Numbers


def begun(against: Yardsticks, profile: str, day: date, restarts: int) -> State:
    """A state without records and evidence.

    Args:
        against: What records will be held against.
        profile: The profile's digest.
        day: The day (UTC) of the stretch.
        restarts: How many stretches the day has had before.
    """
    return State(profile, day, restarts, against.alternatives.begin(), against.relations.begin())


def grown(against: Yardsticks, state: State, windows: Sequence[Window], at: datetime) -> tuple[State, Numbers]:
    """The state with batches more, and the parts' evidence after each, shape (batches, parts, alternatives).

    Args:
        against: What they are held against.
        state: What was before.
        windows: Each batch's counts, at least one, each of at least one record.
        at: When they arrived.
    """
    everything = np.array([window.counts for window in windows])
    counts, together = against.parts.collect(everything), everything[:, windows[0].profile.bins :]
    rows = np.array([window.rows for window in windows])
    history = state.history
    kept = weights(history.rows + np.cumsum(rows) - rows, rows, state.expected)
    before = history.total() if history.stretches else np.zeros_like(counts[0])
    evidence = against.alternatives.grown(
        state.evidence, against.parts.effective(before), against.parts.effective(counts), kept
    )
    of_all = int(rows.sum())
    relations = against.relations.grown(state.relations, history, together.sum(axis=0), of_all, float(kept.sum()))
    for held in zip(rows.tolist(), counts, together, strict=True):
        history = history.add(Stretch(at, *held))
    seen = state.rows_seen + of_all
    return replace(state, history=history, evidence=evidence[-1].copy(), relations=relations, rows_seen=seen), evidence
