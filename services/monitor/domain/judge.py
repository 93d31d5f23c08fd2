"""The judge of one version in one role: batches of counts in, findings out.

    judge = Judge(profile, Settings())
    state = judge.begin(now)
    state, findings = judge.observe(state, windows, now)      # in arrival order, each record once

Every batch joins the history of the present stretch of evidence and the evidence itself. Then all is looked at once:
each start in the history is asked the first two questions, the evidence the third.

1. Is a part's effect over the records since this start beyond its tolerance at the least (`drift`)?
   `Detected`: the part drifts from now on, and evidence restarts. Parts that surely changed too, and by estimate
   beyond their tolerance, join the alarm instead of raising one each a few hundred records later. A score is what the
   model makes of its inputs, so while an input drifts, scores aren't judged.
2. Is a drifting part's effect over the records since this start, all of them after the alarm, within its tolerance at
   the most? When it is for all drifting parts: `Cleared`, and evidence restarts. Any start after the alarm will do, not
   only the alarm itself: the broken records that came before a repair would hide the repair for as long again.
3. Does anything speak for a change at all (`evidence`)? `Noticed`, once per stretch.

Evidence restarts with each day too, and with `begin`. The judge itself holds no state: the same states and batches
give the same findings on any replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Invalid
from services.monitor.domain import findings as words
from services.monitor.domain.budget import ALL_CLEAR, Settings, log_threshold, weights
from services.monitor.domain.evidence import logarithm
from services.monitor.domain.findings import Cleared, Detected, FeatureEffect, Finding, Noticed
from services.monitor.domain.history import History
from services.monitor.domain.look import Look, Yardsticks
from services.monitor.domain.state import State
from services.profile import ReferenceProfile, Role, Window

LOG_ALL_CLEAR = float(np.log(ALL_CLEAR))


@dataclass(frozen=True)
class Standing:
    """How a version stands, for whoever asks between findings.

    Args:
        features: Every feature's effect over the records of the present stretch of evidence, largest share first.
        log_evidence: Natural logarithm of the combined e-value.
    """

    features: tuple[FeatureEffect, ...]
    log_evidence: float


class Judge:
    """Judges windows against one profile.

    Args:
        profile: The version's reference.
        settings: What its owner tolerates, and how many false alarms.
    """

    def __init__(self, profile: ReferenceProfile, settings: Settings) -> None:
        self.profile = profile
        self.settings = settings
        self._against = Yardsticks(profile, settings)
        self._parts = self._against.parts
        scores = {feature.name for feature in profile.features if feature.role is Role.SCORE}
        self._scores = np.array([part.feature.name in scores for part in self._parts.parts])
        self._tolerances = self._against.tolerances

    @property
    def log_threshold(self) -> float:
        """Natural logarithm of what evidence must reach in a day's first stretch to be noticed."""
        return log_threshold(self.settings.false_alarms_per_year, 0)

    def by(self, **settings: Any) -> Judge:
        """The same judge by other settings, where it is given any.

        Raises:
            Invalid: they make no sense.
        """
        if "tolerances" in settings:
            settings["tolerances"] = MappingProxyType(dict(settings["tolerances"]))
        return Judge(self.profile, replace(self.settings, **settings)) if settings else self

    def begin(self, at: datetime, restarts: int = 0) -> State:
        """A fresh state, for a version that took a role at a moment.

        Args:
            at: The moment.
            restarts: How many stretches of evidence the deployment has begun on that day already: they share its
                part of the year's false alarms.
        """
        day = at.astimezone(UTC).date()
        return State(self.profile.digest, day=day, restarts=restarts, evidence=self._against.alternatives.begin())

    def observe(self, state: State, windows: Sequence[Window], at: datetime) -> tuple[State, tuple[Finding, ...]]:
        """Take batches in, and say what they show.

        Args:
            state: What `begin` or the last `observe` gave.
            windows: Each batch's counts, under the judge's profile. Evidence grows batch by batch; the more records
                one has, the more is lost to Jensen's inequality: from a tenth of the reference on it is felt.
            at: When they arrived.
        """
        if not all(state.profile == digest == self.profile.digest for digest in (w.profile.digest for w in windows)):
            raise Invalid("the state, the windows and the judge have different profiles")
        state = self._of_the_day(state, at)
        held = [window for window in windows if window.rows]
        if not held:
            return state, ()
        state, most = self._grown(state, held, at)
        look = self._look(state)
        return self._detect(state, look, at) or self._clear(state, look, at) or self._notice(state, look, most, at)

    def standing(self, state: State) -> Standing:
        """How things stand over the records of the present stretch of evidence."""
        if not state.history.stretches:
            return Standing((), 0.0)
        look = self._look(state)
        everything = look.at(0, np.arange(len(self._parts)))
        return Standing(look.described(*everything, self._log_chance(state)), float(logarithm(look.evidence.mean())))

    def log_evidence(self, state: State) -> float:
        """Natural logarithm of the evidence that anything changed since evidence restarted."""
        return float(logarithm(self._against.alternatives.by_part(state.evidence).mean()))

    def _grown(self, state: State, windows: Sequence[Window], at: datetime) -> tuple[State, float]:
        """The state with batches more, and the most evidence in between that something changed that would be news."""
        counts = np.stack([self._parts.collect(window.counts) for window in windows])
        rows = np.array([window.rows for window in windows])
        history = state.history
        kept = weights(history.rows + np.cumsum(rows) - rows, rows, state.expected)
        before = history.total() if history.stretches else np.zeros_like(counts[0])
        evidence = self._against.alternatives.grown(
            state.evidence, self._parts.effective(before), self._parts.effective(counts), kept
        )
        for each, held in zip(rows.tolist(), counts, strict=True):
            history = history.add(each, held, at)
        seen = state.rows_seen + int(rows.sum())
        grown = replace(state, history=history, evidence=evidence[-1].copy(), rows_seen=seen)
        watched = self._watched(state)
        if state.noticed or not watched.any():
            return grown, -np.inf
        most = self._against.alternatives.by_part(evidence)[:, watched].mean(axis=-1).max()
        return grown, float(logarithm(most))

    def _detect(self, state: State, look: Look, at: datetime) -> tuple[State, tuple[Finding, ...]] | None:
        chance = self._log_chance(state)
        starts, places = look.pairs((look.effects > self._tolerances) & self._watched(state), chance)
        if not starts.size:
            return None
        excess = look.bounds(starts, places, chance).lower / self._tolerances[places]
        if not np.any(excess > 1.0):
            return None
        beyond = {int(places[pair]): int(starts[pair]) for pair in np.argsort(excess) if excess[pair] > 1.0}
        alarmed = self._inputs_first(beyond)
        start = list(alarmed.values())[-1]  # of the part that is furthest beyond
        alarmed = self._inputs_first(self._joining(state, look) | alarmed)
        features = look.described(np.array(list(alarmed.values())), np.array(list(alarmed)), chance)
        found = self._finding(Detected, words.detected_sentence, features, state, look, start, at)
        drifting = (*state.drifting, *(self._parts.parts[place].name for place in alarmed))
        return self._restarted(replace(state, drifting=tuple(dict.fromkeys(drifting)))), (found,)

    def _joining(self, state: State, look: Look) -> dict[int, int]:
        """The parts that surely changed, and by estimate beyond their tolerance, with the likeliest start of each."""
        surely = look.log_evidence - np.log(len(self._parts)) >= -self._log_chance(state)
        places = np.flatnonzero(surely & self._watched(state)).tolist()
        likeliest = {place: look.likeliest_start(place) for place in places}
        return {
            place: start for place, start in likeliest.items() if look.effects[start, place] > self._tolerances[place]
        }

    def _inputs_first(self, alarmed: dict[int, int]) -> dict[int, int]:
        """Without the scores, where an input is among them."""
        inputs = {place: start for place, start in alarmed.items() if not self._scores[place]}
        return inputs or alarmed

    def _clear(self, state: State, look: Look, at: datetime) -> tuple[State, tuple[Finding, ...]] | None:
        drifting = self._drifting(state)
        if not drifting.any():
            return None
        starts, places = np.nonzero((look.effects < self._tolerances) & drifting)
        within = look.bounds(starts, places, LOG_ALL_CLEAR).upper < self._tolerances[places]
        if set(places[within]) != set(np.flatnonzero(drifting)):
            return None
        earliest = {int(place): int(starts[pair]) for pair, place in reversed(list(enumerate(places))) if within[pair]}
        features = look.described(np.array(list(earliest.values())), np.array(list(earliest)), LOG_ALL_CLEAR)
        start = max(earliest.values())
        found = self._finding(Cleared, words.cleared_sentence, features, state, look, start, at)
        return self._restarted(replace(state, drifting=())), (found,)

    def _notice(self, state: State, look: Look, most: float, at: datetime) -> tuple[State, tuple[Finding, ...]]:
        if most < -self._log_chance(state):
            return state, ()
        log_evidence = np.where(self._watched(state), look.log_evidence, -np.inf)
        strongest = int(np.argmax(log_evidence))
        telling = np.union1d(np.flatnonzero(log_evidence >= -self._log_chance(state)), [strongest])
        start = look.likeliest_start(strongest)
        features = look.described(*look.at(start, telling), self._log_chance(state))
        found = self._finding(Noticed, words.noticed_sentence, features, state, look, start, at)
        return replace(state, noticed=True), (found,)

    def _finding(
        self,
        kind: type[Finding],
        sentence: words.Sentence,
        features: tuple[FeatureEffect, ...],
        state: State,
        look: Look,
        start: int,
        at: datetime,
    ) -> Finding:
        since = look.history.stretches[start].began
        rows = int(look.history.rows_since()[start])
        per_year = self.settings.false_alarms_per_year
        return kind(
            effect=self.settings.effect,
            features=features,
            since=since,
            rows_since=rows,
            rows_seen=state.rows_seen,
            false_alarms_per_year=per_year,
            log_evidence=float(logarithm(look.evidence.mean())),
            at=at,
            sentence=sentence(features, rows, since, per_year),
        )

    def _look(self, state: State) -> Look:
        evidence = self._against.alternatives.by_part(state.evidence)
        return Look(self._against, state.history, state.expected, evidence)

    def _log_chance(self, state: State) -> float:
        return -log_threshold(self.settings.false_alarms_per_year, state.restarts)

    def _drifting(self, state: State) -> NDArray[np.bool_]:
        return np.array([part.name in state.drifting for part in self._parts.parts])

    def _watched(self, state: State) -> NDArray[np.bool_]:
        """The parts whose change would be news: of features that don't drift, and scores only while nothing does."""
        if not state.drifting:
            return np.ones(len(self._parts), dtype=bool)
        known = {part.feature.name for part in self._parts.parts if part.name in state.drifting}
        news = np.array([part.feature.name not in known for part in self._parts.parts])
        return np.asarray(news & ~self._scores)

    def _of_the_day(self, state: State, at: datetime) -> State:
        """The state, with fresh evidence where a day has begun; a clock that goes back doesn't bring one back."""
        day = at.astimezone(UTC).date()
        if day <= state.day:
            return state
        expected = state.rows_seen - state.rows_before
        return replace(self._afresh(state), day=day, restarts=0, rows_before=state.rows_seen, expected=expected)

    def _restarted(self, state: State) -> State:
        return replace(self._afresh(state), restarts=state.restarts + 1)

    def _afresh(self, state: State) -> State:
        return replace(state, noticed=False, history=History(), evidence=self._against.alternatives.begin())
