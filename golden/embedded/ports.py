"""The ports that clients know: fixed and documented, each to be overridden.

They keep away from what a laptop is likely to run already (5432, 8080, 9092). An environment variable named after the
field moves one: GOLDEN_PORT_KAFKA=19092. Tests and the demo take free ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

from golden.embedded.processes import free_port
from services.chassis.errors import Invalid

_HIGHEST = 65_535


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on 127.0.0.1."""

    envoy: int = 8700
    """The gateway: predictions go here."""
    envoy_admin: int = 8709
    """Envoy's administration interface."""
    registry_http: int = 8701
    governance_http: int = 8702
    deployer_http: int = 8703
    monitor_http: int = 8704
    pusher_http: int = 8705
    registry_grpc: int = 9701
    governance_grpc: int = 9702
    deployer_grpc: int = 9703
    monitor_grpc: int = 9704
    postgres: int = 9732
    kafka: int = 9792
    kafka_controller: int = 9793
    """Where the broker talks to itself."""

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody uses now."""
        return cls(**{field.name: free_port() for field in fields(cls)})

    @classmethod
    def configured(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The documented ports, but those that GOLDEN_PORT_ variables move.

        Raises:
            Invalid: a variable isn't a port, or two parts would share one.
        """
        moved = {
            field.name: _port(f"GOLDEN_PORT_{field.name.upper()}", environment[f"GOLDEN_PORT_{field.name.upper()}"])
            for field in fields(cls)
            if f"GOLDEN_PORT_{field.name.upper()}" in environment
        }
        ports = cls(**moved)
        taken = list(asdict(ports).values())
        if twice := [port for port in taken if taken.count(port) > 1]:
            raise Invalid(f"port {twice[0]} is given to two parts", fix="change the GOLDEN_PORT_ variables")
        return ports

    def http(self, service: str) -> int:
        """A service's HTTP port."""
        return int(getattr(self, f"{service}_http"))

    def grpc(self, service: str) -> int:
        """A service's gRPC port."""
        return int(getattr(self, f"{service}_grpc"))


def _port(variable: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) <= _HIGHEST:
        raise Invalid(f"{value!r} is not a port", where=variable, fix=f"give a number from 1 to {_HIGHEST}")
    return int(value)
