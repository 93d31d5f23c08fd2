"""What the deployer's tests share: a real Envoy of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from golden.embedded.envoy import EnvoyProxy
from golden.embedded.processes import Running, free_port, wait_until
from services.chassis.clock import SystemClock
from services.deployer.router.envoy import EnvoyRouter


@dataclass
class Proxy:
    """An Envoy that runs, and where it is."""

    folder: Path
    url: str
    admin: str
    running: Running


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    port, admin_port = free_port(), free_port()
    envoy = EnvoyProxy(tmp_path / "envoy", port=port, admin_port=admin_port)
    running = envoy.start()
    try:
        wait_until(envoy.ready, running, timedelta(seconds=60), "envoy")
        yield Proxy(tmp_path / "envoy", f"http://127.0.0.1:{port}", f"127.0.0.1:{admin_port}", running)
    finally:
        running.stop(timedelta(seconds=5))


@pytest.fixture
async def router(proxy: Proxy) -> AsyncIterator[EnvoyRouter]:
    router = EnvoyRouter(proxy.folder, admin=proxy.admin, clock=SystemClock())
    yield router
    await router.close()


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=10) as client:
        yield client
