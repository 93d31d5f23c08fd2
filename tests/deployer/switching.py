"""How the proxy's tests switch it, and ask what stands behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sized
from contextlib import asynccontextmanager

import httpx

from services.chassis.testing import eventually
from services.deployer.domain.deployment import Arm, Place
from services.deployer.domain.routing import Route, Routing, Share, Upstream
from services.deployer.router.envoy import EnvoyRouter
from tests.deployer.backends import Backend

PLACE = Place("credit")
INFER = "/v2/models/credit/infer"
CLIENTS = 4


def routing(two: list[Backend], *, weight: int = 0, mirror: bool = False, fallback: bool = False) -> Routing:
    one, other = two
    upstreams = (
        Upstream(PLACE, 1, (one.address,), (other.address,) if fallback else ()),
        Upstream(PLACE, 2, (other.address,)),
    )
    shares = [Share(1, Arm.STABLE, 3, 100 - weight), Share(2, Arm.CANDIDATE, 4, weight)]
    shown = tuple(share for share in shares if share.weight)
    return Routing(upstreams, (Route(PLACE, shown, Share(2, Arm.CANDIDATE, 4, 0) if mirror else None),))


async def switched(router: EnvoyRouter, wanted: Routing, *, token: int = 1) -> None:
    async def applied() -> bool:
        return PLACE in await router.apply(wanted, token=token)

    await eventually(applied, what="the switch")


async def answered_by(client: httpx.AsyncClient, **headers: str) -> str:
    response = await client.post(INFER, json={}, headers=headers)
    assert response.status_code == 200, response.text
    return str(response.json()["name"])


@asynccontextmanager
async def load(client: httpx.AsyncClient) -> AsyncIterator[list[str]]:
    """Requests all the while, each of which must be answered; who answered them."""
    names: list[str] = []
    stop = asyncio.Event()

    async def ask() -> None:
        while not stop.is_set():
            names.append(await answered_by(client))

    clients = [asyncio.ensure_future(ask()) for _ in range(CLIENTS)]
    try:
        yield names
    finally:
        stop.set()
        await asyncio.gather(*clients)


async def more_than(made: Sized, count: int) -> bool:
    return len(made) > count
