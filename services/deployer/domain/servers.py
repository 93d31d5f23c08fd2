"""Which server processes a deployment needs: a crash of one must be no outage, and nothing beyond that.

A model server holds hundreds of MiB. So a stable has two only where no warm previous version stands behind it: a
first version, and one that was gone back to, whose successor was left for cause and answers nobody any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.deployer.domain.deployment import Deployment, Place, Role

_ALONE: Final = 2

Version = tuple[Place, int]


@dataclass(frozen=True, slots=True)
class Needed:
    """How many servers of a version there should be."""

    role: Role
    count: int


def servers_needed(deployments: Iterable[Deployment], lent: Iterable[tuple[Place, Role]] = ()) -> dict[Version, Needed]:
    """The servers of what serves, of what is about to, and of what one would go back to.

    Args:
        deployments: Where they stand.
        lent: Versions that somebody has a question for; one server of each will do.

    >>> first = Deployment(Place("credit")).with_candidate(1, "a").promoted()
    >>> [needed.count for needed in servers_needed([first]).values()]
    [2]
    >>> second = first.with_candidate(2, "b").promoted()
    >>> [(number, needed.count) for (_, number), needed in servers_needed([second]).items()]
    [(1, 1), (2, 1)]
    """
    asked = {(place, role.version): Needed(role, 1) for place, role in lent}
    return asked | {
        (deployment.place, role.version): Needed(role, count)
        for deployment in deployments
        for role, count in (
            (deployment.warm, 1),
            (deployment.candidate, 1),
            (deployment.stable, 1 if deployment.warm else _ALONE),
        )
        if role is not None
    }
