"""Evidence that two features no longer go together as they did, though each alone may look as ever.

For every relation of the profile the rows on the same side of both features are one share, so the frame is that of
`evidence`: what the reference says of a share is a Beta distribution with its own uncertainty, beside "unchanged" stand
shares that are more or less likely by fixed odds, and a Shiryaev-Roberts e-detector holds one number per alternative.
All pairs are averaged, and their average enters the version's evidence with a weight of `WEIGHT` beside the parts'. So
relations raise no false alarm of their own: the whole is still one e-process, with one promise. They take a step per
look where parts take one per batch: for one share the ratio is exact, so nothing is lost.

This is a sequential two-sample test by betting (Shekhar and Ramdas 2023; Podkopaev and Ramdas 2023) that bets on the
sides of pairs instead of on what a learned classifier says: no record is spent on learning or set aside, a reference of
any length counts whole, in one integer per pair, and what is found has a name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.findings import RelationEffect
from services.monitor.domain.history import History
from services.monitor.domain.parts import LEAN
from services.monitor.domain.special import log_beta
from services.profile import Feature, ReferenceProfile
from services.profile.columns import Counts, Numbers
from services.profile.reference import Seasons

WEIGHT = 0.1  # of the version's evidence, where it has relations: the parts' loses 0.1 nats
JEFFREYS = 0.5
ODDS = {0.15: 0.3, 0.4: 0.4, 1.0: 0.3}  # log odds to both sides, and the prior of each: a correlation of two halved
# normal features that moves from 0 to 0.12, 0.3, 0.7
MOST, LOG_MOST = 1e100, 400.0  # as of `evidence`
CONCENTRATIONS = (8.0, 64.0, 512.0)  # rows that what a changed share may be is worth, for when it changed


@dataclass(frozen=True)
class Told:
    """A relation in a look: its place, and the evidence that it changed."""

    place: int
    log_evidence: float


class Relations:
    """How the relations of a profile may have changed, made ready once.

    Args:
        profile: The version's reference.
        seasons: Its rows by hour; None where all rows are held against.
        cell: The hour.
    """

    def __init__(self, profile: ReferenceProfile, seasons: Seasons | None = None, cell: int = 0) -> None:
        held = profile.relations
        self._features = profile.features
        self._held = held
        together, rows = held.together.astype(np.float64), float(profile.rows)
        restless = np.array([feature.overdispersion for feature in profile.features])
        if seasons:
            counts, restless = seasons.counts[cell], seasons.overdispersion
            together = counts[profile.bins :] + LEAN * together / rows
            rows = float(counts[: profile.offsets[1]].sum()) + LEAN
        self._share = together / rows
        self._overdispersion = np.maximum(restless[held.first], restless[held.second])
        self.hits = together / self._overdispersion + JEFFREYS
        self.misses = (rows - together) / self._overdispersion + JEFFREYS
        shifts = np.array([shift * sign for shift in ODDS for sign in (1, -1)])
        odds = np.log(self.hits / self.misses)[:, np.newaxis] + shifts
        self._log_yes, self._log_no = -np.logaddexp(0.0, -odds), -np.logaddexp(0.0, odds)
        self.prior = np.repeat(list(ODDS.values()), 2) / 2

    def __len__(self) -> int:
        return len(self._held)

    def begin(self) -> Numbers:
        """No evidence, shape (relations, alternatives)."""
        return np.zeros((len(self), self.prior.size))

    def grown(self, evidence: Numbers, history: History, together: Counts, rows: int, weight: float) -> Numbers:
        """The evidence after some more records, shape (relations, alternatives).

        Args:
            evidence: What it was.
            history: The stretch before them.
            together: How many of them go together, per relation.
            rows: How many they are.
            weight: What is kept for a change that begins with them.
        """
        hits, misses = self._known(history)
        more, others = together / self._overdispersion, (rows - together) / self._overdispersion
        unchanged = log_beta(hits + more, misses + others) - log_beta(hits, misses)
        changed = self._log_yes * more[:, np.newaxis] + self._log_no * others[:, np.newaxis]
        ratios = np.exp(np.clip(changed - unchanged[:, np.newaxis], -LOG_MOST, LOG_MOST))
        return np.asarray(np.minimum(evidence + weight, MOST) * ratios)

    def by_relation(self, evidence: Numbers) -> Numbers:
        """Each relation's evidence over all alternatives, shape (relations,)."""
        return np.asarray(evidence @ self.prior)

    def among(self, watched: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The relations of which both features are watched.

        Args:
            watched: Per feature of the profile, shape (features,).
        """
        return np.asarray(watched[self._held.first] & watched[self._held.second])

    def likeliest_start(self, place: int, together: Counts, rows: Counts, log_weights: Numbers) -> int:
        """The start at which a relation is estimated to have changed.

        Args:
            place: The relation.
            together: Its rows that go together from each start to now, shape (starts,).
            rows: All rows from each start to now, shape (starts,).
            log_weights: What is kept for each start, shape (starts,).
        """
        hits, misses = together / self._overdispersion[place], (rows - together) / self._overdispersion[place]
        a, b = self.hits[place], self.misses[place]
        changed = [
            log_beta(each * a / (a + b) + hits, each * b / (a + b) + misses)
            - log_beta(np.array(each * a / (a + b)), np.array(each * b / (a + b)))
            for each in CONCENTRATIONS
        ]
        unchanged = log_beta(a + hits, b + misses) - log_beta(np.array(a), np.array(b))
        return int(np.argmax(np.logaddexp.reduce(changed, axis=0) - unchanged + log_weights))

    def described(self, told: Told, together: int, rows: int) -> RelationEffect:
        """A relation in words and numbers, of rows of which so many go together."""
        first, second = int(self._held.first[told.place]), int(self._held.second[told.place])
        return RelationEffect(
            first=self._features[first].name,
            first_side=_side(self._features[first], int(self._held.cuts[first])),
            second=self._features[second].name,
            second_side=_side(self._features[second], int(self._held.cuts[second])),
            reference=float(self._share[told.place]),
            now=together / max(rows, 1),
            log_evidence=told.log_evidence,
        )

    def _known(self, history: History) -> tuple[Numbers, Numbers]:
        if not history.stretches:
            return self.hits, self.misses
        before = np.sum([stretch.together for stretch in history.stretches], axis=0)
        rest = history.rows - before
        return self.hits + before / self._overdispersion, self.misses + rest / self._overdispersion


def _side(feature: Feature, cut: int) -> str:
    """A feature's upper side in words."""
    return f"above {feature.edges[cut]:g}" if feature.edges.size else feature.categories[0]
