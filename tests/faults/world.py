"""The platform of a campaign: the embedded parts as they are, links between them, and replicas side by side.

Every service reaches PostgreSQL by a link of its own and Kafka by one that all share (a broker advertises one address
per listener); the campaign itself asks both directly. Replica 2 of a service talks to the second replicas of its
siblings. Files that are kept stand below one home, as `golden up` lays them out; the database's below a folder of its
own, which may be a file system that can be full.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

from golden.connection import Connection, Endpoints
from golden.embedded import modelservers
from golden.embedded.envoy import EnvoyProxy
from golden.embedded.features import FeaturePusher
from golden.embedded.kafka import KafkaBroker
from golden.embedded.ports import Ports
from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import Running, free_port, is_free, start, stop_together, wait_until
from golden.embedded.services import SERVICES, Folders, ServiceProcess, addresses, tracking_uri
from golden.embedded.tokens import DevelopmentIdentity
from services.chassis.settings import KafkaAccess
from services.chassis.topics import create_topics
from tests.faults.link import Link
from tests.faults.skewed import SKEW
from tests.features.repository import REPOSITORY

PUSHER: Final = "pusher"
PROCESSES: Final = (*SERVICES, PUSHER)  # what has replicas
SESSION_TIMEOUT: Final = timedelta(seconds=6)  # the shortest that a broker allows, so that a zombie is soon one
READY_WITHIN: Final = timedelta(
    seconds=120
)  # a service is ready in 3 s; on a shared machine, after a fault, much later
GOOD: Final = ("tests.faults.skewed",)
HANDLES_NOTHING: Final = ("tests.faults.bad_release", "handles")
READS_NOTHING: Final = ("tests.faults.bad_release", "reads")
_GRACE: Final = timedelta(seconds=20)
_LISTENERS: Final = """
# The campaign's own: a second listener that is advertised behind a link.
listeners=PLAINTEXT://127.0.0.1:{port},LINKED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},LINKED://127.0.0.1:{link}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LINKED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"""


class LinkedBroker(KafkaBroker):
    """The embedded broker with a second listener, behind a link."""

    def __init__(self, folder: Path, *, port: int, controller_port: int, behind: int, link: int) -> None:
        super().__init__(folder, port=port, controller_port=controller_port)
        self._listeners = _LISTENERS.format(port=port, behind=behind, link=link, controller_port=controller_port)

    def _write_settings(self) -> Path:
        settings = super()._write_settings()
        settings.write_text(settings.read_text() + self._listeners)
        return settings


@dataclass(frozen=True)
class Replica:
    """One process of a service."""

    service: str
    number: int

    def __str__(self) -> str:
        return f"{self.service}/{self.number}"


class _Folders(Folders):
    """The folders of one replica: all shared but the logs, and what Feast knows of its store."""

    def __init__(self, home: Path, number: int) -> None:
        super().__init__(home)
        object.__setattr__(self, "_number", number)

    @property
    def logs(self) -> Path:
        return self.home / "logs" / str(self._number)  # type: ignore[attr-defined] # set above, on a frozen class

    @property
    def features(self) -> Path:
        return self.home / "features" / str(self._number)  # type: ignore[attr-defined] # the same


