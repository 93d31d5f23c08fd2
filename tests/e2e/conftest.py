"""One whole platform for the end-to-end tests, as `golden up` starts it, with a tiny model trained in many versions."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from golden.connection import Connection
from golden.embedded import platform
from golden.embedded.platform import Platform, Ports
from golden.inference import request_of
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.registry.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry

MODEL = "tiny"
VERSIONS = 10
QUESTIONS = [name.removeprefix("QUESTION_").lower() for name in events.Question.keys()[1:]]


@dataclass
class World:
    """A running platform, the people on it, and runs that can be registered."""

    home: Path
    running: Platform
    runs: list[str]

    def as_(self, subject: str, role: str) -> Connection:
        """The platform as somebody reaches it."""
        return Connection(self.running.endpoints(), lambda: self.running.token(subject, [role]))

    def restart(self) -> None:
        """Start again what died, as a supervisor would."""
        self.running = platform.up(self.home, only=None, ports=Ports(), say=lambda _: None)

    def register(self, number: int) -> int:
        """Register the run of that number, from 1; the version."""
        dataset = registry.DatasetInput(
            name="tiny-data",
            digest="ab" * 32,
            datasheet_json="{}",
            answers=dict.fromkeys(QUESTIONS, "It is made up for a test."),
            owner="tests",
            licence="CC0-1.0",
            personal_data="none",
        )
        request = registry.RegisterVersionRequest(
            model=MODEL,
            kind=events.KIND_MODEL,
            risk_tier=events.RISK_TIER_HIGH,
            owner="tests",
            use_case="tests",
            mlflow_run=self.runs[number - 1],
            datasets=[dataset],
            promise=events.Promise(metric="log_loss", margin=0.1),
            rollout=events.RolloutSettings(steps=[50, 100], minimum_sample=20, latency_margin=20, error_margin=0.2),
        )
        return int(self.as_("ada", "scientist").registry.RegisterVersion(request).version.registered.version)

    def approve(self, version: int) -> None:
        """A reviewer says yes."""
        request = governance.ApproveRequest(model=MODEL, version=version, comment="fine")
        self.as_("grace", "reviewer").governance.Approve(request)

    def predict(self) -> httpx.Response:
        """One prediction through the proxy, of a row like those that the model was made from: others would be drift."""
        url = f"{self.running.endpoints().gateway}/v2/models/{MODEL}/infer"
        age, hours = random.gauss(40, 12), float(random.randrange(60))
        inputs = request_of({"age": age, "hours": hours})
        return httpx.post(url, json=inputs, headers={"x-unit-id": f"customer-{age}"}, timeout=10)


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
