"""Guarding a promotion: is the stable still no worse than the version before it, with which some units stayed?

The questions are the canary's, the other way round: failing means worse by more than the margin beyond noise. They are
asked for as long as the version serves, so the error is spent for ever: the k-th look may err with `false_pass` /
2^(k+1), shared by its two questions, which over all looks adds up to `false_pass` at the most (union bound).

A look needs twice the sample of the look before it, and sees only what came since that one. So what begins late isn't
thinned by all that went well before; it is found within about twice the time that the version has served.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.deployer.domain.canary import Judgement, Word, failures, slowness
from services.deployer.domain.policy import Policy
from services.deployer.domain.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Watched:
    """How far a promotion has been guarded.

    Args:
        epoch: The promotion's epoch.
        look: Which look comes next, from 0.
        stable: The proxy's reading of the stable at the last look, or when the promotion took effect.
        holdback: The reading of the version before it.
    """

    epoch: int
    look: int = 0
    stable: Traffic = field(default_factory=Traffic)
    holdback: Traffic = field(default_factory=Traffic)


def look_at(stable: Traffic, holdback: Traffic, policy: Policy, *, look: int) -> Judgement | None:
    """Say whether the stable does worse than the version before it.

    Args:
        stable: The stable's requests since the last look.
        holdback: The requests of the version before it, over the same time.
        policy: Margins, sample and error.
        look: Which look this is, from 0.

    Returns:
        fail where it does; pass or inconclusive where it doesn't, or isn't known to. None: the sample is too small.

    >>> look_at(Traffic(100, 40), Traffic(100, 0), Policy(), look=0).word.value
    'fail'
    """
    if min(stable.requests, holdback.requests) < policy.minimum_sample * 2**look:
        return None
    error = policy.false_pass / 2 ** (look + 1) / 2
    found = [ask(stable, holdback, policy, error) for ask in (failures, slowness)]
    return next((judgement for judgement in found if judgement.word is Word.FAIL), found[0])
