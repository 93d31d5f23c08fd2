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
3. Does anything speak for a change at all, of features (`evidence`) or of pairs of them (`relations`)? `Noticed`,
   once per stretch.

Evidence restarts with each day too, and with `begin`; where the reference is by hour and weekday, with each hour, so
that an hour is held against its own hours, and each has a 24th of the day's false alarms. The judge itself holds no
state: the same states and batches give the same findings on any replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Invalid
from services.monitor.domain import findings as words
from services.monitor.domain.budget import ALL_CLEAR, Settings, log_threshold
from services.monitor.domain.evidence import logarithm
from services.monitor.domain.findings import Cleared, Detected, FeatureEffect, Finding, Noticed, Standing
from services.monitor.domain.growth import begun, grown
from services.monitor.domain.history import History
from services.monitor.domain.look import Evidence, Hourly, Look
from services.monitor.domain.promise import Promise
from services.monitor.domain.relations import WEIGHT
from services.monitor.domain.state import State
from services.profile import ReferenceProfile, Role, Window
from services.profile.columns import Numbers

MOST_RELATIONS = 5  # that a finding or a report names
PARTS_TO_RELATIONS = float(np.log(WEIGHT / (1 - WEIGHT)))
LOG_ALL_CLEAR = float(np.log(ALL_CLEAR))


