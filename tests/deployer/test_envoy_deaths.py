"""A real Envoy before servers that die, come and go: no request fails that needn't, and none is handed on too often."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx

from services.chassis.testing import eventually
from services.deployer.domain.deployment import Arm
from services.deployer.domain.routing import Route, Routing, Share, Upstream
from services.deployer.router.envoy import EnvoyRouter
from tests.deployer.backends import Backend
from tests.deployer.switching import CLIENTS, INFER, PLACE, answered_by, load, more_than, routing, switched


async def test_a_dead_server_is_no_outage_while_a_fallback_stands(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two, fallback=True))
    assert await answered_by(client) == "one"
    await two[0].stop()
    assert {await answered_by(client) for _ in range(50)} == {"two"}


def pair(two: list[Backend], *, repeats: bool = True) -> Routing:
    """Both servers are of one version."""
    shares = (Share(1, Arm.STABLE, 3, 100),)
    upstream = Upstream(PLACE, 1, (two[0].address, two[1].address))
    return Routing((upstream,), (Route(PLACE, shares, repeats=repeats),))


async def test_of_two_servers_one_may_die_under_load_and_no_request_fails(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, pair(two))
    async with load(client) as names:
        await eventually(lambda: more_than(names, 100))
        assert set(names) == {"one", "two"}
        await two[0].stop()
        before = len(names)
        await eventually(lambda: more_than(names, before + 200))
    assert set(names[before + CLIENTS :]) == {"two"}


async def test_what_an_agent_was_sent_is_not_sent_again_though_its_server_died(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, pair(two, repeats=False))
    for backend in two:
        backend.dies = True
    assert (await client.post(INFER, json={})).status_code == 503
    assert len(two[0].seen) + len(two[1].seen) == 1


async def test_a_request_that_kills_its_servers_is_handed_on_once(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, pair(two))
    for backend in two:
        backend.dies = True
    assert (await client.post(INFER, json={})).status_code == 503
    assert [len(backend.seen) for backend in two] == [1, 1]


async def test_a_server_comes_and_goes_under_load_and_no_request_fails(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    alone = replace(pair(two), upstreams=(Upstream(PLACE, 1, (two[1].address,)),))
    await switched(router, alone)

    async def both() -> bool:
        return "one" in names

    async def gone() -> bool:
        return two[0].address.http not in await router.known()

    async with load(client) as names:
        await switched(router, pair(two))
        await eventually(both)
        await switched(router, alone)
        await eventually(gone)
        await two[0].stop()  # as a model server is asked to end: only now
        before = len(names)
        await eventually(lambda: more_than(names, before + 200))
    assert set(names[before + CLIENTS :]) == {"two"}


async def test_a_version_that_left_is_forgotten_once_nothing_is_under_way(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two))
    two[0].delay = 0.5
    slow = asyncio.ensure_future(answered_by(client))
    await eventually(lambda: more_than(two[0].seen, 0))
    alone = Routing((Upstream(PLACE, 2, (two[1].address,)),), (Route(PLACE, (Share(2, Arm.STABLE, 5, 100),)),))
    await switched(router, alone)
    assert await router.prune(alone, token=1)
    assert two[0].address.http in await router.known()

    async def forgotten() -> bool:
        await router.prune(alone, token=1)
        return two[0].address.http not in await router.known()

    await eventually(forgotten)
    assert await slow == "one"
