"""Model servers as processes on this machine, each in a session of its own.

They outlive the deployer: a deployer that starts again finds them by the process id and start time in its database,
and one whose start was interrupted by the endpoint's id in its environment. What the deployer knows and a model
server doesn't need (the database, tokens) isn't handed down.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from services.chassis.settings import KafkaAccess
from services.deployer.domain.routing import Address
from services.deployer.runtimes import Endpoint, Process

_ENDPOINT: Final = "GOLDENPATH_ENDPOINT"
_OURS: Final = "GOLDENPATH_"
# A model is somebody's code. It gets what a Python process needs, and none of the deployer's secrets or credentials.
_HANDED_DOWN: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "SSL_CERT_",
    "OTEL_",
    "OMP_",
    "OPENBLAS_",
    "MKL_",
)
_SAME_START_SECONDS: Final = 2.0  # psutil adds ticks to the boot time, and Linux moves that as the clock is set
_READY_SECONDS: Final = 1.0
_LAST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What every model server here is told.

    Args:
        folder: Where logs are written, and `<pid>.json` for whoever must end them all.
        artifacts: The artifact store.
        kafka: Where Kafka is, and as whom a model server comes.
        traces: Where spans are kept; None: nowhere.
        features_store: The feature store's feature_store.yaml, for versions that read features; None: there is none.
    """

    folder: Path
    artifacts: Path
    kafka: KafkaAccess
    traces: Path | None
    features_store: Path | None = None


class LocalRuntime:
    """Runs model servers on this machine."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(timeout=_READY_SECONDS, trust_env=False)

    async def close(self) -> None:
        """End our own connections; the servers go on."""
        await self._client.aclose()

    def free_address(self) -> Address:
        """Two free ports on loopback."""
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            return Address(f"127.0.0.1:{one.getsockname()[1]}", f"127.0.0.1:{other.getsockname()[1]}")

    def start(self, endpoint: Endpoint) -> Process:
        """Start a server."""
        self._settings.folder.mkdir(parents=True, exist_ok=True)
        with self._log(endpoint).open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "services.modelserver"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment(endpoint),
            )
        process = Process(child.pid, psutil.Process(child.pid).create_time())
        child.returncode = 0  # it may outlive us; `alive` takes its exit code
        self._write_pid(process)
        return process

    def find(self, endpoint: Endpoint) -> Process | None:
        """The process that an interrupted start left behind; it looks at every process, which takes a while."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(_ENDPOINT) == str(endpoint.id):
                    found = Process(process.pid, process.create_time())
                    self._write_pid(found)
                    return found
        return None

    def alive(self, endpoint: Endpoint) -> bool:
        """True while this very process runs."""
        found = _process(endpoint.process)
        if found is None:
            return False
        with suppress(psutil.NoSuchProcess):
            if found.status() != psutil.STATUS_ZOMBIE:
                return True
        with suppress(ChildProcessError):
            os.waitpid(found.pid, os.WNOHANG)
        return False

    def stop(self, endpoint: Endpoint) -> None:
        """Ask it to end; it finishes what is under way first."""
        self._send(endpoint, signal.SIGTERM)

    def kill(self, endpoint: Endpoint) -> None:
        """End it at once."""
        self._send(endpoint, signal.SIGKILL)

    def last_words(self, endpoint: Endpoint) -> str:
        """The last line of its log: a server that can't start says why there."""
        with suppress(OSError):
            # Without NUL, which is text, but none that a database holds.
            text = self._log(endpoint).read_bytes()[-_LAST_BYTES:].replace(b"\x00", b"").decode(errors="replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            return lines[-1] if lines else ""
        return ""

    async def answers_ready(self, endpoint: Endpoint) -> bool:
        """True where it is warm and takes requests."""
        try:
            response = await self._client.get(f"http://{endpoint.address.http}/v2/health/ready")
        except httpx.HTTPError:
            return False
        return response.is_success

    def _send(self, endpoint: Endpoint, number: signal.Signals) -> None:
        found = _process(endpoint.process)
        if found is not None:
            with suppress(psutil.NoSuchProcess):
                found.send_signal(number)
            (self._settings.folder / f"{found.pid}.json").unlink(missing_ok=True)

    def _log(self, endpoint: Endpoint) -> Path:
        place = endpoint.place
        name = f"{place.model}-{place.environment}-{endpoint.version}-{endpoint.id.hex[:8]}.log"
        return self._settings.folder / name

    def _write_pid(self, process: Process) -> None:
        body = {"pid": process.pid, "started_at": process.started_at}
        (self._settings.folder / f"{process.pid}.json").write_text(json.dumps(body))

    def _environment(self, endpoint: Endpoint) -> Mapping[str, str]:
        told = {
            "ENDPOINT": str(endpoint.id),
            "ARTIFACTS_FOLDER": str(self._settings.artifacts),
            "ARTIFACT_DIGEST": endpoint.digest,
            "ENVIRONMENT_DIGEST": endpoint.environment_digest,
            "MODEL": endpoint.place.model,
            "VERSION": str(endpoint.version),
            "ENVIRONMENT": endpoint.place.environment,
            "HTTP_ADDRESS": endpoint.address.http,
            "GRPC_ADDRESS": endpoint.address.grpc,
            **_told_of(self._settings.kafka),
        }
        if self._settings.traces is not None:
            told["TRACES_FOLDER"] = str(self._settings.traces)
        if endpoint.features:
            told["FEATURES"] = endpoint.features
        if endpoint.features and self._settings.features_store is not None:
            told["FEATURES_STORE"] = str(self._settings.features_store)
        inherited = {name: value for name, value in os.environ.items() if name.startswith(_HANDED_DOWN)}
        return inherited | {f"{_OURS}{name}": value for name, value in told.items()}


def _told_of(kafka: KafkaAccess) -> Mapping[str, str]:
    told = {"KAFKA_BOOTSTRAP": kafka.bootstrap, "KAFKA_PROTOCOL": kafka.protocol, "KAFKA_MECHANISM": kafka.mechanism}
    if kafka.password is not None:
        told |= {"KAFKA_USER": kafka.user, "KAFKA_PASSWORD": kafka.password.get_secret_value()}
    if kafka.ca_path is not None:
        told["KAFKA_CA_PATH"] = str(kafka.ca_path)
    return told


def _process(known: Process | None) -> psutil.Process | None:
    if known is None:
        return None
    try:
        found = psutil.Process(known.pid)
        same = abs(found.create_time() - known.started_at) <= _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return None
    return found if same else None
