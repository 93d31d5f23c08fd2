"""What the deployer's tests share: one real Envoy, emptied before each test."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import cast
from uuid import uuid4

import httpx
import pytest

from golden.embedded.envoy import EMPTY_CLUSTERS, EMPTY_ROUTES, EnvoyProxy
from golden.embedded.processes import Running, free_port, wait_until
from goldenpath.deployer.v1 import deployer_service_pb2 as service_pb2
from goldenpath.deployer.v1 import events_pb2
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.leases import Leases
from services.chassis.testing import eventually
from services.chassis.watching import Changes
from services.deployer import queries
from services.deployer.asking import Asking
from services.deployer.clients.servers import HttpServers
from services.deployer.domain.deployment import Place
from services.deployer.domain.going_back import Signal, Trouble
from services.deployer.domain.policy import Policy
from services.deployer.grpc_api import DeployerApi
from services.deployer.handlers import going_back, rollouts
from services.deployer.jobs.decisions import DecisionsJob
from services.deployer.jobs.guard import GuardJob
from services.deployer.jobs.rollouts import RolloutsJob
from services.deployer.jobs.routing import RoutingJob
from services.deployer.jobs.servers import ServersJob
from services.deployer.router.envoy import EnvoyRouter
from services.deployer.router.envoy_admin import EnvoyAdmin
from services.deployer.router.envoy_files import CLUSTERS, ROUTES
from services.deployer.store import CHANNEL, DeployerUnitOfWork
from tests.conftest import Database as DatabaseOfTest
from tests.deployer.backends import Backend, backends
from tests.deployer.fakes import FakeGovernance, FakeMonitor, FakeRegistry, FakeRuntime, quick


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
    # Envoy takes no notice of the same content again, so each time it is another one.
    routes, version = copy.deepcopy(EMPTY_ROUTES), f"0:{uuid4()}"
    routes["resources"][0]["virtual_hosts"][0]["name"] = version
    for name, empty in ((CLUSTERS, EMPTY_CLUSTERS), (ROUTES, routes | {"version_info": version})):
        (one_envoy.folder / "empty").write_text(json.dumps(empty))
        (one_envoy.folder / "empty").replace(one_envoy.folder / name)

    async def forgotten() -> bool:
        return await admin.routes_version() == version and not await admin.healthy()

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


@dataclass
class Deployer:
    """The deployer's jobs on a real database and a real proxy, among fakes."""

    database: Database[DeployerUnitOfWork]
    governance: FakeGovernance
    registry: FakeRegistry
    monitor: FakeMonitor
    runtime: FakeRuntime
    api: DeployerApi
    asking: Asking
    client: httpx.AsyncClient
    router: EnvoyRouter
    admin: EnvoyAdmin
    start: Callable[[], list[asyncio.Future[None]]]
    tasks: list[asyncio.Future[None]] = field(default_factory=list)

    async def restart(self) -> None:
        """Kill the jobs wherever they are, and start others; nobody gives a lease back."""
        await self.kill()
        self.tasks = self.start()

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def approve(self, version: int) -> None:
        async with self.database.begin() as uow:
            await rollouts.admit_version(PLACE, version, uow)

    async def signal(self, version: int, epoch: int, *, name: str = "signal", cleared: bool = False) -> None:
        found = Signal(name, Trouble.DRIFT, version, epoch, ("x",), f"{name} about version {version}")
        async with self.database.begin() as uow:
            if cleared:
                await going_back.clear_signal(name, PLACE, "x is back", uow)
            else:
                await going_back.open_decision(found, PLACE, uow)

    async def state(self) -> service_pb2.Deployment:
        async with self.database.begin() as uow:
            return await queries.get_deployment(PLACE, uow, url="http://proxy")

    async def history(self) -> list[str]:
        """What happened, oldest first, without the common prefix."""
        async with self.database.begin() as uow:
            entries, _ = await queries.list_history(PLACE, "", 1000, uow)
        return [entry.type.removeprefix("deployment.") for entry in reversed(entries)]

    async def sentences(self) -> list[str]:
        """What happened, oldest first, for a person."""
        async with self.database.begin() as uow:
            entries, _ = await queries.list_history(PLACE, "", 1000, uow)
        return [entry.sentence for entry in reversed(entries)]

    async def decision(self, name: str = "signal") -> events_pb2.Decision:
        async with self.database.begin() as uow:
            return await queries.get_decision(name, uow)

    async def told(self, type_name: str) -> list[bytes]:
        """The bodies of the events of a type that were emitted, oldest first."""
        async with self.database.read() as connection:
            rows = await connection.fetch("SELECT header_names, header_values, value FROM outbox ORDER BY id")
        events = [(dict(zip(row["header_names"], row["header_values"], strict=True)), row["value"]) for row in rows]
        return [bytes(body) for headers, body in events if headers["ce_type"] == type_name.encode()]

    async def newest_decision(self) -> events_pb2.Decision:
        async with self.database.begin() as uow:
            return (await queries.list_decisions("", "", "", 1, uow))[0][0]

    async def serves(self, version: int) -> service_pb2.Deployment:
        """Wait until a version has all the traffic and nothing is under way; requests flow meanwhile."""

        async def there() -> service_pb2.Deployment | None:
            state = await self.state()
            settled = state.effective and not state.position.candidate_version and not state.queued_version
            return state if settled and state.position.stable_version == version else None

        return cast("service_pb2.Deployment", await self.meanwhile(there))

    async def has_servers(self, *versions: int) -> None:
        """Wait until the servers that answer are these, by version, no others run, and the proxy knows them."""

        async def there() -> bool:
            endpoints = (await self.state()).endpoints
            answer = sorted(one.version for one in endpoints) == list(versions) and all(one.ready for one in endpoints)
            return answer and {one.http_address for one in endpoints} <= await self.admin.addresses()

        await eventually(there)

    async def meanwhile(self, condition: Callable[[], Awaitable[object]]) -> object:
        """Poll a condition while requests flow, each of a unit of its own."""

        async def tried() -> object:
            found = await condition()
            if not found:
                await self.requests(20)
            return found

        return await eventually(tried)

    async def requests(self, count: int) -> list[int]:
        answers = [await self.client.post(INFER, json={}, headers={"x-unit-id": str(uuid4())}) for _ in range(count)]
        return [answer.status_code for answer in answers]

    async def deployed(self, *versions: int) -> service_pb2.Deployment:
        """Bring versions one after another to all of the traffic."""
        state = service_pb2.Deployment()
        for version in versions:
            await self.approve(version)
            state = await self.serves(version)
            await self.requests(40)
        return state


