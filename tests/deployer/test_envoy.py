"""A real Envoy, switched under load: who gets what, how it is stamped, and what is counted of it."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
import httpx

from services.chassis.testing import eventually
from services.deployer.domain.deployment import Arm
from services.deployer.domain.routing import Route, Routing, Share, Upstream
from services.deployer.domain.traffic import Traffic
from services.deployer.router.envoy import EnvoyRouter
from tests.deployer.backends import Backend, backends
from tests.deployer.conftest import Proxy
from tests.deployer.switching import CLIENTS, INFER, PLACE, answered_by, load, more_than, routing, switched


async def test_a_version_is_added_once_it_is_healthy_and_serves(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    assert (await client.post(INFER, json={})).status_code == 404
    await switched(router, routing(two))
    assert await answered_by(client) == "one"
    assert {two[0].address.http, two[1].address.http} <= await router.known()


async def test_a_version_that_is_not_healthy_gets_no_traffic_and_delays_nobody(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await two[1].stop()
    await switched(router, routing(two))
    assert await router.apply(routing(two, weight=100), token=1) == frozenset()
    assert await answered_by(client) == "one"


async def test_units_stay_with_their_version_and_the_share_is_as_decided(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two, weight=20))
    units = [f"unit-{number}" for number in range(600)]
    first = {unit: await answered_by(client, **{"x-unit-id": unit}) for unit in units}
    again = {unit: await answered_by(client, **{"x-unit-id": unit}) for unit in units}
    assert first == again
    # 20 % of 600 with a standard deviation of 10: five of them to either side.
    assert 70 <= sum(name == "two" for name in first.values()) <= 170
    await switched(router, routing(two, weight=50))
    later = {unit: await answered_by(client, **{"x-unit-id": unit}) for unit in units}
    assert all(later[unit] == "two" for unit, name in first.items() if name == "two")


async def test_a_unit_stays_where_it_is_when_the_candidate_is_promoted_and_some_stay_behind(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    upstreams = routing(two).upstreams
    units = [f"unit-{number}" for number in range(600)]

    async def who(*shares: Share) -> dict[str, str]:
        await switched(router, Routing(upstreams, (Route(PLACE, shares),)))
        return {unit: await answered_by(client, **{"x-unit-id": unit}) for unit in units}

    canary = await who(Share(1, Arm.STABLE, 3, 70), Share(2, Arm.CANDIDATE, 4, 30))
    promoted = await who(Share(1, Arm.HOLDBACK, 5, 5), Share(2, Arm.STABLE, 5, 95))
    assert all(promoted[unit] == "two" for unit, name in canary.items() if name == "two")
    # 5 % of 600 with a standard deviation of 5.3: four of them to either side.
    assert 9 <= sum(name == "one" for name in promoted.values()) <= 51


async def test_stamps_are_the_proxys_own_and_a_clients_are_overwritten(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two))
    forged = {"x-goldenpath-arm": "candidate", "x-goldenpath-epoch": "99", "x-goldenpath-version": "7"}
    response = await client.post(INFER, json={}, headers=forged | {"x-request-id": "mine", "traceparent": "kept"})
    headers = response.json()["headers"]
    stamps = {name.removeprefix("x-goldenpath-"): headers[name] for name in headers if name.startswith("x-goldenpath")}
    assert stamps == {
        "deployment": "credit/production",
        "epoch": "3",
        "arm": "stable",
        "version": "1",
        "probability": "1",
    }
    assert headers["x-request-id"] != "mine"
    assert headers["traceparent"] == "kept"
    told = {name: response.headers[f"x-goldenpath-{name}"] for name in ("version", "arm", "probability")}
    assert told == {"version": "1", "arm": "stable", "probability": "1"}


async def test_a_copy_is_stamped_as_one_and_shares_the_request_id(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two, mirror=True))
    original = (await client.post(INFER, json={})).json()["headers"]

    async def mirrored() -> list[dict[str, str]]:
        return two[1].seen

    copy = (await eventually(mirrored, what="the copy"))[0]
    assert (original["x-goldenpath-arm"], copy["x-goldenpath-arm"]) == ("stable", "shadow")
    assert copy["x-goldenpath-version"] == "2"
    assert copy["x-request-id"] == original["x-request-id"]


async def test_an_unknown_environment_is_not_production(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two))
    response = await client.post(INFER, json={}, headers={"x-goldenpath-environment": "staging"})
    assert response.status_code == 404
    assert await answered_by(client, **{"x-goldenpath-environment": "production"}) == "one"


async def test_a_switch_under_load_fails_nothing_and_leaves_nobody_behind(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two))
    async with load(client) as names:
        await eventually(lambda: more_than(names, 100))
        await switched(router, routing(two, weight=100))
        before = len(names)
        await eventually(lambda: more_than(names, before + 200))
    assert set(names[before + CLIENTS :]) == {"two"}  # some were under way


async def test_requests_failures_and_latencies_are_counted_per_version(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two))
    before = (await router.traffic()).get((PLACE, 1), Traffic())
    for status in (200, 200, 500):
        two[0].status = status
        await client.post(INFER, json={})

    async def counted() -> bool:
        traffic = (await router.traffic())[PLACE, 1].since(before)
        return (traffic.requests, traffic.failures, traffic.answers) == (3, 1, 3)

    await eventually(counted)


async def test_copies_failures_among_them_are_counted_on_the_version_that_got_them(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two, mirror=True))
    before = (await router.traffic()).get((PLACE, 2), Traffic())
    for copies, status in enumerate((200, 200, 500)):
        two[1].status = status
        assert await answered_by(client) == "one"
        await eventually(partial(more_than, two[1].seen, copies))

    async def counted() -> bool:
        traffic = (await router.traffic())[PLACE, 2].since(before)
        return (traffic.requests, traffic.failures, traffic.answers) == (3, 1, 3)

    await eventually(counted)


async def test_grpc_passes_by_the_models_header(router: EnvoyRouter, proxy: Proxy) -> None:
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ServerReady": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with backends("health") as (health,):
        address = health.address.__class__(health.address.http, f"127.0.0.1:{port}")
        only = Routing((Upstream(PLACE, 1, (address,)),), (Route(PLACE, (Share(1, Arm.STABLE, 1, 100),)),))
        await switched(router, only)
        async with grpc.aio.insecure_channel(proxy.url.removeprefix("http://")) as channel:
            call: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
            answer = json.loads(await call(b"", metadata=(("x-goldenpath-model", "credit"),), timeout=10))
    await server.stop(None)
    assert answer["x-goldenpath-arm"] == "stable"


async def _echo(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return json.dumps({name: str(value) for name, value in context.invocation_metadata() or ()}).encode()


def test_nothing_takes_longer_than_a_minute_by_default() -> None:
    assert Route(PLACE, ()).timeout == timedelta(minutes=1)
