"""Evidence that records no longer come from where the reference came from: what `drift.noticed` stands on.

A part's shares p are unknown; what the reference says of them is a Dirichlet distribution with its counts and a little
more (`_unseen_rows`), so its own uncertainty is in all that follows, and every record sharpens it. Beside "unchanged"
stand alternatives, which the reference fixes:

    location   the shares are tilted, p_b e^(t_b) / sum of p_a e^(t_a), by t = d z, with z the normal score of a group
               and d from -1 to 1: a number that moved a little
    scale      the same by t = s z^2: a number that spreads more or less
    gain       one group has a share of q, more than the reference's: a category, missing or new values
    loss       one group has half of its share

A batch multiplies the evidence for an alternative by what it predicted of the batch's counts x, of m records, over what
"unchanged" predicted. For one group's share that is q^x (1-q)^(m-x) over the Beta-binomial. For a tilt it is the mean
of e^(x t) / (sum of p_b e^(t_b))^m over what is known of p when the batch is in; as 1 / y^m is convex, that is at least
the same at the mean of p (Jensen), and this smaller ratio is what counts. So the expectation is at most 1 while nothing
has changed, for a batch of any size. The sum over all starts then needs one number per alternative:

    evidence  <-  (evidence + what is kept for a change that begins with this batch) * ratio

This is the Shiryaev-Roberts e-detector. What is kept for all starts sums to 1 (`budget`), alternatives and parts are
averaged, so all of it together is a nonnegative supermartingale that starts at most at 1: by Ville's inequality it
ever reaches 1/a with probability a at most, averaged over what the reference leaves open.

Sources: Shin, Ramdas and Rinaldo (2023), E-detectors, New Engl. J. Stat. Data Sci. 2; Good (1967), J. R. Stat. Soc. B
29, on the Dirichlet; Ville (1939); Vovk and Wang (2021), Ann. Statist. 49(3), on averaging; van der Waerden (1952) on
normal scores.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.parts import Part, Parts
from services.monitor.domain.special import log_gamma
from services.profile.columns import Numbers
from services.profile.dispersion import normal_scores

JEFFREYS = 0.5
SHIFTS = {0.1: 0.35, 0.25: 0.3, 0.5: 0.2, 1.0: 0.15}  # reference deviations, to both sides, and the prior of each:
# any shift between is within a factor of 1.6 of one; the smallest is the hardest to see, so it gets the most
SPREADS = (0.5, 0.8, 1.25, 2.0)  # factors of the variance
GAINS = {0.02: 0.5, 0.1: 0.3, 0.5: 0.2}  # of all rows, moved into one group, and the prior of each: as of shifts, the
# smallest is the hardest to see, and the others have nats to spare
LOSS = 0.5  # of one group's rows
SHARES = {
    True: (0.7, 0.1, 0.15, 0.05),  # of a number's prior: small shifts are the commonest change, and hardest to see
    False: (0.0, 0.0, 0.75, 0.25),  # of a text's, and of a number with hardly a value
}
LEAST_ORDERED = 4  # groups: below, above, missing, and one between are no order yet
MOST, LOG_MOST = 1e100, 400.0  # of evidence, and of what a batch multiplies or divides it by: surer than sure, and a
# number that processors are quick with
LEAST = 1e-100
CONCENTRATIONS = (8.0, 64.0, 512.0, 4096.0)  # on ten groups: an expected stability index of about 1, 0.14, 0.02, 0.002


class Alternatives:
    """How the parts of a profile may have changed, made ready once.

    Args:
        parts: What is judged.
    """

    def __init__(self, parts: Parts) -> None:
        self._known = np.where(parts.used, parts.reference + _unseen_rows(parts), 0.0)
        shares = self._known / self._known.sum(axis=-1, keepdims=True)
        self._tilts = np.stack([_tilts(*each) for each in zip(parts.parts, shares, parts.groups, strict=True)])
        self._factors = np.exp(self._tilts)
        moved = _moved(np.where(parts.used, shares, 0.5))
        self._log_odds, self._log_rest = np.log(moved / (1 - moved)), np.log1p(-moved)
        self.prior = np.array([_prior(*each, parts.width) for each in zip(parts.parts, parts.groups, strict=True)])

    def begin(self) -> Numbers:
        """No evidence, shape (parts, alternatives)."""
        return np.zeros(self.prior.shape)

    def grown(self, evidence: Numbers, before: Numbers, batches: Numbers, weights: Numbers) -> Numbers:
        """The evidence after each of some more batches, shape (batches, parts, alternatives).

        Args:
            evidence: Shape (parts, alternatives).
            before: Effective rows of the stretch before them, shape (parts, groups).
            batches: Effective rows of each batch, shape (batches, parts, groups).
            weights: What is kept for a change that begins with each batch, shape (batches,).
        """
        grown = np.exp(np.clip(self.log_ratios(before, batches), -LOG_MOST, LOG_MOST))
        for place, weight in enumerate(weights.tolist()):
            grown[place] *= np.minimum(evidence + weight, MOST)
            evidence = grown[place]
        return grown

    def log_ratios(self, before: Numbers, batches: Numbers) -> Numbers:
        """By what each batch multiplies the evidence: natural logarithms, shape (batches, parts, alternatives)."""
        rows = batches.sum(axis=-1, keepdims=True)
        known = np.concatenate(((self._known + before)[np.newaxis], batches)).cumsum(axis=0)  # before and after each
        total = known.sum(axis=-1, keepdims=True)
        tilted = _times(self._tilts, batches) - rows * np.log(_times(self._factors, (known / total)[1:]))
        moved = self._log_odds * batches[..., np.newaxis, :] + self._log_rest * rows[..., np.newaxis]
        hits = np.maximum(known, JEFFREYS)  # a group that a part lacks: no row is ever in it, so it gains nothing
        log_betas = log_gamma(hits) + log_gamma(total - known) - log_gamma(total)
        moved -= np.diff(log_betas, axis=0)[..., np.newaxis, :]
        return np.concatenate((tilted, moved.reshape(*rows.shape[:2], -1)), axis=-1)

    def by_part(self, evidence: Numbers) -> Numbers:
        """Each part's evidence over all alternatives, shape (..., parts), of evidence of one dimension more."""
        return np.asarray(np.einsum("...a,...a->...", evidence, self.prior))

    def likeliest_start(self, place: int, counts: Numbers, log_weights: Numbers) -> int:
        """The start at which a part's change is estimated to have begun.

        Args:
            place: The part.
            counts: Its effective rows from each start to now, shape (starts, groups).
            log_weights: What is kept for each start, shape (starts,).

        Returns:
            Where "everything after it is scattered about the reference, by little or by much" is the likeliest, beside
            "nothing has changed": a ratio of two Dirichlet-multinomials, averaged over how much.
        """
        held = self._known[place] > 0
        known = self._known[place, held]
        changed = [_log_predicted(known * (each / known.sum()), counts[:, held]) for each in CONCENTRATIONS]
        unchanged = _log_predicted(known, counts[:, held])
        return int(np.argmax(np.logaddexp.reduce(changed, axis=0) - unchanged + log_weights))


