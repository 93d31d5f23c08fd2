"""The files by which a real Envoy is told: whole, of one writer, and refused where they are wrong."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from services.chassis.errors import Conflict
from services.chassis.leases import LeaseLost
from services.deployer.router.envoy import EnvoyRouter
from services.deployer.router.envoy_files import ROUTES, DiscoveryFiles
from tests.deployer.backends import Backend
from tests.deployer.conftest import Proxy
from tests.deployer.switching import answered_by, routing, switched

_ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


async def test_a_deployer_that_lost_its_lease_cannot_write(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend]
) -> None:
    await switched(router, routing(two), token=5)
    with pytest.raises(LeaseLost):
        await router.apply(routing(two, weight=100), token=4)
    assert await answered_by(client) == "one"


async def test_routes_that_the_proxy_refuses_are_noticed_and_the_last_good_ones_serve(
    router: EnvoyRouter, client: httpx.AsyncClient, two: list[Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    await switched(router, routing(two))
    bad = {"@type": _ROUTES, "name": "goldenpath", "virtual_hosts": [{"name": "", "domains": []}]}
    monkeypatch.setattr("services.deployer.router.envoy.route_configuration", lambda _: bad)
    with pytest.raises(Conflict, match="refuses"):
        await router.apply(routing(two, weight=100), token=1)
    assert await answered_by(client) == "one"


async def test_applying_twice_changes_nothing(router: EnvoyRouter, proxy: Proxy, two: list[Backend]) -> None:
    await switched(router, routing(two))
    before = (proxy.folder / ROUTES).stat().st_mtime_ns
    await switched(router, routing(two))
    assert (proxy.folder / ROUTES).stat().st_mtime_ns == before


def test_a_file_is_never_half_written(tmp_path: Path) -> None:
    files = DiscoveryFiles(tmp_path)
    version = files.replace(ROUTES, [{"a": 1}], token=2)
    assert files.version(ROUTES) == version
    assert files.read(ROUTES) == [{"a": 1}]
    assert files.replace(ROUTES, [{"a": 1}], token=3) == version


def test_what_another_deployer_wrote_is_read_anew(tmp_path: Path) -> None:
    ours, theirs = DiscoveryFiles(tmp_path), DiscoveryFiles(tmp_path)
    ours.replace(ROUTES, [{"a": 1}], token=1)
    assert theirs.read(ROUTES) == [{"a": 1}]
    theirs.replace(ROUTES, [{"a": 2}], token=2)
    assert ours.read(ROUTES) == [{"a": 2}]
    with pytest.raises(LeaseLost):
        ours.replace(ROUTES, [{"a": 3}], token=1)
