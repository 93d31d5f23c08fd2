"""Judging a candidate that gets a copy of the traffic: does it answer as the stable does, as fast, and as reliably?

The monitor pairs both versions' answers on the same request and counts those that differ. Of that share the rule is the
canary's: a look when the number of pairs has doubled, each with half of the error that is left; the upper bound below
the policy's limit is a pass, the lower bound above it a fail, anything else isn't known yet. Errors and latency are
judged beside it, by the proxy's own count of the copies. The two reach their samples at different times, so what has
passed is kept, and the step is passed once both are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

from services.chassis.errors import Invalid
from services.deployer.domain.canary import Judgement, Word, look_of, wilson, worst
from services.deployer.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How a candidate's answers compare with the stable's.

    Args:
        pairs: Records that both answered, 0 or more.
        differing: How many of them differ, 0 to `pairs`.
        unpaired: Records whose other side never came, or can't be compared.
    """

    pairs: int = 0
    differing: int = 0
    unpaired: int = 0


@dataclass(frozen=True, slots=True)
class Passed:
    """What of a shadow step has passed, in the sentence with which it did; empty where it hasn't yet.

    Args:
        traffic: Errors and latency.
        answers: The answers.
        judged_at: The pairs at the last look, 0 where there was none: a look is taken once.
    """

    traffic: str = ""
    answers: str = ""
    judged_at: int = 0


def judge_answers(found: Disagreement, policy: Policy, *, judged_at: int = 0) -> Judgement:
    """Say whether a candidate answers as the stable does.

    Args:
        found: What the monitor counted since the copies began.
        policy: The limit, the sample and the error.
        judged_at: The pairs at the last look, 0 where there was none.

    Returns:
        pass, fail, or inconclusive where it isn't known yet.

    Raises:
        Invalid: more differ than there are.

    >>> judge_answers(Disagreement(200, 3), Policy()).word.value
    'pass'
    """
    if not 0 <= found.differing <= found.pairs:
        raise Invalid(f"{found.differing} of {found.pairs} pairs can't differ")
    look = look_of(found.pairs, policy.minimum_pairs)
    if look is None:
        beside = f", {found.unpaired} records have no other side" if found.unpaired else ""
        return Judgement(Word.INCONCLUSIVE, f"{found.pairs} of at least {policy.minimum_pairs} paired answers{beside}")
    if judged_at and look_of(judged_at, policy.minimum_pairs) == look:
        return Judgement(Word.INCONCLUSIVE, f"looks again at {policy.minimum_pairs * 2 ** (look + 1)} paired answers")
    z = NormalDist().inv_cdf(1 - policy.false_pass / 2 ** (look + 1))
    lower, upper = wilson(found.differing, found.pairs, z)
    word = Word.PASS if upper < policy.disagreement_limit else Word.INCONCLUSIVE
    word = Word.FAIL if lower > policy.disagreement_limit else word
    share = f"{found.differing} of {found.pairs} answers differ"
    return Judgement(word, f"{share}: {lower:.1%} to {upper:.1%}, limit {policy.disagreement_limit:.0%}", looked=True)


def judge_step(traffic: Judgement, answers: Judgement, passed: Passed, *, pairs: int) -> tuple[Judgement, Passed]:
    """Both questions together, and what has passed by now.

    Args:
        traffic: The word on errors and latency.
        answers: The word on the answers.
        passed: What had passed before.
        pairs: The pairs that the word on the answers is about.
    """
    now = replace(
        passed,
        traffic=traffic.sentence if traffic.word is Word.PASS else passed.traffic,
        answers=answers.sentence if answers.word is Word.PASS else passed.answers,
        judged_at=pairs if answers.looked else passed.judged_at,
    )
    return worst(_kept(traffic, now.traffic), _kept(answers, now.answers), looked=traffic.looked), now


def _kept(judgement: Judgement, passed: str) -> Judgement:
    """A question that has passed isn't open any more, though a failure is still heard."""
    return Judgement(Word.PASS, passed) if passed and judgement.word is Word.INCONCLUSIVE else judgement
