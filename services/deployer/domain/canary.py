"""Judging a candidate: is it no worse than the stable on the same traffic, by more than the policy's margin?

One statistic serves both questions. A request fails or doesn't; a request is slow or isn't, where slow is measured
against the stable's own 95th percentile. Of each, the candidate's share minus the stable's is held against a margin
(one-sided non-inferiority): the upper bound below the margin is a pass, the lower bound above it a fail, and
anything else isn't known yet.

Looks. A step is judged more than once, and looking again and again until one likes what one sees would let bad
candidates pass. So the k-th look is taken when the candidate's sample has doubled k times, and may err with
`false_pass` / 2^(k+1): over all looks that adds up to `false_pass` at the most (union bound). Plain failure is looked
for at every reading, at a hundredth of the level: a candidate that fails everything needn't wait for a sample.

No data is not success: without a sample the answer is that it isn't known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from statistics import NormalDist
from typing import Final

from services.chassis.errors import Invalid
from services.deployer.domain.policy import Policy
from services.deployer.domain.traffic import Traffic

_TAIL: Final = 0.95  # of the stable's latency; what golden.yaml's latency_margin speaks of
_EARLY: Final = 0.01  # of false_pass: what a look for plain failure may err with
_LEAST_LATENCIES: Final = 20  # a 95th percentile of fewer is the largest value


class Word(StrEnum):
    """What a judge says."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judge's word, with the sentence that says why; `looked` where a look was spent on it."""

    word: Word
    sentence: str
    looked: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds on a difference of two shares, each one-sided at its own level; -1 to 1."""

    lower: float
    upper: float


def share_difference(bad: int, of: int, reference_bad: int, reference_of: int, *, error: float) -> Interval:
    """Bounds on how much larger a share is than a reference share.

    Args:
        bad: Bad requests of the candidate, 0 to `of`.
        of: Requests of the candidate, 1 or more.
        reference_bad: Bad requests of the stable, 0 to `reference_of`.
        reference_of: Requests of the stable, 1 or more.
        error: The probability with which each bound may be wrong, 0 to 0.5.

    Returns:
        The bounds on the candidate's share minus the stable's; dimensionless.

    Raises:
        Invalid: the counts don't fit each other.

    Source: Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17, method 10: Wilson's score bounds of both shares, combined. It stays meaningful at zero failures,
    where the usual normal interval has no width.

    >>> share_difference(0, 100, 0, 1000, error=0.025).upper < 0.05
    True
    """
    if not (0 <= bad <= of and 0 <= reference_bad <= reference_of and of > 0 and reference_of > 0):
        raise Invalid(f"{bad} of {of} against {reference_bad} of {reference_of} are no shares")
    z = NormalDist().inv_cdf(1 - error)
    low, high = wilson(bad, of, z)
    reference_low, reference_high = wilson(reference_bad, reference_of, z)
    share, reference = bad / of, reference_bad / reference_of
    gap = share - reference
    return Interval(
        gap - math.hypot(share - low, reference_high - reference),
        gap + math.hypot(high - share, reference - reference_low),
    )


def wilson(bad: int, of: int, z: float) -> tuple[float, float]:
    """Wilson's score bounds on a share, z standard errors to each side; 0 to 1.

    Source: Wilson (1927), JASA 22, 209-212.
    """
    share = bad / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def look_of(sample: int, minimum: int) -> int | None:
    """Which look a sample allows, from 0; None while it is too small for the first.

    >>> [look_of(n, 100) for n in (99, 100, 199, 200, 800)]
    [None, 0, 0, 1, 3]
    """
    return None if sample < minimum else int(math.log2(sample / minimum))


def judge(candidate: Traffic, stable: Traffic, policy: Policy, *, judged_at: int = 0) -> Judgement:
    """Say whether a candidate may have more traffic.

    Args:
        candidate: Its requests since its share became effective.
        stable: The stable's requests over the same time.
        policy: Margins, sample and error.
        judged_at: The candidate's sample at the last look, 0 where there was none: a look is taken once.

    Returns:
        pass, fail, or inconclusive where it isn't known yet.
    """
    look = look_of(candidate.requests, policy.minimum_sample)
    if candidate.requests and stable.requests:
        early = failures(candidate, stable, policy, policy.false_pass * _EARLY)
        if early.word is Word.FAIL:
            return early
    if look is None or stable.requests == 0:
        return Judgement(
            Word.INCONCLUSIVE, f"{candidate.requests} of at least {policy.minimum_sample} requests on the candidate"
        )
    if judged_at and look_of(judged_at, policy.minimum_sample) == look:
        return Judgement(Word.INCONCLUSIVE, f"looks again at {policy.minimum_sample * 2 ** (look + 1)} requests")
    error = policy.false_pass / 2 ** (look + 1)
    return worst(failures(candidate, stable, policy, error), slowness(candidate, stable, policy, error), looked=True)


def out_of_time(judgement: Judgement, elapsed: timedelta, policy: Policy) -> bool:
    """True where a step has gone on for as long as it may without an answer: a person is asked."""
    return judgement.word is Word.INCONCLUSIVE and elapsed >= policy.maximum_step


def worst(*judgements: Judgement, looked: bool = False) -> Judgement:
    """All of them together: the worst word, and every sentence."""
    words = {judgement.word for judgement in judgements}
    word = next(word for word in (Word.FAIL, Word.INCONCLUSIVE, Word.PASS) if word in words)
    return Judgement(word, "; ".join(judgement.sentence for judgement in judgements), looked)


def failures(candidate: Traffic, stable: Traffic, policy: Policy, error: float) -> Judgement:
    """Whether a version fails more requests than another does, by more than the margin."""
    bounds = share_difference(candidate.failures, candidate.requests, stable.failures, stable.requests, error=error)
    sentence = (
        f"failures {candidate.failures} of {candidate.requests} against {stable.failures} of {stable.requests}: "
        f"at most {bounds.upper:+.1%} worse, margin {policy.error_margin:.0%}"
    )
    return Judgement(_word(bounds, policy.error_margin), sentence)


def slowness(candidate: Traffic, stable: Traffic, policy: Policy, error: float) -> Judgement:
    """Whether more of a version's answers are slow than of another's, by more than the margin."""
    if min(candidate.answers, stable.answers) < _LEAST_LATENCIES:
        return Judgement(Word.INCONCLUSIVE, f"{candidate.answers} and {stable.answers} answers are too few for latency")
    tail = stable.quantile(_TAIL)
    limit = max(tail * policy.latency_margin, tail + policy.latency_slack / timedelta(milliseconds=1))
    slow, stable_slow = candidate.slower_than(limit), stable.slower_than(limit)
    bounds = share_difference(slow, candidate.answers, stable_slow, stable.answers, error=error)
    sentence = f"slower than {limit:.0f} ms: {slow} of {candidate.answers} against {stable_slow} of {stable.answers}"
    return Judgement(_word(bounds, policy.slow_margin), sentence)


def _word(bounds: Interval, margin: float) -> Word:
    if bounds.upper < margin:
        return Word.PASS
    return Word.FAIL if bounds.lower > margin else Word.INCONCLUSIVE
