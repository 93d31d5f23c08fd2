"""Load over HTTP/1.1 that costs little beside what it measures: bare protocols that send one request again and again.

Each connection is kept alive and sends its next request when it has its answer, so the load is closed: what is measured
is how fast a server answers so many clients, not how it fails under more than it can take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import uvloop

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


@dataclass(frozen=True)
class Load:
    """What came of a load: requests answered per second, each answer's time in seconds, and how many failed."""

    per_second: float
    seconds: list[float]
    failed: int


def load(port: int, path: str, body: bytes, *, connections: int = 8, seconds: float) -> Load:
    """Send a JSON body to a server on loopback for so many seconds."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    request = head.encode() + _END_OF_HEAD + body
    return uvloop.run(_load(port, request, connections, seconds))


async def _load(port: int, request: bytes, connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients = [_Client(request, started + seconds, loop.create_future()) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(_giving(client), "127.0.0.1", port)
    await asyncio.gather(*(client.done for client in clients))
    taken = [second for client in clients for second in client.taken]
    return Load(len(taken) / (time.perf_counter() - started), taken, sum(client.failed for client in clients))


def _giving(client: _Client) -> Callable[[], _Client]:
    return lambda: client


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, until: float, done: asyncio.Future[None]) -> None:
        self.taken: list[float] = []
        self.failed = 0
        self.done = done
        self._request = request
        self._until = until
        self._received = b""
        self._sent = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END_OF_HEAD)
        if end < 0 or len(self._received) < end + len(_END_OF_HEAD) + _length(self._received[:end]):
            return
        now = time.perf_counter()
        self.taken.append(now - self._sent)
        self.failed += not self._received.startswith(b"HTTP/1.1 200")
        self._received = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


def _length(head: bytes) -> int:
    start = head.lower().index(_LENGTH) + len(_LENGTH)
    return int(head[start:].split(b"\r\n", 1)[0])
