"""A version's life on a platform, as benchmarks need it: registered, approved, served."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import grpc

from services.chassis.errors import Unavailable
from tests.e2e.world import World

_PATIENCE: Final = timedelta(minutes=3)


def serve(world: World, number: int) -> None:
    """Bring the run of that number into production; it is the stable version when this returns."""
    version = world.register(number)
    until(lambda: _approved(world, version), f"an approval of version {version}")
    until(lambda: stable(world) == version, f"version {version} in production")


def stable(world: World) -> int:
    """The version that has all the traffic; 0 while there is none, or another gets a part."""
    try:
        at = world.deployment()
    except grpc.RpcError:
        return 0
    return at.position.stable_version if at.effective and not at.position.candidate_version else 0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something.

    Raises:
        Unavailable: it didn't happen.
    """
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"{what} didn't happen within {_PATIENCE.total_seconds():.0f} s")
        time.sleep(0.05)


def _approved(world: World, version: int) -> bool:
    try:
        world.approve(version)
    except grpc.RpcError:
        return False
    return True
