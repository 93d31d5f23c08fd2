"""Governance on a real PostgreSQL, with a registry that a test fills by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from goldenpath.governance.v1.governance_service_pb2_grpc import (
    GovernanceServiceStub,
    add_GovernanceServiceServicer_to_server,
)
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.errors import NotFound
from services.chassis.grpc_client import Sibling
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import create_app
from services.chassis.identity import Role
from services.chassis.leases import Leases
from services.chassis.runner import Background
from services.chassis.testing import Issuer
from services.chassis.watching import Changes
from services.governance import handlers, http_api
from services.governance.app import ShippedPolicies, database_of
from services.governance.case_store import VERDICTS
from services.governance.domain.facts import Facts
from services.governance.grpc_api import NAME, GovernanceApi
from services.governance.settings import GovernanceSettings
from services.governance.store import GovernanceUnitOfWork

if TYPE_CHECKING:
    from goldenpath.governance.v1.governance_service_pb2_grpc import GovernanceServiceAsyncStub


class FakeRegistry:
    """A registry of facts that a test puts in."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, int], Facts] = {}

    def put(self, *facts: Facts) -> None:
        self.known |= {(one.model, one.version): one for one in facts}

    async def facts(self, model: str, version: int) -> Facts:
        try:
            return self.known[model, version]
        except KeyError:
            raise NotFound(f"there is no {model}@{version}") from None


class Client:
    """A caller of governance's gRPC methods, with a token of their own."""

    def __init__(self, address: str, token: str) -> None:
        self.sibling = Sibling("governance", address, token=lambda: token)
        self.stub: GovernanceServiceAsyncStub = GovernanceServiceStub(self.sibling.channel)

    async def ask(self, method: str, request: Any) -> Any:
        return await self.sibling.ask(getattr(self.stub, method), request)


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def settings(database: Any, issuer: Issuer) -> GovernanceSettings:
    return GovernanceSettings(
        database_dsn=SecretStr(database.dsn),
        kafka_bootstrap="127.0.0.1:1",
        grpc_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        jwks_path=issuer.jwks_path,
        look_again_every=timedelta(milliseconds=200),
        drain=timedelta(seconds=1),
    )


@pytest.fixture
async def store(settings: GovernanceSettings) -> AsyncIterator[Database[GovernanceUnitOfWork]]:
    opened = database_of(settings)
    await opened.start()
    await ShippedPolicies(opened).start()
    yield opened
    await opened.stop()


@pytest.fixture
def leases(store: Database[GovernanceUnitOfWork]) -> Leases:
    return Leases(store, duration=timedelta(seconds=30))


@pytest.fixture
def acting(store: Database[GovernanceUnitOfWork]) -> Callable[[str], AbstractAsyncContextManager[GovernanceUnitOfWork]]:
    """A unit of work that somebody opened."""
    return lambda who: store.begin(actor=who)


@pytest.fixture
async def address(
    store: Database[GovernanceUnitOfWork], registry: FakeRegistry, settings: GovernanceSettings, issuer: Issuer
) -> AsyncIterator[str]:
    """Where governance's gRPC server listens."""
    changes = Changes(store, VERDICTS)
    watching = Background("changes", changes.run)
    await watching.start()
    api = GovernanceApi(store, registry, SystemClock(), changes)
    server = GrpcServer(
        settings.grpc_address,
        [(NAME, lambda server: add_GovernanceServiceServicer_to_server(api, server))],
        verifier=issuer.verifier(),
        drain=settings.drain,
    )
    await server.start()
    yield f"127.0.0.1:{server.port}"
    await server.stop()
    await watching.stop()


@pytest.fixture
async def client(address: str) -> AsyncIterator[Callable[[str], Client]]:
    """Makes a caller out of a token."""
    made: list[Client] = []

    def make(token: str) -> Client:
        made.append(Client(address, token))
        return made[-1]

    yield make
    for one in made:
        await one.sibling.close()


@pytest.fixture
def rea(client: Callable[[str], Client], issuer: Issuer) -> Client:
    """A reviewer."""
    return client(issuer.token("rea@bank.example", Role.REVIEWER))


@pytest.fixture
def rob(client: Callable[[str], Client], issuer: Issuer) -> Client:
    """Another reviewer."""
    return client(issuer.token("rob@bank.example", Role.REVIEWER))


@pytest.fixture
def mia(client: Callable[[str], Client], issuer: Issuer) -> Client:
    """The author of the versions; a scientist who is a reviewer too."""
    return client(issuer.token("mia@bank.example", Role.SCIENTIST, Role.REVIEWER))


@pytest.fixture
def sam(client: Callable[[str], Client], issuer: Issuer) -> Client:
    """A scientist."""
    return client(issuer.token("sam@bank.example", Role.SCIENTIST))


@pytest.fixture
async def web(store: Database[GovernanceUnitOfWork], issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of governance's HTTP routes, without a token."""
    app = create_app("governance", verifier=issuer.verifier(), checks={"database": store.ready})
    app.include_router(http_api.router(store, SystemClock()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://governance") as made:
        yield made


@pytest.fixture
def judge(store: Database[GovernanceUnitOfWork], registry: FakeRegistry) -> Callable[[Facts], Awaitable[None]]:
    """Puts facts into the registry, and has them judged."""

    async def judged(facts: Facts) -> None:
        registry.put(facts)
        async with store.begin() as uow:
            await handlers.look_at_version(facts.model, facts.version, uow, registry)

    return judged


@pytest.fixture
def reviewer(issuer: Issuer) -> dict[str, str]:
    """A reviewer's HTTP headers."""
    return bearer(issuer, "rea", Role.REVIEWER)


def bearer(issuer: Issuer, who: str, *roles: Role) -> dict[str, str]:
    """HTTP headers with somebody's token."""
    return {"authorization": f"Bearer {issuer.token(who, *roles)}"}
