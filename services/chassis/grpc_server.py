"""A gRPC server: health, reflection, identity, errors, traces, and a graceful end.

Every method but health and reflection needs a valid token; `identity.caller()` says whose it is, and the method says
which role it takes. An error becomes a status by `grpc_errors.STATUS`; an unknown one is INTERNAL without detail,
logged once with its trace. A call has a deadline, the client's or else the server's own, and its handler is cancelled
when that has passed.

At the end, calls in flight finish, for as long as they may; streams, which would go on for ever, are ended at once with
UNAVAILABLE, so that their clients go on elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.instrumentation.grpc import aio_server_interceptor

from services.chassis import instruments
from services.chassis.errors import GoldenpathError, Invalid, TooSlow, Unavailable
from services.chassis.grpc_client import LARGEST_MESSAGE_BYTES
from services.chassis.grpc_errors import details_of, status_of, trailers_of
from services.chassis.identity import TokenVerifier, acting, bearer

DEADLINE: Final = timedelta(seconds=30)
_OPEN: Final = ("/grpc.health.", "/grpc.reflection.")
_GOING: Final = "the service is going away; another replica, or its successor, goes on"
_LARGEST_PAGE: Final = 1000
_DEFAULT_PAGE: Final = 100
_log = structlog.get_logger()

Register = Callable[[grpc.aio.Server], None]


class GrpcServer:
    """A service's gRPC server.

    Args:
        address: Where it listens, host:port; port 0 takes a free one.
        services: The full names of its services, and what registers them, such as
            `("goldenpath.registry.v1.RegistryService", lambda server: add_…_to_server(api, server))`.
        verifier: Checks tokens.
        drain: How long calls in flight may take to finish.
        deadline: How long a call may take whose client sets no deadline; streams go on until somebody ends them.
        certificate: The files of its certificate chain and of the key; None: connections aren't encrypted.
    """

    def __init__(
        self,
        address: str,
        services: Sequence[tuple[str, Register]],
        *,
        verifier: TokenVerifier,
        drain: timedelta,
        deadline: timedelta = DEADLINE,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._address = address
        self._certificate = certificate
        self._services = services
        self._drain = drain
        self._edge = _Edge(verifier, deadline)
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            Unavailable: the address is taken, or the certificate can't be read.
        """
        server = grpc.aio.server(
            interceptors=[aio_server_interceptor(), self._edge],
            options=[("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES), ("grpc.so_reuseport", 0)],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for name, register in self._services:
            register(server)
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        names = [name for name, _ in self._services]
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        self.port = self._open_port(server)
        await server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server = server

    def _open_port(self, server: grpc.aio.Server) -> int:
        try:
            if self._certificate is None:
                return server.add_insecure_port(self._address)
            chain, key = (path.read_bytes() for path in self._certificate)
            return server.add_secure_port(self._address, grpc.ssl_server_credentials([(key, chain)]))
        except OSError as error:
            raise Unavailable(f"gRPC's certificate can't be read: {error}") from error
        except RuntimeError as error:
            raise Unavailable(f"gRPC can't listen on {self._address}: it is taken") from error

    async def stop(self) -> None:
        """Say goodbye to new calls, and let those in flight finish."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            self._edge.end_streams()
            await self._server.stop(self._drain.total_seconds())


class _Edge(grpc.aio.ServerInterceptor):
    """What every method has in common: identity, a deadline, errors, one metric."""

    def __init__(self, verifier: TokenVerifier, deadline: timedelta) -> None:
        self._verifier = verifier
        self._deadline_s = deadline.total_seconds()
        self._streams: set[asyncio.Task[Any]] = set()
        self._ending = False

    def end_streams(self) -> None:
        """End every stream, and let no new one begin."""
        self._ending = True
        for stream in self._streams:
            stream.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap a method, unless it is open to everybody."""
        details = handler_call_details
        handler = await continuation(details)
        if handler is None or details.method.startswith(_OPEN):
            return handler
        metadata = {name: value for name, value in details.invocation_metadata if isinstance(value, str)}
        token = bearer(metadata.get("authorization", ""))
        if handler.unary_unary:
            behaviour = self._unary(details.method, token, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(
                behaviour, handler.request_deserializer, handler.response_serializer
            )
        streaming = self._stream(details.method, token, handler.unary_stream)
        return grpc.unary_stream_rpc_method_handler(
            streaming, handler.request_deserializer, handler.response_serializer
        )

    def _unary(self, method: str, token: str, behaviour: Any) -> Any:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            started = time.perf_counter()
            try:
                with acting(self._verifier.verify(token)):
                    async with self._deadline(context):
                        response = await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - the edge is where an unknown error ends
                _observe(method, _code(error).name, started)
                await _abort(context, method, error)
            _observe(method, "OK", started)
            return response

        return answer

    @asynccontextmanager
    async def _deadline(self, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        """Cancel a call that goes on for too long; where its client set a deadline, gRPC does that."""
        own = self._deadline_s if context.time_remaining() is None else None
        try:
            async with asyncio.timeout(own) as limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise TooSlow(f"it took longer than {own:g} s", fix="ask with a deadline of your own") from None
            raise

    def _stream(self, method: str, token: str, behaviour: Any) -> Any:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                async with self._open_stream(), aclosing(behaviour(request, context)) as items:
                    with acting(self._verifier.verify(token)):
                        async for item in items:
                            yield item
            except Exception as error:  # noqa: BLE001 - the edge is where an unknown error ends
                await _abort(context, method, error)

        return answer

    @asynccontextmanager
    async def _open_stream(self) -> AsyncIterator[None]:
        """Count a stream among those that the end ends."""
        task = asyncio.current_task()
        if self._ending or task is None:
            raise Unavailable(_GOING)
        self._streams.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._ending:
                raise Unavailable(_GOING) from None
            raise
        finally:
            self._streams.discard(task)


def _observe(method: str, status: str, started: float) -> None:
    instruments.RPC_SECONDS.labels(method, status).observe(time.perf_counter() - started)


def _code(error: Exception) -> grpc.StatusCode:
    return status_of(error) if isinstance(error, GoldenpathError) else grpc.StatusCode.INTERNAL


async def _abort(context: grpc.aio.ServicerContext[Any, Any], method: str, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, GoldenpathError):
        await context.abort(status_of(error), details_of(error), trailers_of(error))
    _log.error("a call failed", method=method, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "something went wrong inside; its trace is in the service's log")


def page_size(asked: int) -> int:
    """How many rows a page has: as many as were asked for, 100 where nothing was.

    Raises:
        Invalid: less than none, or more than 1000.
    """
    if not 0 <= asked <= _LARGEST_PAGE:
        raise Invalid(f"a page has 1 to {_LARGEST_PAGE} rows, not {asked}", where="page_size", fix="ask page by page")
    return asked or _DEFAULT_PAGE
