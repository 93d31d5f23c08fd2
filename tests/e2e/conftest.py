"""One whole platform for the end-to-end tests, as `golden up` starts it, with a tiny model trained in many versions."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from golden.embedded import platform
from golden.embedded.platform import Ports
from tests.e2e.world import World

VERSIONS = 6


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The platform, with every run trained."""
    with tempfile.TemporaryDirectory(prefix="golden-e2e-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # PostgreSQL runs as another user where the tests run as root
        running = platform.up(home, only=None, ports=Ports.free(), say=lambda _: None)
        try:
            script = Path(__file__).with_name("train_tiny.py")
            tracking, artifacts = running.endpoints().tracking, running.folders.mlflow / "tiny"
            command = [sys.executable, str(script), tracking, str(artifacts), str(VERSIONS)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            yield World(home, running, json.loads(printed))
        finally:
            platform.down(home, wipe=True)
