"""Governance as a process: it starts from its environment, says that it is ready, and ends on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from golden.embedded.processes import free_port
from services.chassis.testing import Issuer, eventually


def environment(kafka: str, database: Any, issuer: Issuer, folder: Path) -> dict[str, str]:
    settings = {
        "DATABASE_DSN": database.dsn,
        "KAFKA_BOOTSTRAP": kafka,
        "GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
        "HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        "JWKS_PATH": str(issuer.jwks_path),
        "TRACES_FOLDER": str(folder / "traces"),
    }
    return os.environ | {f"GOLDENPATH_{name}": value for name, value in settings.items()}


@pytest.fixture
async def process(
    kafka: str, database: Any, issuer: Issuer, tmp_path: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    told = environment(kafka, database, issuer, tmp_path)
    made = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.governance", env=told)
    yield made, told["GOLDENPATH_HTTP_ADDRESS"]
    with suppress(ProcessLookupError):  # it has ended, as it should
        made.kill()
    await made.wait()


async def test_the_process_gets_ready_and_ends_on_sigterm(process: tuple[asyncio.subprocess.Process, str]) -> None:
    running, address = process

    async def ready() -> bool:
        async with httpx.AsyncClient() as web:
            try:
                answer = await web.get(f"http://{address}/readyz")
            except httpx.TransportError:
                return False
        return answer.status_code == httpx.codes.OK

    await eventually(ready, what="readiness")
    running.send_signal(signal.SIGTERM)
    assert await running.wait() == 0


async def test_a_missing_setting_is_named_and_nothing_starts() -> None:
    told = {name: value for name, value in os.environ.items() if not name.startswith("GOLDENPATH_")}
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.governance", env=told, stderr=asyncio.subprocess.PIPE
    )
    _, said = await made.communicate()
    assert made.returncode == 1
    assert b"GOLDENPATH_DATABASE_DSN" in said
