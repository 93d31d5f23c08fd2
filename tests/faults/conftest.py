"""A whole platform for the tests of a file, with nothing in it; and one of its models, served."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from golden.connection import error_of
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.testing import eventually
from tests.faults.disk import Disk, small_disk
from tests.faults.operating import PATIENCE
from tests.faults.registrations import registration_of
from tests.faults.world import World

MODEL = "served"


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
    (run,) = await world.train(1)
    ada, grace, otto = world.as_("ada", "scientist"), world.as_("grace", "reviewer"), world.as_("otto", "operator")
    registered = registration_of(MODEL, run)
    await asyncio.to_thread(ada.registry.RegisterVersion, registered, timeout=60)
    approved = governance.ApproveRequest(model=MODEL, version=1, comment="fine")
    await answered(lambda: grace.governance.Approve(approved))

    async def both_answer() -> bool:
        found = await answered(lambda: otto.deployer.GetDeployment(deployer.GetDeploymentRequest(model=MODEL)))
        return bool([one.ready for one in found.deployment.servers] == [2])

    await eventually(both_answer, within=PATIENCE, what="a stable version with its two servers")
    return MODEL


async def answered(question: Callable[[], Any]) -> Any:
    """The answer to a question about what may not be there yet."""

    async def answer() -> Any:
        try:
            return await asyncio.to_thread(question)
        except grpc.RpcError as failure:
            raise error_of(failure) from None

    return await eventually(answer, within=PATIENCE, what="an answer")
