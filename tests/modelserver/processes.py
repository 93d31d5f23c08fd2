"""Model servers as processes of their own, as the deployer starts them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx

from golden.embedded.processes import free_port
from services.chassis.testing import eventually
from tests.modelserver.conftest import environment

_START = timedelta(seconds=90)  # importing scikit-learn takes seconds, and many times that on a busy machine


@dataclass(frozen=True)
class ServerProcess:
    """A model server that was started; `log` is the file that it writes to."""

    process: asyncio.subprocess.Process
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def ready(self) -> None:
        """Wait until it takes requests."""
        await eventually(self._ready, within=_START, what=f"the server's start ({self.log})")

    async def stop(self) -> int:
        """Ask it to end, and wait; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def _ready(self) -> bool:
        assert self.process.returncode is None, self.log.read_text()
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{self.url}/v2/health/ready")).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False


@asynccontextmanager
async def server_process(folder: Path, **settings: object) -> AsyncIterator[ServerProcess]:
    """Start a server on free ports; it is killed at the end if it still runs."""
    port, log = free_port(), folder / "server.log"
    told = {"http_address": f"127.0.0.1:{port}", "grpc_address": f"127.0.0.1:{free_port()}", "model": "credit"}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.modelserver"),
            env=environment(**told | {"version": 3} | settings),
            cwd=Path(__file__).parents[2],
            stdout=output,
            stderr=output,
        )
    try:
        yield ServerProcess(process, port, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
