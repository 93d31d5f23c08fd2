"""How the platform comes up: the order, and what is written down when.

Everything is launched before anything is waited for, since a JVM takes its time. A service reads its siblings'
addresses once, so when the set of services has changed, those that run are started anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from golden.embedded import state as states
from golden.embedded.features import DATABASE, READER, FeaturePusher
from golden.embedded.features import NAME as PUSHER
from golden.embedded.parts import Parts
from golden.embedded.ports import Ports
from golden.embedded.processes import Running, require_free, stop_together, wait_until
from golden.embedded.services import SERVICES, Folders, ServiceProcess
from golden.embedded.state import State
from golden.embedded.tokens import DevelopmentIdentity

SERVICE_GRACE: Final = timedelta(seconds=20)  # requests in flight have ten, then connections close
_PROXY_WITHIN: Final = timedelta(seconds=30)  # a second on an idle laptop


class Starting:
    """One `up`.

    Args:
        folders: The platform's.
        left: How it was left.
        say: Told what is being done.
    """

    def __init__(self, folders: Folders, left: State, say: Callable[[str], None]) -> None:
        self._folders = folders
        self._state = left
        self._say = say

    def run(self, services: frozenset[str], ports: Ports, features: str = "") -> State:
        """Start what isn't there, and wait until all of it is ready."""
        if features:
            self._stop(PUSHER)  # whoever names the repository wants it as it is by now
        features = features or self._state.features
        if self._state.services != services or self._state.features != features:
            self.stop_services()
        databases = services | {"mlflow"} | ({DATABASE, READER} if features else set())
        self._keep(replace(self._state, services=services, ports=ports, features=features).with_passwords(databases))
        for folder in self._folders.all():
            folder.mkdir(exist_ok=True, mode=0o700)
        parts = Parts(self._folders, self._state, self._say)
        self._start_infrastructure(parts)
        for name, password in self._state.passwords.items():
            if name == READER:
                continue  # it has no database of its own
            parts.postgres.create_database(name, name, password)
        if READER in self._state.passwords:
            parts.postgres.create_reader(DATABASE, DATABASE, READER, self._state.passwords[READER])
            parts.postgres.join_without_loops(DATABASE)  # its owner makes training sets; who serves and proves reads
        self._start_services(parts.services, parts.pusher)
        return self._state

    def stop_services(self) -> None:
        """Stop the services, all at once."""
        self._stop(*SERVICES, PUSHER)

    def _stop(self, *names: str) -> None:
        stop_together([self._state.parts[name] for name in names if name in self._state.parts], SERVICE_GRACE)

    def _start_infrastructure(self, parts: Parts) -> None:
        self._say("PostgreSQL, Kafka and Envoy …" if parts.routes else "PostgreSQL and Kafka …")
        ports = self._state.ports
        postgres = self._ensure("postgres", (ports.postgres,), parts.postgres.launch)
        kafka = self._ensure("kafka", (ports.kafka, ports.kafka_controller), parts.kafka.launch)
        if parts.routes:
            envoy = self._ensure("envoy", (ports.envoy, ports.envoy_admin), parts.envoy.start)
            wait_until(parts.envoy.ready, envoy, within=_PROXY_WITHIN, what="Envoy")
        parts.postgres.wait(postgres)
        parts.kafka.wait(kafka)

    def _start_services(self, services: list[ServiceProcess], pusher: FeaturePusher | None) -> None:
        identity = DevelopmentIdentity(self._folders.identity)
        if pusher is not None:
            self._ensure(PUSHER, (self._state.ports.pusher_http,), lambda: pusher.launch(identity))
        for service in services:
            ports = (service.ports.http(service.name), service.ports.grpc(service.name))
            self._ensure(service.name, ports, lambda service=service: service.launch(identity))  # type: ignore[misc] # mypy can't infer a lambda with a default
        for service in services:
            self._say(f"{service.name} …")
            service.wait(self._state.parts[service.name])
        if pusher is not None:
            self._say("features …")
            pusher.wait(self._state.parts[PUSHER])

    def _ensure(self, part: str, ports: tuple[int, ...], launch: Callable[[], Running]) -> Running:
        if not self._state.alive(part):
            require_free(part, *ports)
            self._keep(self._state.started(part, launch()))
        return self._state.parts[part]

    def _keep(self, state: State) -> None:
        self._state = states.write(self._folders.home, state)
