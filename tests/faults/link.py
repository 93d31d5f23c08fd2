"""A link: a TCP proxy between services and what they depend on, which can be cut, slowed and closed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

_CHUNK_BYTES = 64 * 1024


class Link:
    """Listens on one loopback port and passes everything on to another.

    Args:
        port: Where services connect.
        to: The port behind it.
    """

    def __init__(self, port: int, to: int) -> None:
        self.port = port
        self._to = to
        self._delay = timedelta()
        self._closed = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to pass on."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """End every connection, and listen no longer."""
        self.close()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection there is; new ones are let through."""
        self._passes.set()
        for end in self._ends:
            end.transport.abort()

    def close(self) -> None:
        """Break every connection, and every new one at once: the host is unreachable."""
        self._closed = True
        self.cut()

    def slow(self, delay: timedelta) -> None:
        """Hold back whatever passes, in each direction."""
        self._delay = delay

    def hold(self) -> None:
        """Let nothing through and break nothing: the host is gone without a word."""
        self._passes.clear()

    def mend(self) -> None:
        """Let everything through, at once."""
        self._closed, self._delay = False, timedelta()
        self._passes.set()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if passing := asyncio.current_task():
            self._passing.add(passing)
            passing.add_done_callback(self._passing.discard)
        ends = {writer}
        try:
            if self._closed:
                writer.transport.abort()
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
                ends.add(far_writer)
                self._ends |= ends
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass  # nobody listens there now, which whoever connected sees
        finally:
            for end in ends:
                end.close()
                with suppress(OSError):
                    await end.wait_closed()
            self._ends -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if self._delay:
                    await asyncio.sleep(self._delay.total_seconds())
                await self._passes.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()
