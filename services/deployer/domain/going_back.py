"""Going back: to which version, and whether to do it at all.

The target is the newest earlier stable that served long enough without a signal, wasn't left for cause, isn't
revoked, and could be started. The decision is one of three:

    roll back   the target does better on the affected records, beyond noise
    hold        it doesn't, or nobody may: the data broke for every version, so the feed must be mended
    retrain     the same, and the trouble is the outcomes': the world changed, so a new version must be made. The
                deployment isn't held, since what helps is a rollout

Without numbers, or where noise could have made them, the model's policy decides: high risk goes back, the rest
holds. One automatic way back per promotion: after that a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.deployer.domain.comparison import Comparison
from services.deployer.domain.deployment import Role
from services.deployer.domain.policy import Policy


class Verb(StrEnum):
    """What a decision says."""

    ROLL_BACK = "roll_back"
    HOLD = "hold"
    RETRAIN = "retrain"
    ABORT = "abort"
    IGNORE = "ignore"


class Trouble(StrEnum):
    """What kind of trouble a signal is about."""

    DRIFT = "drift"
    PERFORMANCE = "performance"
    DATA_QUALITY = "data_quality"
    BIAS = "bias"


@dataclass(frozen=True, slots=True)
class Signal:
    """The monitor's finding about a version in its role, with all that a decision needs but the sample.

    Args:
        id: Its id.
        trouble: What kind.
        version: The version that it is about.
        epoch: The epoch in which that version took its role.
        features: What moved, largest share first.
        sentence: The finding in a sentence.
    """

    id: str
    trouble: Trouble
    version: int
    epoch: int
    features: tuple[str, ...] = ()
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """A version's time as the stable of a deployment.

    Args:
        role: The version, its bytes, and the epoch in which it took the role.
        requests: How many it served, 0 or more.
        signalled: True where a signal was raised about it.
        left_for_cause: True where it was taken back.
        revoked: True where its approval was taken back.
        unusable: True where its bytes no longer verify, or its server doesn't start.
    """

    role: Role
    requests: int = 0
    signalled: bool = False
    left_for_cause: bool = False
    revoked: bool = False
    unusable: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided, and why, in a sentence."""

    verb: Verb
    reason: str
    target: Role | None = None
    comparison: Comparison | None = None


def target_of(earlier: Sequence[Served], *, stable: int, minimum_served: int) -> Role | None:
    """The version to go back to; None where there is none.

    Args:
        earlier: Every stay of a version as this deployment's stable, oldest first, the present one included.
        stable: The version that serves now.
        minimum_served: How many requests it must have served, over all its stays.

    >>> one, two = Served(Role(1, "a", 2), 900), Served(Role(2, "b", 4), 900)
    >>> target_of([one, two], stable=2, minimum_served=500)
    Role(version=1, digest='a', epoch=2)
    """
    for stay in reversed(earlier):
        stays = [other for other in earlier if other.role.version == stay.role.version]
        if stay.role.version == stable or any(_barred(other) for other in stays):
            continue
        if sum(other.requests for other in stays) >= minimum_served:
            return stay.role
    return None


def _barred(stay: Served) -> bool:
    return stay.signalled or stay.left_for_cause or stay.revoked or stay.unusable


def decide(
    signal: Signal, target: Role | None, comparison: Comparison | None, policy: Policy, *, went_back: bool
) -> Outcome:
    """Decide about a signal on the stable.

    Args:
        signal: The finding; not stale.
        target: Where one could go back to; None where nowhere.
        comparison: The numbers; None where none could be had in time.
        policy: The model's policy, as it stood at the promotion.
        went_back: True where this promotion's one automatic way back is used up.
    """
    if target is None:
        words = "no earlier version can be gone back to: none served long enough without trouble"
        return Outcome(_staying(signal), words)
    if went_back:
        return Outcome(_staying(signal), "it went back once since the last promotion: a person decides now", target)
    if comparison is not None and comparison.helps:
        return Outcome(Verb.ROLL_BACK, f"it helps: {numbers(comparison)}", target, comparison)
    if comparison is not None and comparison.harms:
        return _stay(signal, target, comparison, "going back is worse")
    return _by_policy(signal, target, comparison, policy)


def _by_policy(signal: Signal, target: Role, comparison: Comparison | None, policy: Policy) -> Outcome:
    why = "nothing could be compared" if comparison is None else f"noise could have made it: {numbers(comparison)}"
    if policy.back_without_answer:
        return Outcome(Verb.ROLL_BACK, f"the policy goes back when unsure; {why}", target, comparison)
    if comparison is None:
        return Outcome(Verb.HOLD, f"the policy holds when unsure; {why}", target)
    return _stay(signal, target, comparison, "going back doesn't clearly help")


def _stay(signal: Signal, target: Role, comparison: Comparison, words: str) -> Outcome:
    return Outcome(_staying(signal), f"{words}: {numbers(comparison)}", target, comparison)


def _staying(signal: Signal) -> Verb:
    """What is said where going back isn't the answer: the feed must be mended, or a new version made."""
    return Verb.RETRAIN if signal.trouble in {Trouble.PERFORMANCE, Trouble.BIAS} else Verb.HOLD


def numbers(comparison: Comparison) -> str:
    """A comparison in words: what the measure is now, what it would be, on how many records, and what that saves."""
    name = comparison.measure.replace("_", " ")
    rows = comparison.rows_with_outcome or comparison.rows
    words = f"{name} {comparison.current:.3f} → {comparison.target:.3f} on {rows:,} records"
    if not comparison.records_a_day:
        return words
    low, high = (end * comparison.records_a_day for end in (comparison.lower, comparison.upper))
    return f"{words}; going back saves {low:,.0f} to {high:,.0f} a day, if days to come are like these records"
