"""What the deployer's tests share: one real Envoy, emptied before each test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from golden.embedded.envoy import EMPTY_CLUSTERS, EMPTY_ROUTES, EnvoyProxy
from golden.embedded.processes import Running, free_port, wait_until
from services.chassis.clock import SystemClock
from services.chassis.testing import eventually
from services.deployer.router.envoy import EnvoyRouter
from services.deployer.router.envoy_admin import EnvoyAdmin
from services.deployer.router.envoy_files import CLUSTERS, ROUTES


@dataclass
class Proxy:
    """An Envoy that runs, and where it is."""

    folder: Path
    url: str
    admin: str
    running: Running


@pytest.fixture(scope="session")
def one_envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("envoy")
    port, admin_port = free_port(), free_port()
    envoy = EnvoyProxy(folder, port=port, admin_port=admin_port)
    running = envoy.start()
    try:
        wait_until(envoy.ready, running, timedelta(seconds=60), "envoy")
        yield Proxy(folder, f"http://127.0.0.1:{port}", f"127.0.0.1:{admin_port}", running)
    finally:
        running.stop(timedelta(seconds=5))


@pytest.fixture
async def proxy(one_envoy: Proxy) -> Proxy:
    """The Envoy, told to forget what an earlier test made it do."""
    admin = EnvoyAdmin(one_envoy.admin)
    for name, empty in ((CLUSTERS, EMPTY_CLUSTERS), (ROUTES, EMPTY_ROUTES)):
        (one_envoy.folder / "empty").write_text(json.dumps(empty))
        (one_envoy.folder / "empty").replace(one_envoy.folder / name)

    async def forgotten() -> bool:
        return await admin.routes_version() == EMPTY_ROUTES["version_info"] and not await admin.healthy()

    await eventually(forgotten)
    await admin.close()
    return one_envoy


@pytest.fixture
async def router(proxy: Proxy) -> AsyncIterator[EnvoyRouter]:
    router = EnvoyRouter(proxy.folder, admin=proxy.admin, clock=SystemClock())
    yield router
    await router.close()


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=10) as client:
        yield client
