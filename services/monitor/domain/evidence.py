"""Evidence that records no longer come from where the reference came from: what `drift.noticed` stands on.

For a part with the reference's counts r and a start's counts x, the e-value is a ratio of two predictions of x, each
made one record after another: by "the world has changed, by little or by much" over "it is the one that r came from".

- *Unchanged*: the world's shares are unknown, r is what is known of them. Under Jeffreys' prior x then follows the
  Dirichlet-multinomial with r + 1/2. So the reference's own uncertainty is in it: with 5,000 rows of reference a
  million records never look far from it just because the reference was.
- *Changed*: the shares are scattered about the reference's, with a concentration c: a Dirichlet-multinomial with
  c times the reference's shares, in equal parts for c from "everything is different" to "hardly anything is".

Averaged over the prior the ratio is a non-negative martingale that starts at 1 (for any fixed shares it is one up to
terms of the order of one over the reference's rows in a group), so by Ville's inequality it ever exceeds 1/a with
probability a at most. Summed over starts with weights that sum to 1, and averaged over parts whatever their
dependence, it stays an e-value.

Sources: Good (1967), J. R. Stat. Soc. B 29; Ville (1939); Vovk and Wang (2021), Ann. Statist. 49(3), on averaging;
Shin, Ramdas and Rinaldo (2023), New Engl. J. Stat. Data Sci. 2, on sums over starts.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.budget import log_weights
from services.monitor.domain.parts import Parts
from services.monitor.domain.special import log_gamma
from services.profile.columns import Counts, Numbers

JEFFREYS = 0.5
CONCENTRATIONS = (8.0, 64.0, 512.0, 4096.0)  # on ten groups: an expected stability index of about 1, 0.14, 0.02, 0.002


class Predictions:
    """The two predictions of a profile's parts, made ready once.

    Args:
        parts: What is judged.
    """

    def __init__(self, parts: Parts) -> None:
        used = parts.used()
        posterior = np.where(used, parts.reference + JEFFREYS, 0.0)
        shares = posterior / posterior.sum(axis=-1, keepdims=True)
        priors = np.stack([posterior, *(shares * concentration for concentration in CONCENTRATIONS)])
        self._totals = priors.sum(axis=-1)
        self._priors = np.where(used, priors, 1.0)  # a group that a part lacks has no rows: any prior gives it 0
        self._log_totals = log_gamma(self._totals)
        self._log_priors = log_gamma(self._priors)

    def log_evidence(self, counts: Numbers) -> Numbers:
        """The e-value of each start and part.

        Args:
            counts: Effective rows from each start to now, shape (starts, parts, groups).

        Returns:
            Its natural logarithm, shape (starts, parts); 0 where there are no rows.
        """
        rows = counts.sum(axis=-1)
        grown = log_gamma(self._priors[:, np.newaxis] + counts) - self._log_priors[:, np.newaxis]
        totals = self._log_totals[:, np.newaxis] - log_gamma(self._totals[:, np.newaxis] + rows)
        predicted = totals + grown.sum(axis=-1)
        changed = np.logaddexp.reduce(predicted[1:], axis=0) - np.log(len(CONCENTRATIONS))
        return np.asarray(changed - predicted[0])


def combined(log_evidence: Numbers, starts: Counts) -> Numbers:
    """Each part's evidence over all starts together.

    Args:
        log_evidence: Per start and part, shape (starts, parts).
        starts: The pane that each start is, shape (starts,).

    Returns:
        Natural logarithm, shape (parts,). Starts that were joined away take their weight with them, which only
        lessens it.
    """
    weighted = log_evidence + log_weights(starts)[:, np.newaxis]
    return np.asarray(np.logaddexp.reduce(weighted, axis=0))


def averaged(log_evidence: Numbers) -> float:
    """The evidence of all parts together: the mean of their e-values, as a natural logarithm.

    >>> round(averaged(np.log(np.array([1.0, 3.0]))), 4) == round(float(np.log(2.0)), 4)
    True
    """
    return float(np.logaddexp.reduce(log_evidence) - np.log(log_evidence.size))
