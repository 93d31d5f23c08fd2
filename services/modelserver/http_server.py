"""Uvicorn, started and stopped by us: it leaves the process's signals alone, and says on which port it listens."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import uvicorn
from starlette.types import ASGIApp

from services.chassis.errors import Unavailable


class HttpServer:
    """Serves an application.

    Args:
        app: The application.
        address: Where it listens, host:port; port 0 takes any free one.
        drain: How long requests in flight may take to finish.
    """

    def __init__(self, app: ASGIApp, address: str, *, drain: timedelta) -> None:
        self._address = address
        self._server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                lifespan="off",
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=max(int(drain.total_seconds()), 1),
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            Unavailable: the address is taken, or isn't this machine's.
        """
        listener = _listener(self._address)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()

    async def stop(self) -> None:
        """Stop listening, and let requests in flight finish."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override] # theirs is a generator
        return nullcontext()


def _listener(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=_family(host), backlog=1024)
    except (OSError, ValueError, OverflowError) as error:
        raise Unavailable(f"HTTP can't listen there: {error}", where=address) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
