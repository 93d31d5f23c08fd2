"""Asking a sibling by gRPC: with our own token, the present trace, a deadline, a breaker, and its errors as ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.instrumentation.grpc import aio_client_interceptors

from services.chassis.breaker import Breaker
from services.chassis.errors import GoldenpathError, Unavailable
from services.chassis.grpc_errors import error_of

T = TypeVar("T")

DEADLINE: Final = timedelta(seconds=5)  # a sibling that takes longer is down, for whoever waits
_READY_WITHIN: Final = timedelta(seconds=1)
LARGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # a reference profile and a sample of records fit with room
_RETRY: Final = """{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.05s",
"maxBackoff": "0.5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


class Sibling:
    """A connection to another service.

    Args:
        name: The service's name, for errors.
        address: host:port; empty where this installation has none.
        token: Gives the token to send; read at every call.
        ca_path: The certificates that its own is checked against; None: the connection isn't encrypted.
    """

    def __init__(self, name: str, address: str, *, token: Callable[[], str], ca_path: Path | None = None) -> None:
        self.name = name
        self._address = address
        self._token = token
        self._ca_path = ca_path
        self._breaker = Breaker(name)
        self._channel: grpc.aio.Channel | None = None

    @property
    def here(self) -> bool:
        """True where this installation has such a service."""
        return bool(self._address)

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to make stubs on; it connects when it is first used.

        Raises:
            Unavailable: this installation has no such service.
        """
        if not self.here:
            raise Unavailable(f"this installation has no {self.name}", fix=f"golden up --only ...,{self.name}")
        if self._channel is None:
            self._channel = self._connected()
        return self._channel

    def _connected(self) -> grpc.aio.Channel:
        options = [
            ("grpc.service_config", _RETRY),
            ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        interceptors = aio_client_interceptors()
        if self._ca_path is None:
            return grpc.aio.insecure_channel(self._address, options=options, interceptors=interceptors)
        credentials = grpc.ssl_channel_credentials(_contents(self._ca_path))
        return grpc.aio.secure_channel(self._address, credentials, options=options, interceptors=interceptors)

    async def ask(self, method: Callable[..., Awaitable[T]], request: Any, *, within: timedelta = DEADLINE) -> T:
        """Call a method of a stub.

        Raises:
            GoldenpathError: what the sibling raised; Unavailable where it doesn't answer in time, or hasn't for long.
        """
        self._breaker.check()
        try:
            with translated():
                answer = await method(request, timeout=within.total_seconds(), metadata=self.metadata())
        except Unavailable as error:
            self._breaker.failed(error)
            raise
        except GoldenpathError:
            self._breaker.answered()
            raise
        self._breaker.answered()
        return answer

    async def ready(self) -> None:
        """Ask whether it serves.

        Raises:
            Unavailable: it doesn't, or doesn't answer.
        """
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        with translated():
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_READY_WITHIN.total_seconds())
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable(f"the {self.name} says that it doesn't serve")
        self._breaker.answered()

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What identifies the caller."""
        return (("authorization", f"Bearer {self._token()}"),)

    async def close(self) -> None:
        """End the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unavailable(f"the certificates that siblings' are checked against can't be read: {error}") from None


@contextmanager
def translated() -> Iterator[None]:
    """Turns a failed call into the error that the server raised."""
    try:
        yield
    except grpc.RpcError as failure:
        raise error_of(failure) from None


def readiness_of(siblings: Iterable[Sibling]) -> dict[str, Callable[[], Awaitable[None]]]:
    """By name, what asks whether each of these serves; those that this installation lacks are left out."""
    return {sibling.name: sibling.ready for sibling in siblings if sibling.here}


def token_from(path: Path | None) -> Callable[[], str]:
    """Reads a token from a file at every call, so that it may be renewed there; Unavailable where it can't be read."""

    def read() -> str:
        try:
            return path.read_text().strip() if path is not None else ""
        except OSError as error:
            raise Unavailable(f"the service's own token can't be read: {error}") from None

    return read
