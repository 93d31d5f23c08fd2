"""Governance, the registry and the monitor, by gRPC."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
from google.protobuf import json_format

from goldenpath.governance.v1 import governance_service_pb2 as governance_pb2
from goldenpath.governance.v1 import governance_service_pb2_grpc as governance_grpc
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor_pb2
from goldenpath.monitor.v1 import monitor_service_pb2_grpc as monitor_grpc
from goldenpath.registry.v1 import events_pb2 as registry_events_pb2
from goldenpath.registry.v1 import registry_service_pb2 as registry_pb2
from goldenpath.registry.v1 import registry_service_pb2_grpc as registry_grpc
from services.chassis.errors import Conflict, Denied, GoldenpathError
from services.deployer.clients import Admission, Sample, values_of
from services.deployer.domain.comparison import Costs, Reference
from services.deployer.domain.deployment import Place, Role
from services.deployer.domain.policy import Policy
from services.deployer.domain.shadow import Disagreement
from services.deployer.store.versions import Known
from services.profile.reference import ReferenceProfile

if TYPE_CHECKING:
    from goldenpath.governance.v1.governance_service_pb2_grpc import GovernanceServiceAsyncStub
    from goldenpath.monitor.v1.monitor_service_pb2_grpc import MonitorServiceAsyncStub
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub
    from services.chassis.grpc_client import Sibling

_SAMPLE: Final = 4000  # records: enough to tell losses of 0.12 and 0.14 apart, and a second of replay
_SCORE: Final = "score"


class GovernanceClient:
    """Governance by gRPC."""

    def __init__(self, sibling: Sibling) -> None:
        self._sibling = sibling

    async def check(self, place: Place, version: int, digest: str) -> Admission:
        """Ask about bytes."""
        stub: GovernanceServiceAsyncStub = governance_grpc.GovernanceServiceStub(self._sibling.channel)
        request = governance_pb2.CheckAdmissionRequest(
            model=place.model, version=version, artifact_digest=digest, environment=place.environment
        )
        answer = await self._sibling.ask(stub.CheckAdmission, request)
        return Admission(answer.admitted, answer.reason, answer.verdict.id)

    async def newest_approved(self, model: str) -> int:
        """The newest version that was judged.

        Raises:
            Denied: governance doesn't admit it.
        """
        stub: GovernanceServiceAsyncStub = governance_grpc.GovernanceServiceStub(self._sibling.channel)
        found = (await self._sibling.ask(stub.GetVerdict, governance_pb2.GetVerdictRequest(model=model))).verdict
        answer = await self.check(Place(model), found.version, found.artifact_digest)
        if not answer.admitted:
            raise Denied(
                f"version {found.version} of {model} may not serve: {answer.reason}",
                fix=f"golden explain {model}@{found.version}",
            )
        return found.version


class RegistryClient:
    """The registry by gRPC."""

    def __init__(self, sibling: Sibling) -> None:
        self._sibling = sibling

    async def version(self, place: Place, version: int) -> Known:
        """Ask about a version."""
        stub: RegistryServiceAsyncStub = registry_grpc.RegistryServiceStub(self._sibling.channel)
        request = registry_pb2.GetVersionRequest(model=place.model, version=version)
        found = (await self._sibling.ask(stub.GetVersion, request)).version
        if found.retired:
            raise Conflict(f"version {version} of {place.model} is retired")
        return Known(
            place,
            version,
            found.registered.artifact_digest,
            found.registered.environment_digest,
            found.input_example_json,
            policy_of(found),
            await self._reference(stub, place.model, version) if found.registered.profile_digest else None,
            "",
            json_format.MessageToJson(found.features, indent=None) if found.HasField("features") else "",
        )

    async def _reference(self, stub: RegistryServiceAsyncStub, model: str, version: int) -> Reference | None:
        request = registry_pb2.GetProfileRequest(model=model, version=version)
        with suppress(GoldenpathError):  # without it a comparison needs outcomes; nothing else does
            answer = await self._sibling.ask(stub.GetProfile, request)
            score = ReferenceProfile.from_bytes(answer.profile).feature(_SCORE)
            # The last bin is of missing values; a score is never missing.
            return Reference(np.asarray(score.edges, np.float64), np.asarray(score.counts[:-1], np.float64))
        return None


def policy_of(version: registry_pb2.Version) -> Policy:
    """The shipped policy with what golden.yaml and the risk tier say otherwise."""
    asked, shipped = version.rollout, Policy()
    high = version.registered.risk_tier == registry_events_pb2.RISK_TIER_HIGH
    return replace(
        shipped,
        steps=tuple(asked.steps) or shipped.steps,
        minimum_sample=asked.minimum_sample or shipped.minimum_sample,
        maximum_step=timedelta(seconds=asked.maximum_step_seconds) or shipped.maximum_step,
        error_margin=asked.error_margin or shipped.error_margin,
        latency_margin=asked.latency_margin or shipped.latency_margin,
        shadow=asked.shadow,
        disagreement_limit=asked.disagreement_limit or shipped.disagreement_limit,
        minimum_pairs=asked.minimum_pairs or shipped.minimum_pairs,
        holdback=asked.holdback,
        back_without_answer=high,
        back_when_revoked=high,
        acts=version.registered.kind == registry_events_pb2.KIND_AGENT,
    )


class MonitorClient:
    """The monitor by gRPC."""

    def __init__(self, sibling: Sibling) -> None:
        self._sibling = sibling

    async def sample(self, signal_id: str, *, within: timedelta) -> Sample:
        """Ask for the records of a signal."""
        stub: MonitorServiceAsyncStub = monitor_grpc.MonitorServiceStub(self._sibling.channel)
        request = monitor_pb2.GetSampleRequest(signal_id=signal_id, limit=_SAMPLE)
        answer = await self._sibling.ask(stub.GetSample, request, within=within)
        columns = {column.name: values_of(column) for column in answer.inputs}
        costs = None
        if answer.threshold:
            passed, flagged = np.array(answer.costs_if_passed), np.array(answer.costs_if_flagged)
            costs = Costs(passed, flagged, answer.threshold, answer.records_a_day)
        return Sample(columns, np.array(answer.scores), np.array(answer.outcomes), costs)

    async def disagreement(self, place: Place, candidate: Role, *, within: timedelta) -> Disagreement:
        """Ask how a mirrored candidate's answers compare with the stable's."""
        stub: MonitorServiceAsyncStub = monitor_grpc.MonitorServiceStub(self._sibling.channel)
        request = monitor_pb2.GetDisagreementRequest(
            model=place.model, environment=place.environment, version=candidate.version, epoch=candidate.epoch
        )
        answer = await self._sibling.ask(stub.GetDisagreement, request, within=within)
        return Disagreement(answer.pairs, answer.disagreements, answer.unpaired)
