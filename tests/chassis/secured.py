"""A real broker with a door for which one needs a password: SCRAM-SHA-512, users made when its folder is formatted.

The other door, without one, is the broker's own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from golden.embedded.java import java
from golden.embedded.kafka import KafkaBroker, _environment, _options

_DOOR = """\
listeners=PLAINTEXT://127.0.0.1:{port},CLIENTS://127.0.0.1:{door},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CLIENTS://127.0.0.1:{door}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class SecuredBroker(KafkaBroker):
    """The embedded broker, with passwords.

    Args:
        folder: Holds its data.
        users: By name, their passwords.
        port: The broker's own door.
        door: Where users come in.
        controller_port: Where the broker talks to itself.
    """

    def __init__(self, folder: Path, users: Mapping[str, str], *, port: int, door: int, controller_port: int) -> None:
        super().__init__(folder, port=port, controller_port=controller_port)
        self._users = users
        self._door = door

    @property
    def secured(self) -> str:
        """What users connect to, host:port."""
        return f"127.0.0.1:{self._door}"

    def _write_settings(self) -> Path:
        settings = super()._write_settings()
        kept = [line for line in settings.read_text().splitlines() if "listeners=" not in line]
        door = _DOOR.format(port=self._port, door=self._door, controller_port=self._controller_port)
        settings.write_text("\n".join([*kept, door]))
        return settings

    def _format(self, classes: str, settings: Path) -> None:
        tool = [str(java()), *_options(classes), "kafka.tools.StorageTool", "format", "-t", "c2VjdXJlZC1icm9rZXItMQ"]
        users = [f"--add-scram=SCRAM-SHA-512=[name={name},password={word}]" for name, word in self._users.items()]
        subprocess.run(
            [*tool, "-c", str(settings), *users], env=_environment(), cwd=self._folder, check=True, capture_output=True
        )