PLACE = Place("credit")
INFER = "/v2/models/credit/infer"


@pytest.fixture
async def deployer(
    database: DatabaseOfTest, proxy: Proxy, router: EnvoyRouter, client: httpx.AsyncClient
) -> AsyncIterator[Deployer]:
    clock = SystemClock()
    made = Database(
        database.dsn,
        source="goldenpath/deployer",
        clock=clock,
        unit_of_work=DeployerUnitOfWork,
        migrations=files("services.deployer") / "migrations",
    )
    await made.start()
    governance, registry, monitor = FakeGovernance(), FakeRegistry(quick(Policy(steps=(20, 100)))), FakeMonitor()
    runtime, changes = FakeRuntime(), Changes(made, CHANNEL)
    servers, admin = HttpServers(), EnvoyAdmin(proxy.admin)
    asking = Asking(made, servers, changes)
    api = DeployerApi(
        made, governance=governance, registry=registry, asking=asking, changes=changes, url="http://proxy"
    )

    def start() -> list[asyncio.Future[None]]:
        leases = Leases(made, duration=timedelta(seconds=1))
        routing = RoutingJob(made, leases, router, name="test", clock=clock)
        tending = ServersJob(made, leases, runtime, router, clock=clock)
        moving = RolloutsJob(
            made,
            leases,
            router,
            governance=governance,
            registry=registry,
            monitor=monitor,
            servers=servers,
            clock=clock,
        )
        deciding = DecisionsJob(made, leases, monitor=monitor, servers=servers, clock=clock)
        guarding = GuardJob(made, leases, router, clock=clock)
        runs = (changes.run, routing.run, tending.run, moving.run, deciding.run, guarding.run)
        return [asyncio.ensure_future(run()) for run in runs]

    deployer = Deployer(made, governance, registry, monitor, runtime, api, asking, client, router, admin, start)
    deployer.tasks = start()
    yield deployer
    await deployer.kill()
    await servers.close()
    await admin.close()
    await runtime.close()
    await made.stop()


@pytest.fixture
async def two() -> AsyncIterator[list[Backend]]:
    async with backends("one", "two") as made:
        yield made
