"""A rollout: one attempt to move a deployment to a candidate.

    admitted ──► provisioning ──► (shadow) ──► canary: a step per weight ──► promoted
       │              │               └──────────────┴──► rolled_back   (a judge, a signal, a person)
       │              └──► failed                      (doesn't load, doesn't start, isn't admitted)
       └──► superseded                                 (a newer version came before it had traffic)

A version that is approved while another has traffic waits as `admitted`; of several that wait, only the newest goes
on. Transitions are pure, and asking for one that the state doesn't allow is a Conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.chassis.errors import Conflict
from services.deployer.domain.deployment import Place
from services.deployer.domain.policy import Policy


class State(StrEnum):
    """Where a rollout stands."""

    ADMITTED = "admitted"
    PROVISIONING = "provisioning"
    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    SUPERSEDED = "superseded"


OVER: Final = frozenset({State.PROMOTED, State.ROLLED_BACK, State.FAILED, State.SUPERSEDED})
_SHIPPED: Final = Policy()
WITH_TRAFFIC: Final = frozenset({State.SHADOW, State.CANARY})


@dataclass(frozen=True, slots=True)
class Rollout:
    """One attempt.

    Args:
        id: Its id.
        place: Which deployment.
        version: The version that it brings.
        state: Where it stands.
        step: Which of the policy's steps, from 0.
        digest: The version's bytes; empty until the registry was asked.
        verdict_id: The verdict that admitted it, or the newest one that did.
        policy: The model's policy when it began.
        judgement: The judge's last word, in a sentence; at the end, why it ended.
        commanded: True where a person asked for it, so that it may be an older version.
    """

    id: UUID
    place: Place
    version: int
    state: State = State.ADMITTED
    step: int = 0
    digest: str = ""
    verdict_id: str = ""
    policy: Policy = _SHIPPED
    judgement: str = ""
    commanded: bool = False

    @property
    def over(self) -> bool:
        """True once nothing more will happen."""
        return self.state in OVER

    @property
    def weight(self) -> int:
        """The candidate's share in percent, as decided."""
        if self.state is State.PROMOTED:
            return 100
        return self.policy.steps[self.step] if self.state is State.CANARY else 0

    def provision(self, *, digest: str, verdict_id: str, policy: Policy) -> Rollout:
        """Governance admitted it: its server is started."""
        self._must_be(State.ADMITTED)
        return replace(self, state=State.PROVISIONING, digest=digest, verdict_id=verdict_id, policy=policy)

    def provisioned(self, *, first: bool) -> Rollout:
        """Its server is ready. A first version takes all the traffic, any other begins its steps."""
        self._must_be(State.PROVISIONING)
        if first:
            return replace(self, state=State.PROMOTED, judgement="it is the first version")
        return replace(self, state=State.SHADOW if self.policy.mirrored else self._first_step())

    def advance(self, judgement: str, *, verdict_id: str) -> Rollout:
        """A judge is satisfied, and governance was asked: more traffic, and in the end all of it."""
        self._must_be(*WITH_TRAFFIC)
        moved = replace(self, judgement=judgement, verdict_id=verdict_id or self.verdict_id)
        if self.state is State.SHADOW:
            return replace(moved, state=self._first_step())
        if self.step + 1 == len(self.policy.steps) - 1:
            return replace(moved, state=State.PROMOTED)
        return replace(moved, step=self.step + 1)

    def promote(self, judgement: str) -> Rollout:
        """A person gives it all the traffic now."""
        self._must_be(*WITH_TRAFFIC)
        return replace(self, state=State.PROMOTED, judgement=judgement)

    def abort(self, reason: str) -> Rollout:
        """It loses its traffic, and the stable stays."""
        self._must_be(State.ADMITTED, State.PROVISIONING, *WITH_TRAFFIC)
        return replace(self, state=State.ROLLED_BACK, judgement=reason)

    def fail(self, reason: str) -> Rollout:
        """It can't go on, and never had traffic."""
        self._must_be(State.ADMITTED, State.PROVISIONING)
        return replace(self, state=State.FAILED, judgement=reason)

    def supersede(self, by: int) -> Rollout:
        """A newer version takes its place before it had traffic."""
        self._must_be(State.ADMITTED, State.PROVISIONING)
        return replace(self, state=State.SUPERSEDED, judgement=f"version {by} took its place")

    def _first_step(self) -> State:
        return State.CANARY if len(self.policy.steps) > 1 else State.PROMOTED

    def _must_be(self, *states: State) -> None:
        if self.state not in states:
            raise Conflict(f"version {self.version} of {self.place} is {self.state}, not {' or '.join(states)}")


def next_of(waiting: Sequence[Rollout]) -> tuple[Rollout | None, list[Rollout]]:
    """Of the versions that wait, the one that goes on, and the others as they end.

    What a person asked for last goes first; otherwise the highest version does.
    """
    if not waiting:
        return None, []
    commanded = [one for one in waiting if one.commanded]
    chosen = commanded[-1] if commanded else max(waiting, key=lambda one: one.version)
    return chosen, [one.supersede(chosen.version) for one in waiting if one.id != chosen.id]
