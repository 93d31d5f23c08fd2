"""A whole platform with nothing in it, for the tests of a file."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.faults.world import World


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """A whole platform, with nothing in it."""
    with tempfile.TemporaryDirectory(prefix="golden-faults-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs as another user where the tests run as root
        made = World(home / "home", home / "postgres", replicas=1)
        try:
            await made.start_parts()
            await made.start_services()
            yield made
        finally:
            await made.stop()
