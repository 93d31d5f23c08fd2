"""The four services as processes: what each is told, and whether it is ready.

A service gets the caller's environment (an MLflow store on S3 needs its credentials) with every GOLDENPATH_ variable
replaced by ours. Siblings that this platform doesn't run have no address, which is how a service knows.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from golden.embedded.files import write_private
from golden.embedded.ports import Ports
from golden.embedded.processes import Running, start, wait_until
from golden.embedded.tokens import DevelopmentIdentity

SERVICES = ("registry", "governance", "deployer", "monitor")
_READY_WITHIN = timedelta(seconds=90)  # 3 s on an idle laptop; four at once on a busy CI machine take much longer
_TOKEN_LIFETIME = timedelta(days=365)  # renewed at every `up`
_ASKING_SECONDS = 2.0
_PREFIX = "GOLDENPATH_"
_FEASTS = "PROMETHEUS_MULTIPROC"  # its folders of metrics go with the process that imported it


@dataclass(frozen=True)
class Folders:
    """Where the platform keeps what it keeps.

    Args:
        home: The platform's folder.
    """

    home: Path

    @property
    def artifacts(self) -> Path:
        """The artifact store."""
        return self.home / "artifacts"

    @property
    def mlflow(self) -> Path:
        """The files of MLflow's runs."""
        return self.home / "mlflow"

    @property
    def identity(self) -> Path:
        """The development identity's key, the public keys, and the services' tokens."""
        return self.home / "identity"

    @property
    def traces(self) -> Path:
        """Spans, a file per process."""
        return self.home / "traces"

    @property
    def logs(self) -> Path:
        """The services' logs."""
        return self.home / "logs"

    @property
    def modelservers(self) -> Path:
        """The model servers' logs, and a file that names each one's process."""
        return self.home / "modelservers"

    @property
    def envoy(self) -> Path:
        """The proxy's files."""
        return self.home / "envoy"

    @property
    def kafka(self) -> Path:
        """The broker's data."""
        return self.home / "kafka"

    @property
    def features(self) -> Path:
        """How the feature store is reached, and what Feast knows of it."""
        return self.home / "features"

    @property
    def feature_store(self) -> Path:
        """Feast's settings: where the store is, as its owner."""
        return self.features / "feature_store.yaml"

    @property
    def feature_reader(self) -> Path:
        """The same as a role that can only read: what model servers get, since a model is somebody's code."""
        return self.features / "reader" / "feature_store.yaml"

    @property
    def postgres(self) -> Path:
        """The databases."""
        return self.home / "postgres"

    def all(self) -> list[Path]:
        """Every one of them: what a wipe removes."""
        return [
            self.artifacts,
            self.mlflow,
            self.identity,
            self.traces,
            self.logs,
            self.modelservers,
            self.envoy,
            self.kafka,
            self.features,
            self.postgres,
        ]


@dataclass(frozen=True)
class ServiceProcess:
    """One service of this platform.

    Args:
        name: Which.
        siblings: Every service that this platform runs.
        ports: Where everything listens.
        folders: Where everything is kept.
        dsns: By name, the databases.
        reads_features: Whether there is a feature store.
    """

    name: str
    siblings: frozenset[str]
    ports: Ports
    folders: Folders
    dsns: dict[str, str]
    reads_features: bool = False

    def launch(self, identity: DevelopmentIdentity) -> Running:
        """Start it, with a fresh token of its own, without waiting for it."""
        return start(
            [sys.executable, "-m", f"services.{self.name}"],
            log=self.folders.logs / f"{self.name}.log",
            environment=self.environment(identity),
            cwd=self.folders.home,
        )

    def environment(self, identity: DevelopmentIdentity) -> dict[str, str]:
        """What it is told, with a fresh token of its own in its file."""
        token = self.folders.identity / f"{self.name}.jwt"
        write_private(token, identity.issue(f"service/{self.name}", ["service"], _TOKEN_LIFETIME))
        told = {**self._common(), **self._own(), "JWKS_PATH": str(identity.jwks_path), "TOKEN_PATH": str(token)}
        return environment_of(told)

    def wait(self, running: Running) -> None:
        """Wait until it says that it is ready."""
        wait_until(self.ready, running, within=_READY_WITHIN, what=f"the service {self.name}")

    def ready(self) -> bool:
        """Whether it and what it depends on are there."""
        return is_ready(self.ports.http(self.name))

    def _common(self) -> dict[str, str]:
        return {
            "DATABASE_DSN": self.dsns[self.name],
            "KAFKA_BOOTSTRAP": f"127.0.0.1:{self.ports.kafka}",
            "GRPC_ADDRESS": f"127.0.0.1:{self.ports.grpc(self.name)}",
            "HTTP_ADDRESS": f"127.0.0.1:{self.ports.http(self.name)}",
            "TRACES_FOLDER": str(self.folders.traces),
            **{f"{name.upper()}_ADDRESS": address for name, address in addresses(self.ports, self.siblings).items()},
        }

    def _own(self) -> dict[str, str]:
        match self.name:
            case "registry":
                return {
                    "ARTIFACT_STORE": str(self.folders.artifacts),
                    "MLFLOW_TRACKING_URI": tracking_uri(self.dsns),
                }
            case "deployer":
                return {
                    "ARTIFACTS_FOLDER": str(self.folders.artifacts),
                    "MODELSERVERS_FOLDER": str(self.folders.modelservers),
                    "PROXY_FOLDER": str(self.folders.envoy),
                    "PROXY_ADMIN": f"127.0.0.1:{self.ports.envoy_admin}",
                    "PROXY_URL": f"http://127.0.0.1:{self.ports.envoy}",
                    **self._feature_store(),
                }
            case "monitor":
                return self._feature_store()
            case _:
                return {}

    def _feature_store(self) -> dict[str, str]:
        return {"FEATURES_STORE": str(self.folders.feature_reader)} if self.reads_features else {}


def environment_of(told: Mapping[str, str]) -> dict[str, str]:
    """What a process of ours finds in its environment: the caller's, and of GOLDENPATH_ variables these alone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith((_PREFIX, _FEASTS))}
    return inherited | {f"{_PREFIX}{name}": value for name, value in told.items()}


def is_ready(port: int) -> bool:
    """Whether what has HTTP there says that it and what it depends on are ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASKING_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def addresses(ports: Ports, services: Iterable[str]) -> dict[str, str]:
    """By service, where its gRPC listens."""
    return {name: f"127.0.0.1:{ports.grpc(name)}" for name in services}


def tracking_uri(dsns: dict[str, str]) -> str:
    """MLflow's tracking URI: a database of the same PostgreSQL, so no MLflow server is needed."""
    return dsns["mlflow"].replace("postgresql://", "postgresql+psycopg://", 1)
