"""Governance's writes on a real PostgreSQL: what is kept, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from goldenpath.governance.v1 import events_pb2 as pb
from services.chassis.database import Database
from services.chassis.errors import Conflict, Denied, Invalid, NotFound
from services.chassis.leases import Lease, Leases
from services.governance import handlers, queries
from services.governance.domain.facts import Facts
from services.governance.domain.verdicts import State, Verdict
from services.governance.jobs import LookAgain
from services.governance.store import GovernanceUnitOfWork
from tests.governance.cases import CENSUS, DIGEST, SHIPPED, good, without
from tests.governance.conftest import FakeRegistry

Store = Database[GovernanceUnitOfWork]
Acting = Callable[[str], AbstractAsyncContextManager[GovernanceUnitOfWork]]
HIGH = good(risk_tier="high")
MODEL = HIGH.model


async def look(store: Store, registry: FakeRegistry, *facts: Facts) -> Verdict:
    registry.put(*facts)
    async with store.begin() as uow:
        return await handlers.look_at_version(facts[0].model, facts[0].version, uow, registry)


async def told(store: Store) -> list[str]:
    """The types of what was emitted so far, in order, but the shipped policy's."""
    async with store.read() as connection:
        rows = await connection.fetch("SELECT header_names, header_values FROM outbox ORDER BY id")
    types = [dict(zip(row["header_names"], row["header_values"], strict=True))["ce_type"].decode() for row in rows]
    return [name for name in types if name != "policy.changed"]


async def last_body(store: Store) -> bytes:
    async with store.read() as connection:
        return bytes(await connection.fetchval("SELECT value FROM outbox ORDER BY id DESC LIMIT 1"))


async def test_an_undocumented_version_is_refused_and_the_event_names_the_fields(
    store: Store, registry: FakeRegistry
) -> None:
    await look(store, registry, good(datasets=(without("known_gaps", "purpose"),)))
    assert await told(store) == ["model.rejected"]
    verdict = pb.ModelRejected.FromString(await last_body(store)).verdict
    rows = {row.rule: row for row in verdict.evidence if row.outcome == pb.OUTCOME_FAILED}
    assert list(rows) == ["dataset-documented"]
    assert list(rows["dataset-documented"].missing) == ["purpose", "known_gaps"]
    assert verdict.artifact_digest == DIGEST
    assert verdict.registered_by == "mia@bank.example"


async def test_the_same_event_twice_tells_nothing_new(store: Store, registry: FakeRegistry) -> None:
    first = await look(store, registry, good())
    second = await look(store, registry, good())
    assert first == second
    assert await told(store) == ["model.approved"]


async def test_a_completed_datasheet_is_judged_anew_by_the_job(
    store: Store, registry: FakeRegistry, leases: Leases, acting: Acting
) -> None:
    await look(store, registry, replace(HIGH, datasets=(without("purpose"),)))
    registry.put(HIGH)
    async with acting("registry") as uow:
        await handlers.look_again_at_users_of(CENSUS.name, CENSUS.version, uow)
    assert await looked_again(store, registry, leases) == 1
    assert await told(store) == ["model.rejected", "approval.requested"]
    assert await looked_again(store, registry, leases) == 0


async def test_another_version_of_the_dataset_is_none_of_its_business(
    store: Store, registry: FakeRegistry, leases: Leases, acting: Acting
) -> None:
    await look(store, registry, HIGH)
    async with acting("registry") as uow:
        await handlers.look_again_at_users_of(CENSUS.name, CENSUS.version + 1, uow)
    assert await looked_again(store, registry, leases) == 0


async def test_what_cannot_be_looked_at_does_not_hold_up_the_others(
    store: Store, registry: FakeRegistry, leases: Leases, acting: Acting
) -> None:
    await look(store, registry, good(model="a"))
    await look(store, registry, good(model="b"))
    del registry.known["a", 1]
    registry.put(good(model="b", owner=""))
    async with acting("registry") as uow:
        await handlers.look_again_at_users_of(CENSUS.name, CENSUS.version, uow)
    assert await looked_again(store, registry, leases) == 1
    assert await told(store) == ["model.approved", "model.approved", "model.rejected"]


async def test_a_job_that_lost_its_lease_writes_nothing(store: Store, registry: FakeRegistry, acting: Acting) -> None:
    await look(store, registry, HIGH)
    registry.put(replace(HIGH, owner=""))
    async with acting("registry") as uow:
        await handlers.look_again_at_users_of(CENSUS.name, CENSUS.version, uow)
    assert await looked_again(store, registry, None) == 0
    assert await told(store) == ["approval.requested"]


async def looked_again(store: Store, registry: FakeRegistry, leases: Leases | None) -> int:
    lease = await leases.acquire("look-again") if leases else Lease("look-again", token=99)
    assert lease is not None
    job = LookAgain(store, leases, registry, every=None)  # type: ignore[arg-type] # it is driven by hand
    return await job.look(lease)


async def test_a_reviewer_approves_and_the_approval_is_told_with_its_verdict(
    store: Store, registry: FakeRegistry, acting: Acting
) -> None:
    await look(store, registry, HIGH)
    async with acting("rea") as uow:
        verdict = await handlers.decide(MODEL, 1, uow, granted=True, comment="fine", artifact_digest=DIGEST)
    assert verdict.state is State.APPROVED
    assert verdict.facts_revision == 2
    assert await told(store) == ["approval.requested", "approval.granted", "model.approved"]
    body = pb.ModelApproved.FromString(await last_body(store))
    assert [(one.reviewer, one.comment) for one in body.verdict.approvals] == [("rea", "fine")]


