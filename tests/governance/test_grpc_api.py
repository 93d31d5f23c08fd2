"""Governance's gRPC methods through a real stub: what they answer, and how they refuse."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from goldenpath.governance.v1 import events_pb2
from goldenpath.governance.v1 import governance_service_pb2 as pb
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.errors import Conflict, Denied, NotFound, Unavailable
from services.chassis.leases import Leases
from services.chassis.settings import KafkaAccess
from services.governance import handlers
from services.governance.domain import merkle
from services.governance.domain.entries import entry_of
from services.governance.domain.served import Moment
from services.governance.events import timestamp_of
from services.governance.jobs import LogWriter
from services.governance.store import GovernanceUnitOfWork
from tests.governance.cases import DIGEST, NOW, SHIPPED, good, without
from tests.governance.conftest import Client, FakeRegistry

Store = Database[GovernanceUnitOfWork]
HIGH = good(risk_tier="high")
MODEL = HIGH.model


def moment(offset: int, *, stable: int, candidate: int = 0, weight: int = 0, verdict: str = "") -> Moment:
    at = NOW + timedelta(hours=offset)
    return Moment(MODEL, "production", offset, stable, candidate, weight, at, 1, verdict, "deployer.events", 0, offset)


async def test_what_nobody_judged_is_not_found(sam: Client) -> None:
    with pytest.raises(NotFound, match="nobody has judged credit-prescreen@4"):
        await sam.ask("GetVerdict", pb.GetVerdictRequest(model=MODEL, version=4))


async def test_the_newest_verdict_is_that_of_the_newest_version(sam: Client, judge: Any) -> None:
    await judge(good(version=1))
    await judge(good(version=2, owner=""))
    answer = await sam.ask("GetVerdict", pb.GetVerdictRequest(model=MODEL))
    assert (answer.verdict.version, answer.verdict.state) == (2, events_pb2.VERDICT_STATE_REJECTED)


async def test_whoever_asks_to_look_again_reads_what_is_thought_of_the_facts_as_they_are_now(
    sam: Client, judge: Any, registry: FakeRegistry
) -> None:
    await judge(good(owner=""))
    registry.put(good())
    again = await sam.ask("GetVerdict", pb.GetVerdictRequest(model=MODEL, version=1, look_again=True))
    assert again.verdict.state == events_pb2.VERDICT_STATE_APPROVED
    assert await sam.ask("GetVerdict", pb.GetVerdictRequest(model=MODEL, version=1)) == again


async def test_explaining_says_what_is_missing_and_what_to_do(sam: Client, judge: Any) -> None:
    await judge(good(owner="", datasets=(without("known_gaps"),)))
    answer = await sam.ask("Explain", pb.ExplainRequest(model=MODEL, version=1))
    assert answer.summary == "credit-prescreen@1 was refused by 2 of 9 rules"
    assert list(answer.next_steps) == [
        "owner-named: add  owner: team-or-person  to golden.yaml",
        "dataset-documented: answer them in the datasheet, and register it again",
    ]


async def test_a_high_risk_goes_from_waiting_to_approved_to_revoked(rea: Client, sam: Client, judge: Any) -> None:
    await judge(HIGH)
    waiting = await sam.ask("ListWaiting", pb.ListWaitingRequest())
    assert [one.model for one in waiting.verdicts] == [MODEL]
    approved = await rea.ask(
        "Approve", pb.ApproveRequest(model=MODEL, version=1, comment="fine", artifact_digest=DIGEST)
    )
    assert approved.verdict.state == events_pb2.VERDICT_STATE_APPROVED
    assert approved.verdict.approvals[0].reviewer == "rea@bank.example"
    asked = pb.CheckAdmissionRequest(model=MODEL, version=1, artifact_digest=DIGEST, environment="production")
    assert (await sam.ask("CheckAdmission", asked)).admitted
    revoked = await rea.ask("Revoke", pb.RevokeRequest(model=MODEL, version=1, reason="it leaks"))
    assert revoked.verdict.state == events_pb2.VERDICT_STATE_REVOKED
    after = await sam.ask("CheckAdmission", asked)
    assert not after.admitted
    assert after.verdict.id == revoked.verdict.id
    assert (await sam.ask("ListWaiting", pb.ListWaitingRequest())).verdicts == []


async def test_a_claimed_author_takes_two_reviewers_over_grpc_too(rea: Client, rob: Client, judge: Any) -> None:
    await judge(good(author_verified=False))
    request = pb.ApproveRequest(model=MODEL, version=1, comment="fine")
    assert (await rea.ask("Approve", request)).verdict.state == events_pb2.VERDICT_STATE_WAITING
    assert (await rea.ask("Approve", request)).verdict.state == events_pb2.VERDICT_STATE_WAITING
    assert (await rob.ask("Approve", request)).verdict.state == events_pb2.VERDICT_STATE_APPROVED


async def test_the_author_may_not_approve_even_as_a_reviewer(mia: Client, judge: Any) -> None:
    await judge(HIGH)
    with pytest.raises(Denied, match="registered credit-prescreen@1"):
        await mia.ask("Approve", pb.ApproveRequest(model=MODEL, version=1))


async def test_reviewers_at_the_same_moment_all_count(rea: Client, rob: Client, judge: Any) -> None:
    await judge(good(author_verified=False))
    request = pb.ApproveRequest(model=MODEL, version=1, comment="fine")
    await asyncio.gather(rea.ask("Approve", request), rob.ask("Approve", request))
    answer = await rea.ask("GetVerdict", pb.GetVerdictRequest(model=MODEL, version=1))
    assert answer.verdict.state == events_pb2.VERDICT_STATE_APPROVED


async def test_approving_bytes_that_the_reviewer_did_not_see_is_a_conflict(rea: Client, judge: Any) -> None:
    await judge(HIGH)
    with pytest.raises(Conflict, match="other bytes"):
        await rea.ask("Approve", pb.ApproveRequest(model=MODEL, version=1, artifact_digest="b" * 64))


async def test_waiting_versions_come_page_by_page_oldest_first(sam: Client, judge: Any) -> None:
    for name in ("c", "a", "b"):
        await judge(good(model=name, risk_tier="high"))
    first = await sam.ask("ListWaiting", pb.ListWaitingRequest(page_size=2))
    second = await sam.ask("ListWaiting", pb.ListWaitingRequest(page_size=2, page_token=first.next_page_token))
    assert [one.model for one in (*first.verdicts, *second.verdicts)] == ["c", "a", "b"]
    assert second.next_page_token == ""


async def test_a_policy_is_applied_once_and_read_back(rea: Client) -> None:
    text = "# ours\n" + SHIPPED.replace("0.65", "0.5")
    applied = await rea.ask("ApplyPolicy", pb.ApplyPolicyRequest(yaml=text))
    assert applied.changed
    assert not (await rea.ask("ApplyPolicy", pb.ApplyPolicyRequest(yaml=text))).changed
    standing = await rea.ask("GetPolicy", pb.GetPolicyRequest())
    assert (standing.policy, standing.digest, standing.yaml) == ("default", applied.digest, text)
    with pytest.raises(NotFound):
        await rea.ask("GetPolicy", pb.GetPolicyRequest(policy="nothing"))


async def test_watching_gives_every_verdict_from_now_on(sam: Client, judge: Any) -> None:
    await judge(good(model="before"))
    request = pb.WatchVerdictsRequest(model=MODEL)
    stream = aiter(sam.stub.WatchVerdicts(request, metadata=sam.sibling.metadata()))
    waiting = asyncio.ensure_future(anext(stream))
    version = 0
    while not waiting.done():  # nothing tells a client that its watch has begun
        version += 1
        await judge(good(version=version))
        await judge(good(model="other", version=version))
        await asyncio.wait({waiting}, timeout=0.1)
    seen = [(await waiting).verdict]
    await judge(good(version=version + 1))
    while seen[-1].version <= version:
        seen.append((await anext(stream)).verdict)
    assert {one.model for one in seen} == {MODEL}
    assert [one.version for one in seen] == list(range(seen[0].version, version + 2))


async def test_what_served_at_a_moment_comes_with_who_allowed_it_and_the_proof(
    store: Store, leases: Leases, rea: Client, sam: Client, judge: Any
) -> None:
    await judge(HIGH)
    approved = (await rea.ask("Approve", pb.ApproveRequest(model=MODEL, version=1, comment="fine"))).verdict
    lease = await leases.acquire("log")
    assert lease is not None
    writer = LogWriter(store, leases, kafka=KafkaAccess("127.0.0.1:1"), clock=SystemClock())
    await writer.append([entry_of("deployer.events", 0, offset, [], b"") for offset in (1, 2, 3)], lease)
    async with store.begin() as uow:
        await handlers.note_moment(moment(1, stable=1, verdict=approved.id), uow)
        await handlers.note_moment(moment(2, stable=1, candidate=2, weight=25), uow)
        await handlers.note_moment(moment(3, stable=2), uow)
    request = pb.GetServedAtRequest(model=MODEL, at=timestamp_of(NOW + timedelta(hours=2, minutes=30)))
    answer = await sam.ask("GetServedAt", request)
    assert [(one.version, one.role, one.weight, one.log_index) for one in answer.served] == [
        (1, "stable", 75, 1),
        (2, "candidate", 25, 1),
    ]
    stable = answer.served[0]
    assert stable.verdict.id == approved.id
    assert [one.reviewer for one in stable.verdict.approvals] == ["rea@bank.example"]
    assert not answer.served[1].HasField("verdict")
    proof = await sam.ask("GetInclusionProof", pb.GetInclusionProofRequest(index=stable.log_index))
    head = answer.head
    assert proof.head == head
    assert merkle.is_included(proof.entry.leaf_hash, proof.entry.index, head.size, proof.path, head.root)


async def test_before_anything_served_the_answer_is_empty(sam: Client) -> None:
    assert list((await sam.ask("GetServedAt", pb.GetServedAtRequest(model=MODEL))).served) == []


async def test_what_the_log_has_not_taken_yet_is_unavailable(store: Store, sam: Client) -> None:
    async with store.begin() as uow:
        await handlers.note_moment(moment(1, stable=1), uow)
    with pytest.raises(Unavailable, match="the log hasn't come"):
        await sam.ask("GetServedAt", pb.GetServedAtRequest(model=MODEL))
