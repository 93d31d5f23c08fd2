"""The gRPC edge: checks what is asked, opens a unit of work or a read, delegates, and answers in the contract's words.

Whoever has a valid token may read. A decision, a revocation and a policy take the role reviewer, and their actor is
the token's subject.
"""

# ruff: noqa: N802 - the methods' names are the contract's

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import grpc

from goldenpath.governance.v1 import governance_service_pb2 as pb
from goldenpath.governance.v1.governance_service_pb2_grpc import GovernanceServiceServicer
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.grpc_server import page_size
from services.chassis.identity import Role, caller
from services.chassis.watching import Changes
from services.governance import handlers, queries
from services.governance.answers import (
    consistency_response,
    explain_response,
    head_message,
    inclusion_response,
    served_response,
)
from services.governance.case_store import Cases
from services.governance.clients import FactSource
from services.governance.domain.verdicts import Verdict
from services.governance.events import timestamp_of, verdict_message
from services.governance.requests import (
    entry_of,
    environment_of,
    index_of,
    model_of,
    moment_of,
    some_version_of,
    text_of,
    version_of,
)
from services.governance.store import GovernanceUnitOfWork

NAME: Final = "goldenpath.governance.v1.GovernanceService"
_WATCH_BATCH: Final = 100  # verdicts a round; a watcher that is behind catches up round by round

Context = grpc.aio.ServicerContext[Any, Any]


