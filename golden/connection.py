"""How a command reaches the platform: the addresses, the token, the stubs.

The embedded platform's state file says where it is; an organisation's platform is named by environment variables:
GOLDEN_REGISTRY, GOLDEN_GOVERNANCE, GOLDEN_DEPLOYER and GOLDEN_MONITOR (host:port), GOLDEN_TOKEN, and GOLDEN_CA (a file
of certificates) where connections are encrypted. Some commands need more: GOLDEN_REGISTRY_HTTP and its siblings,
GOLDEN_GATEWAY (URLs), GOLDEN_KAFKA (host:port) and GOLDEN_TRACES (a folder of span files). Who one is to Kafka is said
as a service says it: GOLDENPATH_KAFKA_PROTOCOL, _USER and _PASSWORD.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import grpc
from opentelemetry.trace import SpanKind

from goldenpath.deployer.v1 import deployer_service_pb2_grpc as deployer_grpc
from goldenpath.governance.v1 import governance_service_pb2_grpc as governance_grpc
from goldenpath.monitor.v1 import monitor_service_pb2_grpc as monitor_grpc
from goldenpath.registry.v1 import registry_service_pb2_grpc as registry_grpc
from services.chassis import grpc_errors, telemetry
from services.chassis.errors import GoldenpathError, Unavailable
from services.chassis.settings import KafkaAccess, KafkaSettings

SERVICES: Final = ("registry", "governance", "deployer", "monitor")
OPERATED: Final = (*SERVICES, "pusher")
"""What has dead letters, and says on /readyz how it is."""
_DEADLINE_S: Final = 60.0  # registering a version copies its files, which may be large
_QUESTIONS: Final = ("Get", "List", "Search", "Resolve", "Explain", "Check", "Watch")
_SILENT: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_LARGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_NOWHERE: Final = KafkaAccess("")


@dataclass(frozen=True)
class Endpoints:
    """Where the platform is.

    Args:
        grpc: By service, its gRPC address, host:port.
        http: By service, its HTTP URL; empty where unknown.
        gateway: The URL of the proxy in front of the model servers; empty where unknown.
        ca: The file of certificates that the services' are checked against; None: connections aren't encrypted.
        kafka: Where Kafka is, and as whom one comes; without bootstrap servers where unknown.
        traces: The folder of span files; None where traces go elsewhere.
        tracking: MLflow's tracking URI; empty where unknown.
        artifacts: The folder of new experiments' artifacts; None where a server decides, or the environment says it.
    """

    grpc: dict[str, str]
    http: dict[str, str] = field(default_factory=dict)
    gateway: str = ""
    ca: Path | None = None
    kafka: KafkaAccess = _NOWHERE
    traces: Path | None = None
    tracking: str = ""
    artifacts: Path | None = None


class Connection:
    """Stubs of the four services, each call with our token, the present trace and a deadline.

    Args:
        endpoints: Where the platform is.
        token: Gives the token to send.
    """

    def __init__(self, endpoints: Endpoints, token: Callable[[], str]) -> None:
        self.endpoints = endpoints
        self.token = token

    @cached_property
    def registry(self) -> registry_grpc.RegistryServiceStub:
        """The registry."""
        return registry_grpc.RegistryServiceStub(self._channel("registry"))

    @cached_property
    def governance(self) -> governance_grpc.GovernanceServiceStub:
        """Governance."""
        return governance_grpc.GovernanceServiceStub(self._channel("governance"))

    @cached_property
    def deployer(self) -> deployer_grpc.DeployerServiceStub:
        """The deployer."""
        return deployer_grpc.DeployerServiceStub(self._channel("deployer"))

    @cached_property
    def monitor(self) -> monitor_grpc.MonitorServiceStub:
        """The monitor."""
        return monitor_grpc.MonitorServiceStub(self._channel("monitor"))

    def _channel(self, service: str) -> grpc.Channel:
        address = self.endpoints.grpc.get(service, "")
        if not address:
            raise Unavailable(f"this platform runs no {service}", fix=f"golden up, or set GOLDEN_{service.upper()}")
        options = [("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES)]
        if self.endpoints.ca is None:
            channel = grpc.insecure_channel(address, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(self.endpoints.ca.read_bytes())
            channel = grpc.secure_channel(address, credentials, options=options)
        return grpc.intercept_channel(channel, _Caller(self.token, f"the {service} at {address}"))


class _Caller(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds to each call who asks, and in which trace; and to each failure, who was asked."""

    def __init__(self, token: Callable[[], str], asked: str) -> None:
        self._token = token
        self._asked = asked

    def intercept_unary_unary(self, continuation: Any, details: grpc.ClientCallDetails, request: Any) -> Any:
        """A call with one answer has a deadline; one that changes something is where an episode begins."""
        method = details.method.rpartition("/")[2]
        if method.startswith(_QUESTIONS):
            return self._noted(continuation(self._with(details, details.timeout or _DEADLINE_S), request))
        with telemetry.span(method, kind=SpanKind.CLIENT):
            return self._noted(continuation(self._with(details, details.timeout or _DEADLINE_S), request))

    def intercept_unary_stream(self, continuation: Any, details: grpc.ClientCallDetails, request: Any) -> Any:
        """A stream goes on until somebody ends it."""
        return self._noted(continuation(self._with(details, details.timeout), request))

    def _noted(self, call: Any) -> Any:
        if isinstance(call, grpc.RpcError):
            call.add_note(self._asked)
        return call

    def _with(self, details: grpc.ClientCallDetails, timeout: float | None) -> _Details:
        metadata: list[tuple[str, str | bytes]] = [
            *(details.metadata or ()),
            ("authorization", f"Bearer {self._token()}"),
        ]
        if traceparent := telemetry.current_traceparent():
            metadata.append(("traceparent", traceparent))
        return _Details(details.method, timeout, tuple(metadata), details.credentials)


@dataclass
class _Details(grpc.ClientCallDetails):
    """What a call is made with."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None = None
    compression: grpc.Compression | None = None


def error_of(failure: grpc.RpcError) -> GoldenpathError:
    """The error behind a failed call; where nobody answered, it says whom we asked."""
    error = grpc_errors.error_of(failure)
    call: grpc.Call = failure  # type: ignore[assignment] # every failed call is both
    asked = ", ".join(getattr(failure, "__notes__", ()))
    if isinstance(error, Unavailable) and asked and call.code() in _SILENT and not call.trailing_metadata():
        return Unavailable(f"{asked} doesn't answer", fix="golden status shows what runs, golden up starts it again")
    return error


def from_environment() -> Connection | None:
    """The platform that GOLDEN_ variables name; None where they name none."""
    addresses = {service: os.environ.get(f"GOLDEN_{service.upper()}", "") for service in SERVICES}
    if not any(addresses.values()):
        return None
    endpoints = Endpoints(
        grpc=addresses,
        http={name: url for name in OPERATED if (url := os.environ.get(f"GOLDEN_{name.upper()}_HTTP", ""))},
        gateway=os.environ.get("GOLDEN_GATEWAY", ""),
        ca=Path(ca) if (ca := os.environ.get("GOLDEN_CA", "")) else None,
        kafka=KafkaSettings.read(kafka_bootstrap=os.environ.get("GOLDEN_KAFKA", "")).kafka,
        traces=Path(traces) if (traces := os.environ.get("GOLDEN_TRACES", "")) else None,
        tracking=os.environ.get("MLFLOW_TRACKING_URI", ""),
    )
    return Connection(endpoints, lambda: os.environ.get("GOLDEN_TOKEN", ""))
