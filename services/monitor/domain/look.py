"""One look at a stretch of evidence: every start and part at once, each number computed when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.budget import Settings, weights
from services.monitor.domain.drift import Bounds, Drift
from services.monitor.domain.evidence import Alternatives, logarithm
from services.monitor.domain.findings import FeatureEffect, RelationEffect
from services.monitor.domain.history import PANE_ROWS, History
from services.monitor.domain.measures import MEASURES
from services.monitor.domain.parts import Parts
from services.monitor.domain.relations import WEIGHT, Relations, Told
from services.monitor.domain.state import ANY
from services.profile import ReferenceProfile
from services.profile.columns import Counts, Numbers
from services.profile.seasons import cell_of

HOURS = 24  # of a day, where each is judged for itself


class Yardsticks:
    """All that a look is held against, made ready once per profile, settings and hour of the week.

    Args:
        profile: The reference.
        settings: What its owner tolerates.
        cell: The hour of the week whose rows of the reference are held against; ANY for all rows.
    """

    def __init__(self, profile: ReferenceProfile, settings: Settings, cell: int = ANY) -> None:
        self.parts, self.relations = Parts(profile), Relations(profile)
        if cell != ANY and profile.seasons is not None:
            self.parts = self.parts.of_the_hour(cell, profile.seasons)
            self.relations = Relations(profile, profile.seasons, cell)
        self.alternatives = Alternatives(self.parts)
        self.drifts = MappingProxyType({name: Drift(self.parts, measure) for name, measure in MEASURES.items()})
        self.drift = self.drifts[settings.effect]
        self.tolerances = np.array([settings.of(part.feature.name) for part in self.parts.parts])


class Hourly:
    """What each hour of the week is held against: all rows, or where the settings are seasonal those of its hour.

    Args:
        profile: The reference.
        settings: What its owner tolerates.
    """

    def __init__(self, profile: ReferenceProfile, settings: Settings) -> None:
        self._profile, self._settings = profile, settings
        self._seasonal = settings.seasonal and profile.seasons is not None
        self.whole = Yardsticks(profile, settings)
        self._latest = ANY, self.whole
        self.stretches = HOURS if self._seasonal else 1

    def cell(self, at: datetime) -> int:
        """The hour of the week that a moment is judged in; ANY where all are alike."""
        return cell_of(at) if self._seasonal else ANY

    def of(self, cell: int) -> Yardsticks:
        """What an hour is held against; the one that was asked for last is kept."""
        if self._latest[0] != cell:
            self._latest = cell, Yardsticks(self._profile, self._settings, cell)
        return self._latest[1]


@dataclass(frozen=True)
class Evidence:
    """What speaks for a change.

    Args:
        parts: E-value per part, shape (parts,).
        relations: E-value per relation, shape (relations,).
    """

    parts: Numbers
    relations: Numbers

    def together(self, parts: NDArray[np.bool_] | None = None, relations: NDArray[np.bool_] | None = None) -> float:
        """All of it, or of some parts and relations, as one e-value: averages of e-values are e-values."""
        held = self.parts if parts is None else self.parts[parts]
        related = self.relations if relations is None else self.relations[relations]
        of_parts = float(held.mean()) if held.size else 0.0
        if not self.relations.size:
            return of_parts
        return (1 - WEIGHT) * of_parts + WEIGHT * (float(related.mean()) if related.size else 0.0)


class Look:
    """What a history shows against a reference.

    Args:
        against: What it is held against.
        history: The records, at least one stretch of them.
        expected: How many records the stretch is expected to have.
        evidence: What speaks for a change.
    """

    def __init__(self, against: Yardsticks, history: History, expected: int, evidence: Evidence) -> None:
        self._against, self.history = against, history
        self.evidence, self.log_evidence = evidence, logarithm(evidence.parts)
        self.log_relations = logarithm(evidence.relations)
        self._counts = against.parts.effective(history.since())
        self._log_weights = np.log(weights(history.starts(), PANE_ROWS, expected))

    @cached_property
    def effects(self) -> Numbers:
        """The judged effect, shape (starts, parts)."""
        return self._against.drift.effects(self._counts)

    def likeliest_start(self, place: int) -> int:
        """The start at which a part's change is estimated to have begun."""
        return self._against.alternatives.likeliest_start(place, self._counts[:, place], self._log_weights)

    @cached_property
    def _together(self) -> Counts:
        return self.history.together_since()

    def relation(self, place: int, start: int) -> RelationEffect:
        """A relation over the records since a start."""
        told = Told(place, float(self.log_relations[place]))
        rows = int(self.history.rows_since()[start])
        return self._against.relations.described(told, int(self._together[start, place]), rows)

    def start_of_relation(self, place: int) -> int:
        """The start at which a relation is estimated to have changed."""
        together, rows = self._together[:, place], self.history.rows_since()
        return self._against.relations.likeliest_start(place, together, rows, self._log_weights)

    def at(self, start: int, places: Counts) -> tuple[Counts, Counts]:
        """One start paired with each of some parts."""
        return np.full(len(places), start), np.asarray(places)

    def pairs(self, where: NDArray[np.bool_], log_chance: float) -> tuple[Counts, Counts]:
        """The starts and parts of a mask, without those that have too few rows for any bound to say anything."""
        starts, places = np.nonzero(where)
        if not starts.size:
            return starts, places
        log_chances = log_chance + self._log_weights[starts]
        worth = self._against.drift.may_differ(self._counts, starts, places, log_chances)
        return starts[worth], places[worth]

    def bounds(self, starts: Counts, places: Counts, log_chance: float) -> Bounds:
        """The effect of pairs, with bounds that for all starts together fail with the given chance."""
        return self._against.drift.bounds(self._counts, starts, places, log_chance + self._log_weights[starts])

    def described(self, starts: Counts, places: Counts, log_chance: float) -> tuple[FeatureEffect, ...]:
        """Pairs in words and numbers: for each feature the part furthest beyond its tolerance; largest share first."""
        bounds = self.bounds(starts, places, log_chance)
        order = np.lexsort((-bounds.effect, -bounds.lower / self._against.tolerances[places]))
        first: dict[str, int] = {}
        for pair in order.tolist():
            first.setdefault(self._against.parts.parts[places[pair]].feature.name, pair)
        total = sum(float(bounds.effect[pair]) for pair in first.values()) or 1.0
        described = (
            self._described(bounds, pair, int(starts[pair]), int(places[pair]), total) for pair in first.values()
        )
        return tuple(sorted(described, key=lambda effect: -effect.share))

    def _described(self, bounds: Bounds, pair: int, start: int, place: int, total: float) -> FeatureEffect:
        part = self._against.parts.parts[place]
        counts = self._counts[start]
        return FeatureEffect(
            feature=part.feature.name,
            part=part.name,
            effect=float(bounds.effect[pair]),
            lower=float(bounds.lower[pair]),
            upper=float(bounds.upper[pair]),
            tolerance=float(self._against.tolerances[place]),
            share=float(bounds.effect[pair]) / total,
            log_evidence=float(self.log_evidence[place]),
            effects={name: float(drift.effects(counts)[place]) for name, drift in self._against.drifts.items()},
        )
