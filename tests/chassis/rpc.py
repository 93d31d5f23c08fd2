"""A service's gRPC server that does what a test tells it to, and siblings that ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from goldenpath.registry.v1 import registry_service_pb2 as messages
from goldenpath.registry.v1 import registry_service_pb2_grpc as services
from services.chassis.grpc_client import Sibling, translated
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role, caller
from services.chassis.testing import Issuer

if TYPE_CHECKING:
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub as Stub
NAME = "goldenpath.registry.v1.RegistryService"


class Api(services.RegistryServiceServicer):
    """Answers with what a test tells it to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.answer = messages.GetModelResponse()
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.watched = asyncio.Event()
        self.closed = asyncio.Event()

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the contract's own name
        caller().require(Role.SCIENTIST)
        if self.hold is not None:
            self.held.set()
            await self._held(self.hold)
        if self.error is not None:
            raise self.error
        return self.answer

    async def _held(self, hold: asyncio.Event) -> None:
        try:
            await hold.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def WatchVersions(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802, ARG002 - the same
        try:
            yield messages.WatchVersionsResponse()
            self.watched.set()
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed.set()


def server_of(api: Api, issuer: Issuer, **more: Any) -> GrpcServer:
    register: Callable[[Any], None] = lambda made: services.add_RegistryServiceServicer_to_server(api, made)  # noqa: E731
    return GrpcServer("127.0.0.1:0", [(NAME, register)], verifier=issuer.verifier(), drain=timedelta(seconds=5), **more)


def sibling_with(server: GrpcServer, token: str) -> Sibling:
    return Sibling("registry", f"127.0.0.1:{server.port}", token=lambda: token)


async def watch(sibling: Sibling) -> AsyncIterator[Any]:
    with translated():
        async for item in stub_of(sibling).WatchVersions(messages.WatchVersionsRequest(), metadata=sibling.metadata()):
            yield item


def stub_of(sibling: Sibling) -> Stub:
    stub: Any = services.RegistryServiceStub(sibling.channel)
    made: Stub = stub
    return made


async def get(sibling: Sibling, *, within: timedelta = timedelta(seconds=5)) -> Any:
    return await sibling.ask(stub_of(sibling).GetModel, messages.GetModelRequest(model="credit"), within=within)
