"""A deployment: a model in an environment, with its stable version, perhaps a candidate, and an epoch.

The epoch rises with every change of stable or candidate, going back included. It is how a late word is recognised:

- a command names the epoch that its sender saw; one of an older epoch changes nothing;
- a signal names its version and the epoch in which that version took its present role; it is stale once the version
  has left that role, and a stale signal changes nothing.

Every change is a method that gives the deployment as it is afterwards. None of them looks at traffic: that the
proxy shows a change is recorded elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from services.chassis.errors import Conflict, Invalid, NotFound

PRODUCTION: Final = "production"
_ALL: Final = 100
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Which deployment: a model and an environment."""

    model: str
    environment: str = PRODUCTION

    def __str__(self) -> str:
        return f"{self.model}/{self.environment}"

    @staticmethod
    def named(model: str, environment: str = "") -> Place:
        """The place that somebody names; an empty environment is production.

        Raises:
            Invalid: no model or environment can be called that.
        """
        for where, name in (("model", model), ("environment", environment or PRODUCTION)):
            if not _NAME.fullmatch(name):
                rule = "1 to 63 of a-z, 0-9 and -, beginning with a letter"
                raise Invalid(f"{name[:63]!r} is no name: a name has {rule}", where=where)
        return Place(model, environment or PRODUCTION)


class Arm(StrEnum):
    """The role in which a version serves."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    HOLDBACK = "holdback"


@dataclass(frozen=True, slots=True)
class Role:
    """A version in a role.

    Args:
        version: Its number.
        digest: Its bytes: SHA-256, 64 hex digits.
        epoch: The epoch in which it took this role.
    """

    version: int
    digest: str
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """While a deployment is held, it serves on, and nothing automatic advances, promotes or goes back.

    Args:
        reason: Why, in a sentence.
        signal_id: The signal whose clearing lifts it; empty where only a person does.
    """

    reason: str
    signal_id: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where a deployment stands, as decided.

    Args:
        place: Which one.
        epoch: How often stable or candidate changed.
        stable: What serves; None before the first version has all the traffic.
        candidate: What a rollout brings; None outside one.
        weight: The candidate's share of the traffic in percent, 0 to 100.
        mirrored: True while the candidate gets a copy of the traffic.
        warm: The version that is kept ready to go back to, and answers where the stable's server died.
        holdback: The share of the units that was to stay with the warm version, in percent, 0 to 5.
        hold: Why nothing automatic happens; None where it may.
        went_back: True once this promotion's one automatic way back is used up.
        acts: True of an agent: what it is sent may have an effect, so nothing is sent to it a second time.
    """

    place: Place
    epoch: int = 0
    stable: Role | None = None
    candidate: Role | None = None
    weight: int = 0
    mirrored: bool = False
    warm: Role | None = None
    holdback: int = 0
    hold: Hold | None = None
    went_back: bool = False
    acts: bool = False

    @property
    def held_back(self) -> int:
        """The warm version's share of the units in percent; the candidate's goes before, and the stable keeps some."""
        if self.warm is None or (self.candidate is not None and self.candidate.version == self.warm.version):
            return 0
        return max(min(self.holdback, _ALL - 1 - self.weight), 0)

    @property
    def may_go_back(self) -> bool:
        """True where it may go back by itself: not held, not beneath a rollout, and not a second time."""
        return self.hold is None and self.candidate is None and not self.went_back

    def check_epoch(self, seen: int) -> None:
        """Let a command through that was given for the present state; 0 means whatever stands.

        Raises:
            Conflict: the deployment has moved on since.
            Invalid: there was no such epoch yet.
        """
        if seen > self.epoch:
            raise Invalid(f"{self.place} has had no epoch {seen} yet, only {self.epoch}", where="epoch")
        if 0 < seen < self.epoch:
            raise Conflict(
                f"{self.place} has moved on: epoch {seen} is over, it is {self.epoch} now",
                fix="look again, then decide: golden status",
            )

    def arm_of(self, version: int, epoch: int) -> Arm | None:
        """The role that a signal speaks of; None where the version has left it, so that the signal is stale.

        A version has been in its role from the role's epoch to the present one without a break, so that any epoch in
        between names the same stay.
        """
        for arm, role in ((Arm.STABLE, self.stable), (Arm.CANDIDATE, self.candidate)):
            if role is not None and role.version == version and role.epoch <= epoch <= self.epoch:
                return arm
        return None

    def with_candidate(self, version: int, digest: str, *, acts: bool = False) -> Deployment:
        """A rollout begins: its version becomes the candidate, without traffic yet."""
        epoch = self.epoch + 1
        return replace(self, epoch=epoch, candidate=Role(version, digest, epoch), weight=0, mirrored=False, acts=acts)

    def with_share(self, weight: int, *, mirrored: bool = False) -> Deployment:
        """The candidate gets a share of the traffic, or a copy of it. The epoch stays."""
        if self.candidate is None:
            raise NotFound(f"{self.place} has no candidate")
        return replace(self, weight=weight, mirrored=mirrored)

    def promoted(self, *, holdback: int = 0) -> Deployment:
        """The candidate becomes the stable; what was stable stays warm, and may be gone back to once.

        Args:
            holdback: Percent of the units that stay with it.
        """
        if self.candidate is None:
            raise NotFound(f"{self.place} has no candidate to promote")
        epoch = self.epoch + 1
        return Deployment(
            self.place,
            epoch=epoch,
            stable=replace(self.candidate, epoch=epoch),
            warm=self.stable,
            holdback=holdback if self.stable else 0,
            hold=self.hold,
            acts=self.acts,
        )

    def without_candidate(self) -> Deployment:
        """The candidate loses its traffic, and the stable stays."""
        if self.candidate is None:
            raise NotFound(f"{self.place} has no candidate")
        return replace(self, epoch=self.epoch + 1, candidate=None, weight=0, mirrored=False)

    def without_warm(self) -> Deployment:
        """What was kept ready doesn't start any more; the epoch stays."""
        return replace(self, warm=None, holdback=0)

    def gone_back(self, target: Role, *, automatic: bool) -> Deployment:
        """An earlier version becomes the stable again; a candidate goes with it."""
        epoch = self.epoch + 1
        return Deployment(
            self.place,
            epoch=epoch,
            stable=replace(target, epoch=epoch),
            hold=self.hold,
            went_back=self.went_back or automatic,
            acts=self.acts,
        )

    def retired(self) -> Deployment:
        """Nothing of it serves any more; what comes later begins as a first version, in a higher epoch.

        Raises:
            Conflict: nothing does already.
        """
        if self.stable is None and self.candidate is None:
            raise Conflict(f"nothing of {self.place} serves, so there is nothing to retire")
        return Deployment(self.place, epoch=self.epoch + 1)

    def held(self, reason: str, *, signal_id: str = "") -> Deployment:
        """Nothing automatic happens from now on; an earlier hold that a person must lift stays one."""
        if self.hold is not None and not self.hold.signal_id:
            return self
        return replace(self, hold=Hold(reason, signal_id))

    def released(self) -> Deployment:
        """The hold is lifted."""
        return replace(self, hold=None)
