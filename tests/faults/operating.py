"""What an operator does with a platform: asks the doctor, and calls `golden`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any, Final

from golden.checkup import Finding, examine
from golden.embedded.services import SERVICES
from golden.operations import ask
from services.chassis.testing import eventually
from tests.faults.world import World

PATIENCE: Final = timedelta(seconds=120)


async def finds(world: World, where: str, what: str) -> Finding:
    """What the doctor says about something, once it says so."""
    doctor = world.as_("otto", "operator")

    async def found() -> Any:
        findings = await asyncio.to_thread(examine, doctor)
        return next((one for one in findings if one.where == where and what in one.what), None)

    finding: Finding = await eventually(found, within=PATIENCE, what=f"{where}: {what}")
    return finding


async def is_well(world: World) -> None:
    """The doctor finds nothing."""
    doctor = world.as_("otto", "operator")
    left: list[Finding] = []

    async def well() -> bool:
        left[:] = await asyncio.to_thread(examine, doctor)
        return not left

    try:
        await eventually(well, within=PATIENCE, what="nothing wrong")
    except AssertionError as error:
        raise AssertionError(f"the doctor still finds {left}") from error


async def otto(world: World, service: str, method: str, path: str, body: dict[str, str] | None = None) -> Any:
    """What an operator is answered by a service."""
    return await asyncio.to_thread(ask, world.as_("otto", "operator"), service, method, path, body)


async def golden(world: World, *words: str) -> str:
    """What `golden` says to an operator."""
    there = world.as_("otto", "operator")
    told = {f"GOLDEN_{name.upper()}": there.endpoints.grpc[name] for name in SERVICES}
    told |= {f"GOLDEN_{name.upper()}_HTTP": url for name, url in there.endpoints.http.items()}
    command = [sys.executable, "-m", "golden", *words]
    environment = os.environ | told | {"GOLDEN_TOKEN": there.token(), "COLUMNS": "200"}
    # In a thread: the links between services and what they depend on are here.
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
