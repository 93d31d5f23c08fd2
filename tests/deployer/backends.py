"""Small HTTP servers that stand in for model servers: they say who they are, and echo the headers that reached them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.deployer.domain.routing import Address


class Backend:
    """One server. `seen` has the headers of each request but health checks; `status` is what it answers.

    One that `dies` ends its connection instead, as a crash does.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = 200
        self.delay = 0.0
        self.dies = False
        self.score: Callable[[float], float] = lambda value: value
        self.seen: list[dict[str, str]] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def address(self) -> Address:
        return Address(f"127.0.0.1:{self.port}", f"127.0.0.1:{self.port}")

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die: nobody listens any more, and open connections are cut."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        healthy = head[0].split(" ")[1].startswith("/v2/health")
        if not healthy:
            self.seen.append(headers)
            await asyncio.sleep(self.delay)
            if self.dies:
                writer.transport.abort()
                raise ConnectionError
        answer = {"name": self.name, "headers": headers} | self._predict(content)
        body = json.dumps(answer).encode()
        status = 200 if healthy else self.status
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    def _predict(self, content: bytes) -> dict[str, object]:
        """The protocol's metadata, and a score for each value of the input x."""
        inputs = json.loads(content or b"{}").get("inputs", [{"data": []}])
        scores = [self.score(value) for value in inputs[0]["data"]]
        return {
            "inputs": [{"name": "x", "datatype": "FP64"}],
            "outputs": [{"name": "score", "datatype": "FP64", "shape": [len(scores)], "data": scores}],
        }


@asynccontextmanager
async def backends(*names: str) -> AsyncIterator[list[Backend]]:
    made = [Backend(name) for name in names]
    try:
        for backend in made:
            await backend.start()
        yield made
    finally:
        for backend in made:
            await backend.stop()
