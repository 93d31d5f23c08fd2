"""Governance, registry and monitor as real gRPC servers that answer as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from goldenpath.governance.v1 import events_pb2 as governance_events_pb2
from goldenpath.governance.v1 import governance_service_pb2 as governance_pb2
from goldenpath.governance.v1 import governance_service_pb2_grpc as governance_grpc
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor_pb2
from goldenpath.monitor.v1 import monitor_service_pb2_grpc as monitor_grpc
from goldenpath.registry.v1 import registry_service_pb2 as registry_pb2
from goldenpath.registry.v1 import registry_service_pb2_grpc as registry_grpc


@dataclass
class Siblings(
    governance_grpc.GovernanceServiceServicer,
    registry_grpc.RegistryServiceServicer,
    monitor_grpc.MonitorServiceServicer,
):
    """All three on one port. `digests` are the versions' bytes; `admits` is governance's answer."""

    digests: dict[int, str] = field(default_factory=dict)
    example: str = ""
    admits: bool = True
    shadow: bool = False
    answers: monitor_pb2.GetDisagreementResponse = field(default_factory=monitor_pb2.GetDisagreementResponse)
    sample: monitor_pb2.GetSampleResponse = field(default_factory=monitor_pb2.GetSampleResponse)
    port: int = 0

    async def CheckAdmission(  # noqa: N802 - gRPC's name
        self, request: governance_pb2.CheckAdmissionRequest, context: Any
    ) -> governance_pb2.CheckAdmissionResponse:
        del context
        known = self.digests.get(request.version) == request.artifact_digest
        verdict = governance_events_pb2.Verdict(id=f"verdict-{request.version}", version=request.version)
        return governance_pb2.CheckAdmissionResponse(admitted=self.admits and known, reason="told so", verdict=verdict)

    async def GetVersion(  # noqa: N802 - gRPC's name
        self, request: registry_pb2.GetVersionRequest, context: Any
    ) -> registry_pb2.GetVersionResponse:
        if request.version not in self.digests:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such version")
        version = registry_pb2.Version(input_example_json=self.example)
        version.registered.model = request.model
        version.registered.artifact_digest = self.digests[request.version]
        version.rollout.steps.extend([20, 100])
        version.rollout.minimum_sample = 80
        version.rollout.shadow = self.shadow
        return registry_pb2.GetVersionResponse(version=version)

    async def GetSample(self, request: monitor_pb2.GetSampleRequest, context: Any) -> monitor_pb2.GetSampleResponse:  # noqa: N802 - gRPC's name
        del request, context
        return self.sample

    async def GetDisagreement(  # noqa: N802 - gRPC's name
        self, request: monitor_pb2.GetDisagreementRequest, context: Any
    ) -> monitor_pb2.GetDisagreementResponse:
        del request, context
        return self.answers


@asynccontextmanager
async def siblings() -> AsyncIterator[Siblings]:
    server, made = grpc.aio.server(), Siblings()  # type: ignore[abstract] # what isn't asked isn't answered
    governance_grpc.add_GovernanceServiceServicer_to_server(made, server)
    registry_grpc.add_RegistryServiceServicer_to_server(made, server)
    monitor_grpc.add_MonitorServiceServicer_to_server(made, server)
    made.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield made
    await server.stop(None)
