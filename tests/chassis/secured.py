"""A real broker with a door as in production: encrypted, and for which one needs a password (SASL_SSL, SCRAM-SHA-512).

The users are made when its folder is formatted. The other door, without a password, is the broker's own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from golden.embedded.java import java
from golden.embedded.kafka import KafkaBroker, _environment, _options
from tests.chassis.certificates import Certificate

_DOOR = """\
listeners=PLAINTEXT://127.0.0.1:{port},CLIENTS://127.0.0.1:{door},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CLIENTS://127.0.0.1:{door}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
listener.name.clients.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class SecuredBroker(KafkaBroker):
    """The embedded broker, with passwords.

    Args:
        folder: Holds its data.
        users: By name, their passwords.
        certificate: What the door shows.
        port: The broker's own door.
        door: Where users come in.
        controller_port: Where the broker talks to itself.
    """

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, str],
        certificate: Certificate,
        *,
        port: int,
        door: int,
        controller_port: int,
    ) -> None:
        super().__init__(folder, port=port, controller_port=controller_port)
        self._users = users
        self._certificate = certificate
        self._door = door

    @property
    def secured(self) -> str:
        """What users connect to, host:port."""
        return f"127.0.0.1:{self._door}"

    def _write_settings(self) -> Path:
        settings = super()._write_settings()
        kept = [line for line in settings.read_text().splitlines() if "listeners=" not in line]
        keystore = self._folder / "keystore.pem"
        keystore.write_text(self._certificate.both)
        door = _DOOR.format(
            port=self._port, door=self._door, controller_port=self._controller_port, keystore=keystore.absolute()
        )
        settings.write_text("\n".join([*kept, door]))
        return settings

    def _format(self, classes: str, settings: Path) -> None:
        tool = [str(java()), *_options(classes), "kafka.tools.StorageTool", "format", "-t", "c2VjdXJlZC1icm9rZXItMQ"]
        users = [f"--add-scram=SCRAM-SHA-512=[name={name},password={word}]" for name, word in self._users.items()]
        subprocess.run(
            [*tool, "-c", str(settings), *users], env=_environment(), cwd=self._folder, check=True, capture_output=True
        )