class GovernanceApi(GovernanceServiceServicer):
    """Governance's gRPC methods.

    Args:
        database: Governance's database.
        registry: Where facts come from.
        clock: Where the present moment comes from.
        changes: Wakes watchers.
    """

    def __init__(
        self, database: Database[GovernanceUnitOfWork], registry: FactSource, clock: Clock, changes: Changes
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._changes = changes

    async def GetVerdict(self, request: pb.GetVerdictRequest, _: Context) -> pb.GetVerdictResponse:
        """The newest verdict about a version."""
        if request.look_again:
            model, version = model_of(request.model), some_version_of(request.version)
            async with self._database.begin() as uow:
                verdict = await handlers.look_at_version(model, version, uow, self._registry)
        else:
            verdict = await self._verdict(request.model, request.version)
        return pb.GetVerdictResponse(verdict=verdict_message(verdict))

    async def Explain(self, request: pb.ExplainRequest, _: Context) -> pb.ExplainResponse:
        """What is missing, in words, and what to do."""
        return explain_response(await self._verdict(request.model, request.version))

    async def CheckAdmission(self, request: pb.CheckAdmissionRequest, _: Context) -> pb.CheckAdmissionResponse:
        """May these bytes serve, now?"""
        model, version = model_of(request.model), some_version_of(request.version)
        async with self._database.read() as connection:
            admitted, reason, verdict = await queries.check_admission(
                model, version, request.artifact_digest, connection
            )
        return pb.CheckAdmissionResponse(
            admitted=admitted,
            reason=reason,
            verdict=verdict_message(verdict) if verdict else None,
            asked_at=timestamp_of(self._clock.now()),
        )

    async def Approve(self, request: pb.ApproveRequest, _: Context) -> pb.ApproveResponse:
        """Says yes to a waiting version."""
        model, version = model_of(request.model), version_of(request.version)
        async with self._as_reviewer() as uow:
            verdict = await handlers.decide(
                model,
                version,
                uow,
                granted=True,
                comment=request.comment,
                artifact_digest=request.artifact_digest,
            )
        return pb.ApproveResponse(verdict=verdict_message(verdict))

    async def Deny(self, request: pb.DenyRequest, _: Context) -> pb.DenyResponse:
        """Says no to a waiting version."""
        model, version = model_of(request.model), version_of(request.version)
        async with self._as_reviewer() as uow:
            verdict = await handlers.decide(model, version, uow, granted=False, comment=request.comment)
        return pb.DenyResponse(verdict=verdict_message(verdict))

    async def Revoke(self, request: pb.RevokeRequest, _: Context) -> pb.RevokeResponse:
        """Takes an approval back."""
        model, version = model_of(request.model), version_of(request.version)
        async with self._as_reviewer() as uow:
            verdict = await handlers.revoke(model, version, uow, reason=request.reason)
        return pb.RevokeResponse(verdict=verdict_message(verdict))

    async def ListWaiting(self, request: pb.ListWaitingRequest, _: Context) -> pb.ListWaitingResponse:
        """Versions that wait for a person, oldest first."""
        size = page_size(request.page_size)
        async with self._database.read() as connection:
            found, token = await queries.list_waiting(request.page_token, size, connection)
        return pb.ListWaitingResponse(verdicts=map(verdict_message, found), next_page_token=token)

    async def ApplyPolicy(self, request: pb.ApplyPolicyRequest, _: Context) -> pb.ApplyPolicyResponse:
        """Adds or changes a policy."""
        async with self._as_reviewer() as uow:
            policy, changed = await handlers.apply_policy(text_of(request.yaml, "yaml"), uow)
        return pb.ApplyPolicyResponse(policy=policy.name, digest=policy.digest, changed=changed)

    async def GetPolicy(self, request: pb.GetPolicyRequest, _: Context) -> pb.GetPolicyResponse:
        """The policy that stands."""
        async with self._database.read() as connection:
            policy = await queries.get_policy(text_of(request.policy, "policy"), connection)
        return pb.GetPolicyResponse(policy=policy.name, digest=policy.digest, yaml=policy.source)

    async def GetServedAt(self, request: pb.GetServedAtRequest, _: Context) -> pb.GetServedAtResponse:
        """What served at a moment, who allowed it, on what evidence, and the proof."""
        model, environment = model_of(request.model), environment_of(request.environment)
        at = moment_of(request.at, "at") if request.HasField("at") else self._clock.now()
        async with self._database.read() as connection:
            found, head = await queries.served_at(model, environment, at, connection)
        return served_response(at, found, head)

    async def GetLogHead(self, _: pb.GetLogHeadRequest, __: Context) -> pb.GetLogHeadResponse:
        """The log's head."""
        async with self._database.read() as connection:
            return pb.GetLogHeadResponse(head=head_message(await queries.get_head(connection)))

    async def GetInclusionProof(self, request: pb.GetInclusionProofRequest, _: Context) -> pb.GetInclusionProofResponse:
        """The proof that an entry is in the log."""
        index, event_id = entry_of(request)
        async with self._database.read() as connection:
            return inclusion_response(await queries.prove_inclusion(connection, index=index, event_id=event_id))

    async def GetConsistencyProof(
        self, request: pb.GetConsistencyProofRequest, _: Context
    ) -> pb.GetConsistencyProofResponse:
        """The proof that the log of one size is the beginning of the log of another."""
        first, second = index_of(request.first_size, "first_size"), index_of(request.second_size, "second_size")
        async with self._database.read() as connection:
            return consistency_response(await queries.prove_consistency(first, second, connection))

    async def WatchVerdicts(
        self, request: pb.WatchVerdictsRequest, _: Context
    ) -> AsyncIterator[pb.WatchVerdictsResponse]:
        """Verdicts as they are given, from now on."""
        model = model_of(request.model) if request.model else ""
        async with self._database.read() as connection:
            mark = await Cases(connection).mark()
        while True:
            woken = self._changes.begin()
            async with self._database.read() as connection:
                mark, given = await Cases(connection).given_since(mark, limit=_WATCH_BATCH)
            for verdict in given:
                if model in {"", verdict.model}:
                    yield pb.WatchVerdictsResponse(verdict=verdict_message(verdict))
            if len(given) < _WATCH_BATCH:
                await woken.wait()

    async def _verdict(self, model: str, version: int) -> Verdict:
        async with self._database.read() as connection:
            return await queries.get_verdict(model_of(model), version_of(version), connection)

    def _as_reviewer(self) -> AbstractAsyncContextManager[GovernanceUnitOfWork]:
        who = caller().require(Role.REVIEWER)
        return self._database.begin(actor=who.subject)
