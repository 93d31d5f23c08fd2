"""Other systems that the deployer asks: governance, the registry, the monitor, and model servers.

Advancing fails closed: without governance's answer nothing gets more traffic. Going back asks nobody but the target's
own server, and the monitor, whose answer it can do without.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx
import numpy as np
from opentelemetry.propagate import inject

from goldenpath.governance.v1 import governance_service_pb2 as governance_pb2
from goldenpath.governance.v1 import governance_service_pb2_grpc as governance_grpc
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor_pb2
from goldenpath.monitor.v1 import monitor_service_pb2_grpc as monitor_grpc
from goldenpath.registry.v1 import events_pb2 as registry_events_pb2
from goldenpath.registry.v1 import registry_service_pb2 as registry_pb2
from goldenpath.registry.v1 import registry_service_pb2_grpc as registry_grpc
from services.chassis.errors import Conflict, Denied, GoldenpathError, Unavailable
from services.deployer.domain.comparison import Reference
from services.deployer.domain.deployment import Place
from services.deployer.domain.losses import Values
from services.deployer.domain.policy import Policy
from services.deployer.domain.routing import Address
from services.deployer.store.versions import Known
from services.profile.reference import ReferenceProfile

if TYPE_CHECKING:
    from goldenpath.governance.v1.governance_service_pb2_grpc import GovernanceServiceAsyncStub
    from goldenpath.monitor.v1.monitor_service_pb2_grpc import MonitorServiceAsyncStub
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub
    from services.chassis.grpc_client import Sibling

_SAMPLE: Final = 4000  # records: enough to tell losses of 0.12 and 0.14 apart, and a second of replay
_BATCH: Final = 500
_REPLAY: Final = timedelta(seconds=10)
_SCORE: Final = "score"


@dataclass(frozen=True, slots=True)
class Admission:
    """Governance's answer: may these bytes serve, now?"""

    admitted: bool
    reason: str
    verdict_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Records that a signal speaks of.

    Args:
        columns: The inputs by name: a list of numbers (NaN is missing) or of texts (None is missing).
        scores: What the version in trouble gave each, shape (records,).
        outcomes: What turned out to be true, NaN where it isn't known, shape (records,).
    """

    columns: Mapping[str, Sequence[Any]]
    scores: Values
    outcomes: Values


class Governance(Protocol):
    """Who may serve."""

    async def check(self, place: Place, version: int, digest: str) -> Admission:
        """Ask about bytes."""
        ...

    async def newest_approved(self, model: str) -> int:
        """The newest version that was judged, where it is approved."""
        ...


class Registry(Protocol):
    """What a version is."""

    async def version(self, place: Place, version: int) -> Known:
        """Ask about a version."""
        ...


class Monitor(Protocol):
    """What a signal is about."""

    async def sample(self, signal_id: str, *, within: timedelta) -> Sample:
        """Ask for the records of a signal."""
        ...


class Servers(Protocol):
    """Model servers, asked directly and not through the proxy."""

    async def check(self, model: str, address: Address, example: str) -> None:
        """Let a server predict its registered input example."""
        ...

    async def scores(self, model: str, address: Address, columns: Mapping[str, Sequence[Any]]) -> Values:
        """Let a server predict records again, without recording them."""
        ...


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
        columns: dict[str, list[Any]] = {}
        for column in answer.inputs:
            texts = [*column.dictionary, None]
            columns[column.name] = [texts[code] for code in column.codes] if column.codes else list(column.numbers)
        return Sample(columns, np.array(answer.scores), np.array(answer.outcomes))


class HttpServers:
    """Model servers by the Open Inference Protocol."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=_REPLAY.total_seconds(), trust_env=False)

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def check(self, model: str, address: Address, example: str) -> None:
        """Let a server predict its registered input example.

        Raises:
            Conflict: it can't.
        """
        if not example:
            return
        await self._infer(model, address, example)

    async def scores(self, model: str, address: Address, columns: Mapping[str, Sequence[Any]]) -> Values:
        """Let a server predict records again, in batches, without recording them.

        Raises:
            Conflict: it refuses them: an input is missing, say.
            Unavailable: it doesn't answer.
        """
        datatypes = await self._datatypes(model, address)
        missing = sorted(datatypes.keys() - columns.keys())
        if missing:
            raise Conflict(f"the records have no {', '.join(missing)}")
        rows = len(next(iter(columns.values()), ()))
        made: list[float] = []
        for start in range(0, rows, _BATCH):
            stop = min(start + _BATCH, rows)
            inputs = [
                _tensor(name, datatype, columns[name][start:stop]) for name, datatype in sorted(datatypes.items())
            ]
            answer = await self._infer(model, address, json.dumps({"inputs": inputs}))
            output = next(one for one in answer["outputs"] if one["name"] == _SCORE)
            made.extend(float(value) for value in output["data"])
        return np.array(made)

    async def _datatypes(self, model: str, address: Address) -> dict[str, str]:
        metadata = await self._answer(self._client.get(f"http://{address.http}/v2/models/{model}"))
        return {str(one["name"]): str(one["datatype"]) for one in metadata["inputs"]}

    async def _infer(self, model: str, address: Address, body: str) -> dict[str, Any]:
        headers = {"content-type": "application/json", "x-goldenpath-arm": "replay"}
        inject(headers)
        url = f"http://{address.http}/v2/models/{model}/infer"
        return await self._answer(self._client.post(url, content=body, headers=headers))

    async def _answer(self, asking: Any) -> dict[str, Any]:
        try:
            response: httpx.Response = await asking
        except httpx.HTTPError as error:
            raise Unavailable(f"a model server doesn't answer: {type(error).__name__}") from None
        if response.is_error:
            raise Conflict(f"the model server refuses: {response.text[:300]}")
        found: dict[str, Any] = await asyncio.to_thread(response.json)
        return found


def _tensor(name: str, datatype: str, values: Sequence[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "shape": [len(values)],
        "datatype": datatype,
        "data": [_value(datatype, value) for value in values],
    }


def _value(datatype: str, value: Any) -> Any:
    if value is None or value != value:  # noqa: PLR0124 - NaN, which JSON can't say
        return None
    if datatype.startswith("INT"):
        return int(value)
    return bool(value) if datatype == "BOOL" else value
