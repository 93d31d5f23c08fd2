"""What served when: shares of a deployment's traffic, told from the moments at which the proxy showed a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_ALL: Final = 100  # percent


@dataclass(frozen=True, slots=True)
class Moment:
    """A deployment from one moment on, by the proxy's own word.

    Args:
        model: The model's name.
        environment: The environment.
        epoch: The deployment's epoch.
        stable_version: The stable version; 0 where there is none.
        candidate_version: The candidate; 0 where there is none.
        candidate_weight: The candidate's share in percent, 0 to 100.
        effective_at: When the proxy showed it.
        verdict_version: The version that the verdict is about; 0 where the event named none.
        verdict: The verdict that the deployer was given; empty where the event named none.
        topic: The topic of the event that told it.
        partition: Its partition.
        offset: Its offset.
        holdback_version: The version before the stable one, where units stay with it; 0 where none do.
        holdback_weight: Its share in percent, 0 to 5.
    """

    model: str
    environment: str
    epoch: int
    stable_version: int
    candidate_version: int
    candidate_weight: int
    effective_at: datetime
    verdict_version: int
    verdict: str
    topic: str
    partition: int
    offset: int
    holdback_version: int = 0
    holdback_weight: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """A version's share of the traffic.

    Args:
        version: The version.
        role: stable, candidate or holdback.
        weight: Its share in percent, 1 to 100.
        epoch: The deployment's epoch.
        began: The moment that gave it this share.
    """

    version: int
    role: str
    weight: int
    epoch: int
    began: Moment


def shares(moments: Sequence[Moment]) -> tuple[Share, ...]:
    """Who had traffic after the newest of these moments, given newest first; nobody where there is none."""
    if not moments:
        return ()
    return tuple(
        Share(version, role, weight, moments[0].epoch, _began((version, role, weight), moments))
        for version, role, weight in _split(moments[0])
    )


def _split(moment: Moment) -> list[tuple[int, str, int]]:
    candidate = moment.candidate_weight if moment.candidate_version else 0
    holdback = moment.holdback_weight if moment.holdback_version else 0
    split = [
        (moment.stable_version, "stable", _ALL - candidate - holdback),
        (moment.candidate_version, "candidate", candidate),
        (moment.holdback_version, "holdback", holdback),
    ]
    return [(version, role, weight) for version, role, weight in split if version and weight]


def _began(share: tuple[int, str, int], moments: Sequence[Moment]) -> Moment:
    began = moments[0]
    for moment in moments:
        if share not in _split(moment):
            break
        began = moment
    return began