class World:
    """Everything that runs in a campaign.

    Args:
        home: Where it keeps what it keeps.
        database: Where the database is kept.
        replicas: How many of each service.
    """

    def __init__(self, home: Path, database: Path, *, replicas: int) -> None:
        self.folders = Folders(home)
        self.replicas = [Replica(service, number) for number in range(1, replicas + 1) for service in PROCESSES]
        self.ports = Ports.free()
        self.postgres = PostgresServer(database, port=self.ports.postgres)
        self.links = {service: Link(free_port(), self.ports.postgres) for service in (*PROCESSES, "mlflow")}
        behind = free_port()
        self.links["kafka"] = Link(free_port(), behind)
        self.kafka = LinkedBroker(
            self.folders.kafka,
            port=self.ports.kafka,
            controller_port=self.ports.kafka_controller,
            behind=behind,
            link=self.links["kafka"].port,
        )
        self.envoy = EnvoyProxy(self.folders.envoy, port=self.ports.envoy, admin_port=self.ports.envoy_admin)
        self.running: dict[str, Running] = {}
        self._passwords = {name: secrets.token_urlsafe(12) for name in (*PROCESSES, "mlflow")}
        self._replica_ports = {1: self.ports, 2: self._other_ports()}
        self._identity: DevelopmentIdentity | None = None

    # Addresses

    def dsn(self, service: str) -> str:
        """A service's database, reached directly."""
        return self.postgres.dsn(service, service, self._passwords[service])

    @property
    def identity(self) -> DevelopmentIdentity:
        """Who makes the tokens."""
        self._identity = self._identity or DevelopmentIdentity(self.folders.identity)
        return self._identity

    def as_(self, subject: str, *roles: str, number: int = 1) -> Connection:
        """The platform as somebody reaches it, by way of one set of replicas."""
        ports = self._replica_ports[number]
        endpoints = Endpoints(
            grpc=addresses(ports, SERVICES),
            http={name: f"http://127.0.0.1:{ports.http(name)}" for name in PROCESSES},
            gateway=f"http://127.0.0.1:{self.ports.envoy}",
            kafka=KafkaAccess(self.kafka.bootstrap),
        )
        return Connection(endpoints, lambda: self.identity.issue(subject, roles, timedelta(hours=1)))

    # Starting and stopping

    async def start_parts(self) -> None:
        """Start what services depend on, with its databases and topics."""
        for folder in self.folders.all():
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._repository.mkdir()
        (self._repository / "definitions.py").write_text(REPOSITORY)
        for link in self.links.values():
            await link.start()
        await asyncio.gather(self.start_postgres(), self.start_kafka(), self.start_envoy())
        for name, password in self._passwords.items():
            await asyncio.to_thread(self.postgres.create_database, name, name, password)
        await create_topics(KafkaAccess(self.kafka.bootstrap))

    async def start_services(self) -> None:
        """Start every service, and wait until it is ready."""
        for replica in self.replicas:
            self.launch(replica)
        await self.wait_ready(self.replicas)

    async def start_postgres(self) -> None:
        """Start PostgreSQL; after a crash what is left of it may take a moment to go."""
        self.running["postgres"] = running = await asyncio.to_thread(self.postgres.launch)
        await asyncio.to_thread(self.postgres.wait, running)

    async def start_kafka(self) -> None:
        """Start Kafka, once the last thread of one that was killed has let go of the port."""
        async with asyncio.timeout(_GRACE.total_seconds()):
            while not is_free(self.ports.kafka):  # noqa: ASYNC110 - a dying process tells nobody
                await asyncio.sleep(0.05)
        self.running["kafka"] = running = await asyncio.to_thread(self.kafka.launch)
        await asyncio.to_thread(self.kafka.wait, running)

    async def start_envoy(self) -> None:
        """Start Envoy."""
        self.running["envoy"] = running = self.envoy.start()
        await asyncio.to_thread(wait_until, self.envoy.ready, running, READY_WITHIN, "Envoy")

    def launch(self, replica: Replica, release: Sequence[str] = GOOD) -> None:
        """Start a replica of a release, a module and its arguments, without waiting for it."""
        module, *how = release
        environment = self._process(replica).environment(self.identity) | {
            "GOLDENPATH_CONSUMER_SESSION_TIMEOUT": f"PT{SESSION_TIMEOUT.total_seconds():g}S",
            SKEW: str(self.skew_file(replica)),
        }
        self.running[str(replica)] = start(
            [sys.executable, "-m", module, replica.service, *how],
            log=_Folders(self.folders.home, replica.number).logs / f"{replica.service}.log",
            environment=environment,
            cwd=self.folders.home,
        )

    def skew_file(self, replica: Replica) -> Path:
        """Says by how much a replica's clock is wrong."""
        return self.folders.home / f"skew-{replica.service}-{replica.number}"

    async def wait_ready(self, replicas: Iterable[Replica]) -> None:
        """Wait until replicas say that they are ready."""
        for replica in replicas:
            process = self._process(replica)
            running = self.running[str(replica)]
            await asyncio.to_thread(wait_until, process.ready, running, READY_WITHIN, str(replica))

    async def stop_replicas(self, replicas: Iterable[Replica]) -> None:
        """End replicas as a rollout of a new release would."""
        await asyncio.to_thread(stop_together, [self.running[str(replica)] for replica in replicas], _GRACE)

    def dead(self) -> list[Replica]:
        """Replicas that ended without being told to."""
        return [replica for replica in self.replicas if not self.running[str(replica)].alive()]

    async def stop(self) -> None:
        """End everything, in an order in which everybody can finish; what hangs is killed."""
        await self.stop_replicas(replica for replica in self.replicas if str(replica) in self.running)
        await asyncio.to_thread(modelservers.stop_all, self.folders.modelservers)
        for part in ("envoy", "kafka"):
            if part in self.running:
                await asyncio.to_thread(self.running[part].stop, _GRACE)
        await asyncio.to_thread(self.postgres.stop)
        for link in self.links.values():
            await link.stop()

    # What an adversary does to a process

    def kill(self, part: str) -> None:
        """End a process at once, its children included: a machine that loses power spares none."""
        running = self.running[part]
        running.send(signal.SIGSTOP)  # else PostgreSQL's first process sees the others die, and starts new ones
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(running.pid).children(recursive=True):
                if part in {"postgres", "kafka"} or "mlflow_reader" in " ".join(child.cmdline()):
                    child.kill()
        running.send(signal.SIGKILL)
        running.finish(_GRACE)

    def signal(self, part: str, what: signal.Signals) -> None:
        """Send a signal."""
        self.running[part].send(what)

    def model_servers(self) -> list[Running]:
        """The model servers that run now."""
        return modelservers.running(self.folders.modelservers)

    # Training

    async def train(self, versions: int) -> list[str]:
        """Tiny versions of one model, each with a run of its own."""
        script = Path(__file__).parents[1] / "e2e" / "train_tiny.py"
        artifacts = self.folders.mlflow / "tiny"
        store = tracking_uri({"mlflow": self.dsn("mlflow")})
        command = [sys.executable, str(script), store, str(artifacts), str(versions)]
        done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
        runs: list[str] = json.loads(done.stdout)
        return runs

    @property
    def _repository(self) -> Path:
        """The feature repository."""
        return self.folders.home / "feature_repo"

    def _process(self, replica: Replica) -> ServiceProcess | FeaturePusher:
        ports = replace(self._replica_ports[replica.number], kafka=self.links["kafka"].port)
        dsns = {
            name: self.dsn(name).replace(f":{self.ports.postgres}/", f":{self.links[name].port}/")
            for name in self._passwords
        }
        folders = _Folders(self.folders.home, replica.number)
        if replica.service == PUSHER:
            return FeaturePusher(str(self._repository), ports, folders, dsns[PUSHER], dsns[PUSHER])
        return ServiceProcess(replica.service, frozenset(SERVICES), ports, folders, dsns)

    def _other_ports(self) -> Ports:
        own = {f"{service}_{kind}": free_port() for service in SERVICES for kind in ("http", "grpc")}
        return replace(self.ports, **own, pusher_http=free_port())
