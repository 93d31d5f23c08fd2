"""A running platform as the end-to-end tests see it: people, a tiny model in many versions, and clients without end."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from golden.connection import Connection
from golden.embedded import platform
from golden.embedded import state as states
from golden.embedded.parts import Parts
from golden.embedded.platform import Platform, Ports
from golden.embedded.processes import wait_until
from golden.embedded.tokens import DevelopmentIdentity
from golden.inference import request_of
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.registry.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.database import Database

MODEL = "tiny"
CLIENTS = 4
QUESTIONS = [name.removeprefix("QUESTION_").lower() for name in events.Question.keys()[1:]]
_HANGS = "a replica that hangs"


@dataclass
class Traffic:
    """What clients send, and what comes of it.

    Args:
        pause: How long each client waits after an answer.
        statuses: How each request ended: its status, 0 where it got none.
    """

    pause: timedelta
    statuses: list[int] = field(default_factory=list)


@dataclass
class World:
    """A running platform, the people on it, and runs that can be registered."""

    home: Path
    running: Platform
    runs: list[str]
    _connections: dict[tuple[str, str], Connection] = field(default_factory=dict)

    def as_(self, subject: str, role: str) -> Connection:
        """The platform as somebody reaches it; its addresses stay when it is restarted."""
        made = Connection(self.running.endpoints(), lambda: self.running.token(subject, [role]))
        return self._connections.setdefault((subject, role), made)

    def start_again(self, service: str) -> None:
        """Start a service that was killed, as a supervisor would; it answers when this returns.

        Its consumer needs not have partitions yet: Kafka first waits ten seconds for the one that was killed.
        """
        folders, state = self.running.folders, self.running.state
        process = next(one for one in Parts(folders, state).services if one.name == service)
        started = process.launch(DevelopmentIdentity(folders.identity))
        self.running = Platform(self.home, states.write(self.home, state.started(service, started)))
        wait_until(lambda: self._lives(service), started, within=timedelta(seconds=90), what=service)

    def _lives(self, service: str) -> bool:
        try:
            return httpx.get(f"{self.running.endpoints().http[service]}/livez").is_success
        except httpx.HTTPError:
            return False

    def dsn(self, service: str) -> str:
        """How to open a service's database."""
        return Parts(self.running.folders, self.running.state).dsns()[service]

    def register(self, number: int, *, features: events.FeatureSettings | None = None, **rollout: Any) -> int:
        """Register the run of that number, from 1, with its own features and settings of the rollout; the version."""
        dataset = registry.DatasetInput(
            name="tiny-data",
            digest="ab" * 32,
            datasheet_json="{}",
            answers=dict.fromkeys(QUESTIONS, "It is made up for a test."),
            owner="tests",
            licence="CC0-1.0",
            personal_data="none",
        )
        usual: dict[str, Any] = {
            "steps": [25, 50, 100],
            "minimum_sample": 20,
            "latency_margin": 20,
            "error_margin": 0.2,
        }
        request = registry.RegisterVersionRequest(
            model=MODEL,
            kind=events.KIND_MODEL,
            risk_tier=events.RISK_TIER_HIGH,
            owner="tests",
            use_case="tests",
            mlflow_run=self.runs[number - 1],
            datasets=[dataset],
            promise=events.Promise(metric="log_loss", margin=0.1),
            rollout=events.RolloutSettings(**usual | rollout),
            features=features,
        )
        return int(self.as_("ada", "scientist").registry.RegisterVersion(request).version.registered.version)

    def approve(self, version: int) -> None:
        """A reviewer says yes."""
        request = governance.ApproveRequest(model=MODEL, version=version, comment="fine")
        self.as_("grace", "reviewer").governance.Approve(request)

    def deployment(self) -> deployer.Deployment:
        """Where the deployment stands, as the deployer says."""
        asked = deployer.GetDeploymentRequest(model=MODEL)
        return self.as_("otto", "operator").deployer.GetDeployment(asked).deployment

    @contextmanager
    def traffic(self, pause: timedelta) -> Iterator[Traffic]:
        """Clients that send predictions through the proxy until the end, and try none again."""
        made, stop = Traffic(pause), threading.Event()

        def send() -> None:
            with httpx.Client(base_url=self.running.endpoints().gateway, timeout=10) as client:
                while not stop.wait(made.pause.total_seconds()):
                    made.statuses.append(_predict(client))

        threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield made
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@contextmanager
def embedded(only: frozenset[str] | None = None, *, features: Path | None = None) -> Iterator[Platform]:
    """A platform with these services, or all of them, and perhaps a feature store; wiped at the end."""
    with tempfile.TemporaryDirectory(prefix="golden-e2e-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # PostgreSQL runs as another user where the tests run as root
        try:
            yield platform.up(home, only=only, ports=Ports.free(), say=lambda _: None, features=features)
        finally:
            platform.down(home, wipe=True)


@contextmanager
def started(versions: int) -> Iterator[World]:
    """A whole platform, with so many runs trained."""
    with embedded() as running:
        yield World(running.home, running, trained(running, versions))


def trained(running: Platform, versions: int) -> list[str]:
    """The runs of so many versions, trained now."""
    script = Path(__file__).with_name("train_tiny.py")
    tracking, artifacts = running.endpoints().tracking, running.folders.mlflow / MODEL
    command = [sys.executable, str(script), tracking, str(artifacts), str(versions)]
    runs: list[str] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return runs


def _predict(client: httpx.Client) -> int:
    """One prediction of a row like those that the model was made from (others would be drift); its status."""
    age, hours = random.gauss(40, 12), float(random.randrange(60))
    inputs = request_of({"age": age, "hours": hours})
    try:
        return client.post(f"/v2/models/{MODEL}/infer", json=inputs, headers={"x-unit-id": f"unit-{age}"}).status_code
    except httpx.HTTPError:
        return 0


@asynccontextmanager
async def hanging(database: Database[Any], lease: str) -> AsyncIterator[None]:
    """Another replica takes a lease, and does nothing under it until the end."""
    taken = "UPDATE leases SET holder = $2, token = token + 1, expires_at = now() + interval '1 hour' WHERE name = $1"
    given_back = "UPDATE leases SET expires_at = now() WHERE name = $1 AND holder = $2"
    async with database.read() as connection:
        await connection.execute(taken, lease, _HANGS)
    try:
        yield
    finally:
        async with database.read() as connection:
            await connection.execute(given_back, lease, _HANGS)