def logarithm(evidence: Numbers) -> Numbers:
    """The natural logarithm of evidence, finite where there is none."""
    return np.asarray(np.log(np.maximum(evidence, LEAST)))


def _times(matrices: Numbers, vectors: Numbers) -> Numbers:
    """Each part's matrix, shape (parts, tilts, groups), times its vectors, shape (batches, parts, groups)."""
    return np.asarray((matrices @ vectors.transpose(1, 2, 0)).transpose(2, 0, 1))


def _unseen_rows(parts: Parts) -> Numbers:
    """What is added to the reference's rows: half a row per group, and of unseen values as many as are to be expected.

    The next number is as likely as any to be the least or the greatest of all, so each end counts one row; the next
    text is as likely to be a new one as one of the reference's rows was the only one of its kind (Good 1953).
    """
    added = np.full(parts.reference.shape, JEFFREYS)
    for place, part in enumerate(parts.parts):
        alone = 0 if part.ordered else int(np.count_nonzero(part.feature.counts[:-2] == 1))
        added[place, list(part.unseen)] = 1.0 if part.ordered else JEFFREYS + alone
    return added


def _tilts(part: Part, shares: Numbers, groups: int) -> Numbers:
    """The tilts of location and scale, shape (tilts, groups); missing values keep their share."""
    scores = np.zeros(shares.size)
    present = groups - (part.groups[-1] >= 0)
    held = shares[:present] / shares[:present].sum()
    if part.ordered:
        scores[:present] = normal_scores(held)
    tilts = np.stack([*(shift * sign * scores for shift in SHIFTS for sign in (1, -1)), *_spreads(scores)])
    kept = np.log(np.exp(tilts[:, :present]) @ held)
    tilts[:, present:] = kept[:, np.newaxis]
    return tilts


def _spreads(scores: Numbers) -> list[Numbers]:
    return [(1 - 1 / factor) / 2 * scores**2 for factor in SPREADS]


def _moved(shares: Numbers) -> Numbers:
    """Each group's share where it alone gained or lost, shape (parts, gains and losses, groups)."""
    return np.stack([*(shares + gain * (1 - shares) for gain in GAINS), shares * LOSS], axis=1)


def _prior(part: Part, groups: int, width: int) -> Numbers:
    """The prior of a part's alternatives, which sums to 1."""
    location, scale, gain, loss = SHARES[part.ordered and groups > LEAST_ORDERED]
    ours = np.arange(width) < groups
    return np.concatenate(
        (
            location * np.repeat(list(SHIFTS.values()), 2) / 2,
            np.full(len(SPREADS), scale / len(SPREADS)),
            *(ours * (gain * prior / groups) for prior in GAINS.values()),
            ours * (loss / groups),
        )
    )


def _log_predicted(known: Numbers, counts: Numbers) -> Numbers:
    """The Dirichlet-multinomial's logarithm, without what all have in common; shape (starts,)."""
    total, rows = known.sum(keepdims=True), counts.sum(axis=-1)
    grown = log_gamma(known + counts) - log_gamma(known)
    return np.asarray(grown.sum(axis=-1) + log_gamma(total) - log_gamma(total + rows))
