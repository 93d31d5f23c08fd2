"""One look at a stretch of evidence: every start and part at once, each number computed when it is first asked for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain import drift
from services.monitor.domain.budget import log_weights
from services.monitor.domain.evidence import Predictions, combined
from services.monitor.domain.findings import FeatureEffect
from services.monitor.domain.history import History
from services.monitor.domain.parts import Parts
from services.profile.columns import Counts, Numbers


class Look:
    """What a history shows against a reference.

    Args:
        parts: What is judged.
        predictions: The two predictions of each part.
        tolerances: Of each part, shape (parts,).
        history: The records, at least one stretch of them.
    """

    def __init__(self, parts: Parts, predictions: Predictions, tolerances: Numbers, history: History) -> None:
        self.parts, self.tolerances, self.history = parts, tolerances, history
        self._predictions = predictions
        self._counts = parts.collect(history.since())
        self._log_weights = log_weights(history.starts())

    @cached_property
    def effects(self) -> Numbers:
        """The stability index, shape (starts, parts)."""
        return drift.effects(self.parts, self._counts)

    @cached_property
    def _by_start(self) -> Numbers:
        return self._predictions.log_evidence(self._counts)

    @cached_property
    def log_evidence(self) -> Numbers:
        """Each part's evidence over all starts, shape (parts,)."""
        return combined(self._by_start, self.history.starts())

    def likeliest_start(self, place: int) -> int:
        """The start for which a part's evidence is strongest: where its change is estimated to have begun."""
        return int(np.argmax(self._by_start[:, place] + self._log_weights))

    def at(self, start: int, places: Counts) -> tuple[Counts, Counts]:
        """One start paired with each of some parts."""
        return np.full(len(places), start), np.asarray(places)

    def pairs(self, where: NDArray[np.bool_], log_chance: float) -> tuple[Counts, Counts]:
        """The starts and parts of a mask, without those that have too few rows for any bound to say anything."""
        worth = drift.worth_bounding(self.parts, self._counts, -log_chance)
        starts, places = np.nonzero(where & worth)
        return starts, places

    def bounds(self, starts: Counts, places: Counts, log_chance: float) -> drift.Bounds:
        """The stability index of pairs, with bounds that for all starts together fail with the given chance."""
        return drift.bounds(self.parts, self._counts[starts, places], places, log_chance + self._log_weights[starts])

    def described(self, starts: Counts, places: Counts, log_chance: float) -> tuple[FeatureEffect, ...]:
        """Pairs in words and numbers: for each feature the part furthest beyond its tolerance; largest share first."""
        bounds = self.bounds(starts, places, log_chance)
        order = np.lexsort((-bounds.effect, -bounds.lower / self.tolerances[places]))
        first: dict[str, int] = {}
        for pair in order.tolist():
            first.setdefault(self.parts.parts[places[pair]].feature, pair)
        total = sum(float(bounds.effect[pair]) for pair in first.values()) or 1.0
        described = (self._described(bounds, pair, int(places[pair]), total) for pair in first.values())
        return tuple(sorted(described, key=lambda effect: -effect.share))

    def _described(self, bounds: drift.Bounds, pair: int, place: int, total: float) -> FeatureEffect:
        part = self.parts.parts[place]
        return FeatureEffect(
            feature=part.feature,
            part=part.name,
            effect=float(bounds.effect[pair]),
            lower=float(bounds.lower[pair]),
            upper=float(bounds.upper[pair]),
            tolerance=float(self.tolerances[place]),
            share=float(bounds.effect[pair]) / total,
            log_evidence=float(self.log_evidence[place]),
        )
