"""A link passes on what it gets, and breaks when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from golden.embedded.processes import free_port
from tests.faults.link import Link

BROKEN = (ConnectionError, asyncio.IncompleteReadError)


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to a server that gives everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            writer.write(chunk)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = Link(free_port(), server.sockets[0].getsockname()[1])
    await made.start()
    yield made
    await made.stop()
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def connected(link: Link) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def said(link: Link, words: bytes) -> bytes:
    async with connected(link) as (reader, writer):
        writer.write(words)
        return await reader.readexactly(len(words))


async def test_what_is_said_is_passed_on_and_so_is_the_answer(link: Link) -> None:
    assert await said(link, b"hello") == b"hello"


async def test_a_cut_ends_the_connections_that_there_are_and_no_new_one(link: Link) -> None:
    async with connected(link) as (reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        link.cut()
        with pytest.raises(BROKEN):
            await reader.readexactly(1)
    assert await said(link, b"again") == b"again"


async def test_nothing_passes_a_closed_link_until_it_is_mended(link: Link) -> None:
    link.close()
    with pytest.raises(BROKEN):
        await said(link, b"hello")
    link.mend()
    assert await said(link, b"hello") == b"hello"


async def test_a_slow_link_holds_back_what_passes(link: Link) -> None:
    link.slow(timedelta(milliseconds=50))
    began = asyncio.get_running_loop().time()
    assert await said(link, b"hello") == b"hello"
    assert asyncio.get_running_loop().time() - began >= 0.1


async def test_a_link_that_holds_breaks_nothing_and_passes_on_later_what_it_held(link: Link) -> None:
    async with connected(link) as (reader, writer):
        link.hold()
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(1)
        link.mend()
        assert await reader.readexactly(5) == b"hello"
