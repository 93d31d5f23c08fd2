"""What a judge would have said of panes that went by: how evidence grew, and what would have been found when.

The same judge with the same settings sees coarser batches here than it saw live, so it may find a thing a pane later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.monitor.domain.findings import FeatureEffect, Finding
from services.monitor.domain.judge import Judge
from services.monitor.domain.panes import Pane


@dataclass(frozen=True)
class Moment:
    """How things stood at the end of a pane.

    Args:
        at: The pane's end.
        rows: The pane's records.
        log_evidence: Natural logarithm of the combined e-value.
        features: Every feature's effect since evidence restarted, largest share first; what was found, where it was.
        findings: What was found.
    """

    at: datetime
    rows: int
    log_evidence: float
    features: tuple[FeatureEffect, ...]
    findings: tuple[Finding, ...]


def replay(judge: Judge, panes: Sequence[Pane]) -> tuple[Moment, ...]:
    """The moments of panes, in the order of time."""
    if not panes:
        return ()
    state = judge.begin(panes[0].began)
    moments = []
    for pane in panes:
        state, findings = judge.observe(state, [pane.window], pane.until)
        standing = judge.standing(state)
        features = standing.features or tuple(feature for found in findings for feature in found.features)
        log_evidence = max([standing.log_evidence, *(found.log_evidence for found in findings)])
        moments.append(Moment(pane.until, pane.window.rows, log_evidence, features, findings))
    return tuple(moments)