class Judge:
    """Judges windows against one profile.

    Args:
        profile: The version's reference.
        settings: What its owner tolerates, and how many false alarms.
        promise: What its outcomes are held to, for whoever counts them (`promise`); None where they aren't followed.
    """

    def __init__(self, profile: ReferenceProfile, settings: Settings, promise: Promise | None = None) -> None:
        self.profile = profile
        self.settings = settings
        self.promise = promise
        self._hourly = Hourly(profile, settings)
        self._whole = self._hourly.whole
        self._parts = self._whole.parts
        scores = {feature.name for feature in profile.features if feature.role is Role.SCORE}
        self._scores = np.array([part.feature.name in scores for part in self._parts.parts])
        self._names = [feature.name for feature in profile.features]
        self._tolerances = self._whole.tolerances

    @property
    def log_threshold(self) -> float:
        """Natural logarithm of what evidence must reach in a day's first stretch to be noticed."""
        return log_threshold(self.settings.false_alarms_per_year, 0, self._hourly.stretches)

    def by(self, **settings: Any) -> Judge:
        """The same judge by other settings, where it is given any.

        Raises:
            Invalid: they make no sense.
        """
        if "tolerances" in settings:
            settings["tolerances"] = MappingProxyType(dict(settings["tolerances"]))
        return Judge(self.profile, replace(self.settings, **settings), self.promise) if settings else self

    def begin(self, at: datetime, restarts: int = 0) -> State:
        """A fresh state, for a version that took a role at a moment.

        Args:
            at: The moment.
            restarts: How many stretches of evidence the deployment has begun on that day already: they share its
                part of the year's false alarms.
        """
        day = at.astimezone(UTC).date()
        return replace(begun(self._whole, self.profile.digest, day, restarts), cell=self._hourly.cell(at))

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
        state = self._of_the_hour(state, at)
        held = [window for window in windows if window.rows]
        if not held:
            return state, ()
        state, after_each = grown(self._hourly.of(state.cell), state, held, at)
        look, most = self._look(state), self._most(state, after_each)
        return self._detect(state, look, at) or self._clear(state, look, at) or self._notice(state, look, most, at)

    def standing(self, state: State) -> Standing:
        """How things stand over the records of the present stretch of evidence."""
        if not state.history.stretches:
            return Standing((), 0.0)
        look = self._look(state)
        everything = look.at(0, np.arange(len(self._parts)))
        surest = np.argsort(-look.log_relations, kind="stable")[:MOST_RELATIONS].tolist()
        return Standing(
            look.described(*everything, self._log_chance(state)),
            _log(look.evidence.together()),
            tuple(look.relation(place, look.start_of_relation(place)) for place in surest),
        )

    def log_evidence(self, state: State) -> float:
        """Natural logarithm of the evidence that anything changed since evidence restarted."""
        return _log(self._evidence(state).together())

    def _most(self, state: State, evidence: Numbers) -> float:
        """The logarithm of the most evidence for news after any batch; relations count after the last alone."""
        watched = self._watched(state)
        if state.noticed or not watched.any():
            return -np.inf
        after_each = self._whole.alternatives.by_part(evidence)[:, watched].mean(axis=-1)
        without = (1 - WEIGHT) if len(self._whole.relations) else 1.0
        at_the_end = self._evidence(state).together(watched, self._related(watched))
        return _log(max(without * float(after_each.max()), at_the_end))

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
        watched = self._watched(state)
        alone = np.where(watched, look.log_evidence, -np.inf)
        related = np.where(self._related(watched), look.log_relations, -np.inf)
        if related.size and related.max() + PARTS_TO_RELATIONS + np.log(alone.size / related.size) > alone.max():
            found = self._noticed_together(state, look, related, at)
        else:
            found = self._noticed_alone(state, look, alone, at)
        return replace(state, noticed=True), (found,)

    def _noticed_alone(self, state: State, look: Look, log_evidence: Numbers, at: datetime) -> Finding:
        """Something about features, each for itself."""
        strongest = int(np.argmax(log_evidence))
        telling = np.union1d(np.flatnonzero(log_evidence >= -self._log_chance(state)), [strongest])
        start = look.likeliest_start(strongest)
        features = look.described(*look.at(start, telling), self._log_chance(state))
        return self._finding(Noticed, words.noticed_sentence, features, state, look, start, at)

    def _noticed_together(self, state: State, look: Look, log_evidence: Numbers, at: datetime) -> Finding:
        """Something about pairs of features, of which none says as much for itself."""
        surest = np.argsort(-log_evidence, kind="stable")[:MOST_RELATIONS]
        telling = [place for place in surest.tolist() if log_evidence[place] >= -self._log_chance(state)]
        start = look.start_of_relation(int(surest[0]))
        relations = tuple(look.relation(place, start) for place in telling or surest[:1].tolist())
        names = {name for relation in relations for name in (relation.first, relation.second)}
        places = [place for place, part in enumerate(self._parts.parts) if part.feature.name in names]
        features = look.described(*look.at(start, np.array(places)), self._log_chance(state))
        sentence = partial(words.related_sentence, relations[0])
        return replace(self._finding(Noticed, sentence, features, state, look, start, at), relations=relations)

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
            log_evidence=_log(look.evidence.together()),
            at=at,
            sentence=sentence(features, rows, since, per_year),
        )

    def _look(self, state: State) -> Look:
        return Look(self._hourly.of(state.cell), state.history, state.expected, self._evidence(state))

    def _evidence(self, state: State) -> Evidence:
        parts = self._whole.alternatives.by_part(state.evidence)
        return Evidence(parts, self._whole.relations.by_relation(state.relations))

    def _log_chance(self, state: State) -> float:
        return -log_threshold(self.settings.false_alarms_per_year, state.restarts, self._hourly.stretches)

    def _drifting(self, state: State) -> NDArray[np.bool_]:
        return np.array([part.name in state.drifting for part in self._parts.parts])

    def _watched(self, state: State) -> NDArray[np.bool_]:
        """The parts whose change would be news: of features that don't drift, and scores only while nothing does."""
        if not state.drifting:
            return np.ones(len(self._parts), dtype=bool)
        known = {part.feature.name for part in self._parts.parts if part.name in state.drifting}
        news = np.array([part.feature.name not in known for part in self._parts.parts])
        return np.asarray(news & ~self._scores)

    def _related(self, watched: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The relations whose change would be news: both features are watched."""
        names = {part.feature.name for part, news in zip(self._parts.parts, watched.tolist(), strict=True) if news}
        return self._whole.relations.among(np.array([name in names for name in self._names]))

    def _of_the_hour(self, state: State, at: datetime) -> State:
        """The state, with fresh evidence where a day has begun, or an hour with a reference of its own.

        A clock that goes back doesn't bring one back.
        """
        day, cell = at.astimezone(UTC).date(), self._hourly.cell(at)
        if (day, cell) <= (state.day, state.cell):
            return state
        expected = state.rows_seen - state.rows_before
        fresh = replace(self._afresh(state), restarts=0, rows_before=state.rows_seen, expected=expected)
        return replace(fresh, day=day, cell=cell)

    def _restarted(self, state: State) -> State:
        return replace(self._afresh(state), restarts=state.restarts + 1)

    def _afresh(self, state: State) -> State:
        fresh = begun(self._whole, state.profile, state.day, state.restarts)
        return replace(state, noticed=False, history=History(), evidence=fresh.evidence, relations=fresh.relations)


def _log(evidence: float) -> float:
    return float(logarithm(np.array(evidence)))
