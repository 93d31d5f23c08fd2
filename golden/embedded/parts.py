"""The parts of one platform, made from its folders and its state: nothing is started here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from golden.embedded.envoy import EnvoyProxy
from golden.embedded.features import DATABASE, READER, FeaturePusher
from golden.embedded.kafka import KafkaBroker
from golden.embedded.postgres import PostgresServer
from golden.embedded.services import SERVICES, Folders, ServiceProcess
from golden.embedded.state import State


class Parts:
    """Kafka, PostgreSQL, Envoy and the services of a platform.

    Args:
        folders: Where they keep what they keep.
        state: Their ports and passwords, and which services there are.
        say: Told when something takes long.
    """

    def __init__(self, folders: Folders, state: State, say: Callable[[str], None] = lambda _: None) -> None:
        self._folders = folders
        self._state = state
        self._say = say

    @cached_property
    def kafka(self) -> KafkaBroker:
        """The broker."""
        ports = self._state.ports
        return KafkaBroker(self._folders.kafka, port=ports.kafka, controller_port=ports.kafka_controller, say=self._say)

    @cached_property
    def postgres(self) -> PostgresServer:
        """The database server."""
        return PostgresServer(self._folders.postgres, port=self._state.ports.postgres)

    @cached_property
    def envoy(self) -> EnvoyProxy:
        """The proxy."""
        ports = self._state.ports
        return EnvoyProxy(self._folders.envoy, port=ports.envoy, admin_port=ports.envoy_admin)

    @property
    def routes(self) -> bool:
        """Whether there is a proxy: only the deployer needs one."""
        return "deployer" in self._state.services

    @property
    def services(self) -> list[ServiceProcess]:
        """The services, in their usual order."""
        state, dsns = self._state, self.dsns()
        return [
            ServiceProcess(name, state.services, state.ports, self._folders, dsns, reads_features=bool(state.features))
            for name in SERVICES
            if name in state.services
        ]

    @property
    def pusher(self) -> FeaturePusher | None:
        """What fills the feature store; None where no project reads features."""
        repo, passwords = self._state.features, self._state.passwords
        if not repo:
            return None
        reader = self.postgres.dsn(DATABASE, READER, passwords[READER])
        return FeaturePusher(repo, self._state.ports, self._folders, self.dsns()[DATABASE], reader)

    def dsns(self) -> dict[str, str]:
        """By name, how to open each database."""
        passwords = self._state.passwords
        return {name: self.postgres.dsn(name, name, password) for name, password in passwords.items()}
