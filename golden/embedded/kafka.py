"""One Apache Kafka broker for a laptop: KRaft, broker and controller in one process, loopback only.

The folder holds the broker's data and survives restarts and crashes; it is formatted once. Ports are given at every
start: nothing on disk remembers them, so a test and a platform can move a broker.

Topics are code: the broker makes none by itself.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from golden.embedded.jars import class_path
from golden.embedded.java import java, sharing_classes
from golden.embedded.processes import Running, require_free, start, wait_until
from services.chassis.errors import Unavailable

_READY_WITHIN = timedelta(
    seconds=90
)  # 3 s on an idle laptop; a busy CI machine has been seen to take twenty times that
_STOP_WITHIN = timedelta(seconds=30)  # a controlled shutdown takes 1 s; writing the class archive, once, 5 s more
_NO_CLIENT_ID = -1
_METADATA = 3  # the request's api_key; version 0 asks for every topic and is answered with the brokers first
_ANSWER = struct.Struct(">iii")  # its size, the request's correlation id, the number of brokers
_LOGGING = Path(__file__).with_name("log4j2.xml")

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A group starts with whoever is there, instead of waiting 3 s for more.
group.initial.rebalance.delay.ms=0
# The default, 128 MB, is for brokers with thousands of partitions.
log.cleaner.dedupe.buffer.size=16777216
"""


class KafkaBroker:
    """The embedded broker.

    Args:
        folder: Holds its data, its settings and its log; made when absent.
        port: Where clients connect.
        controller_port: Where the broker talks to itself.
        say: Told when something takes long: jars are downloaded the first time.
    """

    def __init__(
        self, folder: Path, *, port: int, controller_port: int, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._folder = folder.absolute()
        self._port = port
        self._controller_port = controller_port
        self._say = say

    @property
    def bootstrap(self) -> str:
        """What clients connect to, host:port."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> Running:
        """Start the broker, and wait until it takes requests."""
        running = self.launch()
        self.wait(running)
        return running

    def launch(self) -> Running:
        """Start the broker without waiting for it; an empty folder is formatted first."""
        require_free("Kafka", self._port, self._controller_port)
        self._folder.mkdir(parents=True, exist_ok=True)
        classes = class_path(say=self._say)
        settings = self._write_settings()
        if not (self._data / "meta.properties").exists():
            self._format(classes, settings)
        executable = java()
        return start(
            [executable, *sharing_classes(executable), *_options(classes), "kafka.Kafka", settings],
            log=self._folder / "kafka.log",
            environment=_environment(),
            cwd=self._folder,
        )

    def wait(self, running: Running) -> None:
        """Wait until a launched broker takes requests."""
        wait_until(self.ready, running, within=_READY_WITHIN, what="Kafka")

    def stop(self, running: Running) -> None:
        """Stop the broker in an orderly way, so that the next start has nothing to recover."""
        running.stop(_STOP_WITHIN)

    def ready(self) -> bool:
        """Whether the broker answers and counts itself as alive, so that topics can be made on it."""
        request = struct.pack(">hhihi", _METADATA, 0, 0, _NO_CLIENT_ID, 0)
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.makefile("rb").read(_ANSWER.size)
            return len(answer) == _ANSWER.size and _ANSWER.unpack(answer)[-1] > 0
        return False

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _write_settings(self) -> Path:
        settings = self._folder / "server.properties"
        settings.write_text(_SETTINGS.format(data=self._data, port=self._port, controller_port=self._controller_port))
        return settings

    def _format(self, classes: str, settings: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        done = subprocess.run(  # noqa: S603 - our own java
            [
                java(),
                *_options(classes),
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster}",
                "-c",
                settings,
            ],
            env=_environment(),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Unavailable(f"Kafka's folder {self._data} could not be formatted: {done.stdout}{done.stderr}")


def _options(classes: str) -> list[str]:
    return [
        "-Xms128m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # the quick compiler alone: a laptop's broker is started more than it is loaded
        f"-Dlog4j2.configurationFile={_LOGGING}",
        "-cp",
        classes,
    ]


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