async def test_approving_twice_tells_it_once(store: Store, registry: FakeRegistry, acting: Acting) -> None:
    await look(store, registry, HIGH)
    for _ in range(2):
        async with acting("rea") as uow:
            await handlers.decide(MODEL, 1, uow, granted=True, comment="fine")
    assert await told(store) == ["approval.requested", "approval.granted", "model.approved"]


async def test_the_first_of_two_needed_approvals_asks_for_the_second(
    store: Store, registry: FakeRegistry, acting: Acting
) -> None:
    await look(store, registry, replace(HIGH, author_verified=False))
    async with acting("rea") as uow:
        await handlers.decide(MODEL, 1, uow, granted=True, comment="fine")
    assert await told(store) == ["approval.requested", "approval.granted", "approval.requested"]
    assert pb.ApprovalRequested.FromString(await last_body(store)).reviewers_needed == 1


async def test_the_author_is_denied_and_nothing_is_kept(store: Store, registry: FakeRegistry, acting: Acting) -> None:
    await look(store, registry, HIGH)
    with pytest.raises(Denied):
        async with acting(HIGH.author) as uow:
            await handlers.decide(MODEL, 1, uow, granted=True, comment="mine")
    assert await told(store) == ["approval.requested"]


async def test_approving_other_bytes_than_those_that_stand_is_a_conflict(
    store: Store, registry: FakeRegistry, acting: Acting
) -> None:
    await look(store, registry, HIGH)
    with pytest.raises(Conflict, match="other bytes"):
        async with acting("rea") as uow:
            await handlers.decide(MODEL, 1, uow, granted=True, comment="", artifact_digest="b" * 64)


async def test_a_no_is_told_with_its_words(store: Store, registry: FakeRegistry, acting: Acting) -> None:
    await look(store, registry, HIGH)
    async with acting("rea") as uow:
        await handlers.decide(MODEL, 1, uow, granted=False, comment="the gaps are thin")
    assert await told(store) == ["approval.requested", "approval.denied", "model.rejected"]


@pytest.mark.parametrize("words", ["", "  \x00 ", "x" * 5000], ids=["none", "blank", "too many"])
async def test_a_no_needs_words_and_not_too_many(
    store: Store, registry: FakeRegistry, acting: Acting, words: str
) -> None:
    await look(store, registry, HIGH)
    with pytest.raises(Invalid):
        async with acting("rea") as uow:
            await handlers.decide(MODEL, 1, uow, granted=False, comment=words)


async def test_a_revocation_is_told_once_and_the_bytes_are_no_longer_admitted(
    store: Store, registry: FakeRegistry, acting: Acting
) -> None:
    await look(store, registry, good())
    for _ in range(2):
        async with acting("rea") as uow:
            await handlers.revoke(MODEL, 1, uow, reason="it leaks")
    assert await told(store) == ["model.approved", "approval.revoked"]
    body = pb.ApprovalRevoked.FromString(await last_body(store))
    assert (body.revoked_by, body.reason, body.artifact_digest) == ("rea", "it leaks", DIGEST)
    async with store.read() as connection:
        admitted, reason, _ = await queries.check_admission(MODEL, 1, DIGEST, connection)
    assert not admitted
    assert "rea revoked it: it leaks" in reason


async def test_deciding_about_a_version_that_nobody_judged_is_not_found(acting: Acting) -> None:
    with pytest.raises(NotFound, match="nobody has judged"):
        async with acting("rea") as uow:
            await handlers.decide("nothing", 1, uow, granted=True, comment="")


async def test_a_new_policy_is_told_and_every_version_judged_by_it(
    store: Store, registry: FakeRegistry, leases: Leases, acting: Acting
) -> None:
    before = await look(store, registry, good())
    async with acting("rea") as uow:
        policy, changed = await handlers.apply_policy(SHIPPED.replace("log_loss: 0.65", "log_loss: 0.1"), uow)
    assert changed
    assert pb.PolicyChanged.FromString(await last_body(store)) == pb.PolicyChanged(
        policy="default", digest=policy.digest, previous_digest=before.policy_digest, changed_by="rea"
    )
    assert await looked_again(store, registry, leases) == 1
    assert await told(store) == ["model.approved", "model.rejected"]
    async with store.read() as connection:
        after = await queries.get_verdict(MODEL, 1, connection)
    assert after.policy_digest == policy.digest


async def test_a_shipped_policy_never_takes_the_place_of_a_persons(store: Store, acting: Acting) -> None:
    async with acting("rea") as uow:
        mine, _ = await handlers.apply_policy(SHIPPED.replace("0.65", "0.5"), uow)
    async with acting(handlers.SHIPPED) as uow:
        await handlers.ship_policy(SHIPPED, uow)
    async with store.read() as connection:
        assert (await queries.get_policy("", connection)).digest == mine.digest


async def test_the_same_policy_again_changes_nothing(acting: Acting) -> None:
    async with acting("rea") as uow:
        _, changed = await handlers.apply_policy("# a comment\n" + SHIPPED, uow)
    assert not changed


async def test_facts_with_a_nan_are_kept_and_read_back(store: Store, registry: FakeRegistry) -> None:
    facts = good(metrics={"log_loss": 0.1, "strange": float("nan")})
    first = await look(store, registry, facts)
    assert await look(store, registry, facts) == first
    assert await told(store) == ["model.approved"]
