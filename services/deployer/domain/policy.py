"""How a model's versions get their traffic and lose it: the numbers that golden.yaml may change, and what ships.

A policy is copied into a rollout when that begins, and into the stable's record when it is promoted, so that going
back never waits for another service.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import Any, Final

from services.chassis.errors import Invalid

_ALL: Final = 100
_MOST_HELD_BACK: Final = 5


@dataclass(frozen=True, slots=True)
class Policy:
    """How a model is rolled out and taken back. The defaults are the shipped ones.

    Args:
        steps: The candidate's weights in percent, rising; the last is 100.
        shadow: True: the candidate first gets a copy of the traffic, and its answers are compared with the stable's.
        disagreement_limit: The share of those answers that may differ, 0 to 1. Two versions of the shipped example that
            were built differently give 2 % of the people another label; the same one from another seed, 1 %.
        minimum_pairs: Answers on the same requests before they are judged for the first time. Of 200 pairs 3 may
            differ: that rules out a share of 5 % at 97.5 %.
        holdback: Percent of the units that stay with the previous version after a promotion, 0 to 5: 0 is none.
        minimum_sample: Requests on the candidate before a step is judged for the first time. With 100 and no
            failure, an excess of 5 points in the share of failures is ruled out at 97.5 %.
        maximum_step: The longest that a step may take; then a person is asked.
        error_margin: How much higher than the stable's the candidate's share of failures may be, 0 to 1.
        latency_margin: A request is slow when it takes longer than this times the stable's 95th percentile; above 1.
        latency_slack: Below this much more than the stable's 95th percentile nothing is slow: what nobody notices
            must not stop a rollout.
        slow_margin: How much larger than the stable's the candidate's share of slow requests may be, 0 to 1.
        false_pass: The probability that a candidate at the margin passes a step, over all looks, 0 to 1; and that a
            stable at the margin is taken back for its holdback's sake.
        provisioning: The longest that a server may take to be ready.
        minimum_served: Requests that an earlier stable must have served without a signal to be gone back to.
        minimum_outcomes: Outcomes from which losses decide; below it, score shift does.
        confidence: Of the interval on the difference in loss, 0 to 1.
        answer_within: How long a decision waits for outcomes that tell, before it goes by what there is.
        back_without_answer: True: go back where nothing can be compared (high risk); False: hold.
        back_when_revoked: True: a stable whose approval is revoked is taken back; False: it is held.
        acts: True of an agent: what it is sent may have an effect, so nothing is sent to it a second time.
    """

    steps: tuple[int, ...] = (5, 25, 100)
    shadow: bool = False
    disagreement_limit: float = 0.05
    minimum_pairs: int = 200
    holdback: int = 0
    minimum_sample: int = 100
    maximum_step: timedelta = timedelta(hours=1)
    error_margin: float = 0.05
    latency_margin: float = 1.5
    latency_slack: timedelta = timedelta(milliseconds=50)
    slow_margin: float = 0.10
    false_pass: float = 0.05
    provisioning: timedelta = timedelta(minutes=3)
    minimum_served: int = 500
    minimum_outcomes: int = 100
    confidence: float = 0.95
    answer_within: timedelta = timedelta(seconds=45)
    back_without_answer: bool = False
    back_when_revoked: bool = False
    acts: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            Invalid: one of them does; `where` names it.
        """
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or self.steps[0] < 1 or self.steps[-1] != _ALL:
            raise Invalid(f"the steps must rise from at least 1 to 100, not {list(self.steps)}", where="rollout.steps")
        for name in ("error_margin", "slow_margin", "false_pass", "confidence", "disagreement_limit"):
            if not 0 < getattr(self, name) < 1:
                raise Invalid("must lie between 0 and 1", where=f"rollout.{name}")
        if self.latency_margin < 1:
            raise Invalid("must be at least 1", where="rollout.latency_margin")
        for name in ("minimum_sample", "minimum_pairs"):
            if getattr(self, name) < 1:
                raise Invalid("must be at least 1", where=f"rollout.{name}")
        if not 0 <= self.holdback <= _MOST_HELD_BACK:
            raise Invalid(f"must be 0 to {_MOST_HELD_BACK} percent", where="rollout.holdback")

    @property
    def mirrored(self) -> bool:
        """True where a candidate gets a copy of the traffic; never an agent, since a copy would act twice."""
        return self.shadow and not self.acts


def to_json(policy: Policy) -> dict[str, Any]:
    """A policy as it is kept with a row; durations in seconds."""
    return {
        name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in asdict(policy).items()
    }


def from_json(kept: dict[str, Any]) -> Policy:
    """A policy that was kept; what a newer release added gets its default.

    >>> from_json(to_json(Policy(steps=(10, 100)))) == Policy(steps=(10, 100))
    True
    """
    shipped = Policy()
    values: dict[str, Any] = {}
    for field in fields(Policy):
        if field.name in kept:
            value = kept[field.name]
            default = getattr(shipped, field.name)
            values[field.name] = timedelta(seconds=value) if isinstance(default, timedelta) else value
    values["steps"] = tuple(values.get("steps", shipped.steps))
    return Policy(**values)
