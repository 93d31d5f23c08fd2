"""A whole platform for the tests of a file, with nothing in it; and one of its models, served."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.disk import Disk, small_disk
from tests.faults.history import History
from tests.faults.serving import serve
from tests.faults.world import World


@pytest.fixture
def history() -> History:
    """A platform's history in which nothing went wrong."""
    return History()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Where a platform keeps what it keeps."""
    with tempfile.TemporaryDirectory(prefix="golden-faults-", ignore_cleanup_errors=True) as folder:
        made = Path(folder)
        made.chmod(0o755)  # PostgreSQL runs as another user where the tests run as root
        yield made


@pytest.fixture(scope="module")
def small(home: Path) -> Iterator[Disk | None]:
    """The database's small file system; None where we may not make one."""
    made = small_disk(home / "disk")
    yield made
    if made is not None:
        made.unmount()


@pytest.fixture
def disk(small: Disk | None) -> Iterator[Disk]:
    """The database's disk, which can be full."""
    if small is None:
        pytest.skip("only root can make a small file system")
    yield small
    small.make_room()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(home: Path, small: Disk | None) -> AsyncIterator[World]:
    """A whole platform, with nothing in it."""
    made = World(home / "home", (small.folder if small else home) / "postgres", replicas=1)
    try:
        await made.start_parts()
        await made.start_services()
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(world: World) -> str:
    """A model of which one version is served."""
    return await serve(world)
