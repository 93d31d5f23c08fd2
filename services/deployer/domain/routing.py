"""What the proxy should do: a pure picture of every deployment's traffic, made from what was decided.

A version's endpoints are an upstream. A route divides a deployment's traffic between the stable and the candidate,
and may send a copy to the candidate. The warm previous version stands behind the stable as its fallback, so that a
crash of the stable's only process is no outage; where there is none, the stable has two. Where a share of the units
stays with the warm version, the stable stands behind that one in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.deployer.domain.deployment import Arm, Deployment, Place, Role

_TIMEOUT: Final = timedelta(seconds=60)  # a batch of 2,000 rows through a large model takes seconds; an agent more


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a server listens, host:port each."""

    http: str
    grpc: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """A version's endpoints in a deployment.

    Args:
        place: Which deployment.
        version: The version.
        addresses: Its ready servers.
        fallback: Another version's servers, used only while none of `addresses` answers.
    """

    place: Place
    version: int
    addresses: tuple[Address, ...]
    fallback: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """A version's part in a deployment's traffic.

    Args:
        version: The version.
        arm: Its role, as requests are stamped with it.
        epoch: The epoch in which it took the role, as requests are stamped with it.
        weight: Percent of the units, 1 to 100.
    """

    version: int
    arm: Arm
    epoch: int
    weight: int


@dataclass(frozen=True, slots=True)
class Route:
    """A deployment's traffic.

    Args:
        place: Which deployment.
        shares: Who gets what; the weights sum to 100.
        mirror: Who gets a copy of all of it; None: nobody.
        timeout: The longest that an answer may take.
        repeats: True where a request whose server died under it may be sent to another one.
    """

    place: Place
    shares: tuple[Share, ...]
    mirror: Share | None = None
    timeout: timedelta = _TIMEOUT
    repeats: bool = True


@dataclass(frozen=True, slots=True)
class Routing:
    """All that the proxy should know."""

    upstreams: tuple[Upstream, ...] = ()
    routes: tuple[Route, ...] = ()


Ready = Mapping[tuple[Place, int], Sequence[Address]]


def routing_of(deployments: Iterable[Deployment], ready: Ready) -> Routing:
    """What the proxy should do, given what was decided and which servers are ready.

    A version without a ready server keeps its share: its requests fail or fall back, and show. Nothing is moved to
    another version behind everybody's back.
    """
    upstreams: list[Upstream] = []
    routes: list[Route] = []
    for deployment in sorted(deployments, key=lambda one: one.place):
        upstreams.extend(_upstreams(deployment, ready))
        route = _route(deployment)
        if route is not None:
            routes.append(route)
    return Routing(tuple(upstreams), tuple(routes))


def _upstreams(deployment: Deployment, ready: Ready) -> list[Upstream]:
    def addresses(role: Role | None) -> tuple[Address, ...]:
        return tuple(sorted(ready.get((deployment.place, role.version), ()))) if role else ()

    behind = {Arm.STABLE: addresses(deployment.warm)}
    if deployment.held_back:
        behind[Arm.HOLDBACK] = addresses(deployment.stable)
    made = []
    for arm, role in (
        (Arm.STABLE, deployment.stable),
        (Arm.CANDIDATE, deployment.candidate),
        (Arm.HOLDBACK, deployment.warm),
    ):
        if role is not None and (addresses(role) or arm is not Arm.HOLDBACK or deployment.held_back):
            made.append(Upstream(deployment.place, role.version, addresses(role), behind.get(arm, ())))
    return made


def _route(deployment: Deployment) -> Route | None:
    stable, candidate, warm = deployment.stable, deployment.candidate, deployment.warm
    if stable is None:
        return None
    # In this order a unit stays where it is when the candidate's share grows, and when it is promoted.
    shares = [Share(warm.version, Arm.HOLDBACK, stable.epoch, deployment.held_back)] if warm is not None else []
    shares.append(Share(stable.version, Arm.STABLE, stable.epoch, 100 - deployment.weight - deployment.held_back))
    mirror = None
    if candidate is not None:
        share = Share(candidate.version, Arm.CANDIDATE, candidate.epoch, deployment.weight)
        mirror = share if deployment.mirrored else None
        shares.append(share)
    shown = tuple(share for share in shares if share.weight)
    return Route(deployment.place, shown, mirror, repeats=not deployment.acts)
