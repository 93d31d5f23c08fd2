"""Registering, documenting, promoting: on a real PostgreSQL, through the commands and handlers of every door."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis import telemetry
from services.chassis.database import Database
from services.chassis.errors import Denied, Invalid, NotFound
from services.chassis.identity import Caller, Role
from services.registry import handlers, messages
from services.registry.artifacts import ArtifactStore
from services.registry.commands import Commands
from services.registry.domain import registrations
from services.registry.domain.aliases import Pointing, champion
from services.registry.domain.models import Actor
from services.registry.queries import Queries
from services.registry.store import RegistryUnitOfWork
from tests.registry.made_up import ADA, DATA, FakeRuns, dataset, outbox, registration

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Registry = Database[RegistryUnitOfWork]


async def test_a_registered_version_has_everything_that_was_said_and_brought(
    commands: Commands, queries: Queries, artifacts: ArtifactStore, runs: FakeRuns
) -> None:
    runs.add("run-1", requirements=("numpy==2.2.0",), flavor="sklearn", commit_time=NOW, code_revision="abc")
    answer = await commands.register_version(registration(), ADA)
    assert answer.created
    registered = answer.version.registered
    assert (registered.model, registered.version, registered.project) == ("credit", 1, "credit")
    assert (registered.registered_by.subject, registered.registered_by.verified) == ("ada@bank.example", True)
    assert registered.promise == told.Promise(
        metric="log_loss", value=0.126, margin=0.02, direction=told.DIRECTION_LOWER
    )
    assert registered.datasets[0] == told.DatasetRef(name="census", version=1, digest=DATA)
    assert registered.commit_time.ToDatetime(UTC) == NOW
    assert artifacts.verify(registered.artifact_digest).digest == registered.artifact_digest
    found = await queries.get_version(pb.GetVersionRequest(model="credit"))
    assert found.version.registered == registered
    assert found.model.latest_version == 1


async def test_the_dataset_is_told_before_the_version(commands: Commands, registry_database: Registry) -> None:
    answer = await commands.register_version(registration(), ADA)
    told_types = await outbox(registry_database)
    assert [name for name, _ in told_types] == ["dataset.registered", "model.registered"]
    assert told.ModelRegistered.FromString(told_types[1][1]) == answer.version.registered


async def test_a_version_names_the_request_that_it_answers(
    commands: Commands, queries: Queries, registry_database: Registry
) -> None:
    await commands.register_version(registration(training_request="9f0c"), ADA)
    found = await queries.get_version(pb.GetVersionRequest(model="credit"))
    (_, body) = (await outbox(registry_database))[-1]
    assert found.version.registered.training_request == "9f0c"
    assert told.ModelRegistered.FromString(body).training_request == "9f0c"


async def test_the_same_bytes_are_the_same_version(commands: Commands, registry_database: Registry) -> None:
    first = await commands.register_version(registration(), ADA)
    again = await commands.register_version(registration(), ADA)
    assert (again.created, again.version.registered) == (False, first.version.registered)
    assert len(await outbox(registry_database)) == 2


async def test_the_same_bytes_at_once_and_by_different_doors_are_one_version(
    commands: Commands, registry_database: Registry, runs: FakeRuns
) -> None:
    async def by_event() -> bool:
        asked = registrations.checked(messages.registration_of(registration()))
        run = await runs.bring("run-1")
        async with registry_database.begin() as uow:
            _, created = await handlers.register_version(asked, run, Actor("airflow", verified=False), uow)
        return created

    async def by_command() -> bool:
        return (await commands.register_version(registration(), ADA)).created

    created = await asyncio.gather(*(door() for door in (by_event, by_command) * 8))
    assert sum(created) == 1
    assert [name for name, _ in await outbox(registry_database)] == ["dataset.registered", "model.registered"]


async def test_other_bytes_at_once_get_numbers_without_gaps(commands: Commands, runs: FakeRuns) -> None:
    for run in range(8):
        runs.add(f"run-{run}")
    answers = await asyncio.gather(
        *(commands.register_version(registration(run=f"run-{run}"), ADA) for run in range(8))
    )
    assert sorted(answer.version.registered.version for answer in answers) == list(range(1, 9))


async def test_a_run_that_nobody_knows_registers_nothing(commands: Commands, registry_database: Registry) -> None:
    with pytest.raises(NotFound, match="no run"):
        await commands.register_version(registration(run="nobody"), ADA)
    assert await outbox(registry_database) == []


async def test_a_promise_that_the_run_cannot_keep_registers_nothing(
    commands: Commands, registry_database: Registry
) -> None:
    with pytest.raises(Invalid, match=r"validation\.f1"):
        await commands.register_version(registration(promise=told.Promise(metric="f1")), ADA)
    assert await outbox(registry_database) == []


async def test_a_seasonal_drift_takes_reference_rows_that_tell_when_they_came(
    commands: Commands, runs: FakeRuns
) -> None:
    asked = registration(run="run-7", drift=told.DriftSettings(seasonal=True))
    runs.add("run-7")
    with pytest.raises(Invalid, match=r"drift\.seasonal: the run's reference rows don't tell when they came"):
        await commands.register_version(asked, ADA)
    runs.add("run-7", seasonal=True)
    assert (await commands.register_version(asked, ADA)).created


async def test_how_outcomes_are_followed_is_kept_as_it_was_said(commands: Commands, queries: Queries) -> None:
    said = told.OutcomeSettings(threshold=0.25, quantile=0.9, amount="amount", segments=["town"])
    said.within.FromTimedelta(timedelta(days=8))
    said.cost.missed.of_amount = 1.0
    said.cost.caught.fixed = 1.5
    for kept in (said.cost.passed, said.cost.false_alarm):
        kept.SetInParent()
    await commands.register_version(registration(outcomes=said), ADA)
    assert (await queries.get_version(pb.GetVersionRequest(model="credit"))).version.outcomes == said


async def test_a_risk_tier_is_required(commands: Commands) -> None:
    with pytest.raises(Invalid) as error:
        await commands.register_version(registration(risk_tier=told.RISK_TIER_UNSPECIFIED), ADA)
    assert error.value.where == "risk_tier"


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.OPERATOR, Role.AUDITOR, Role.SERVICE])
async def test_only_a_scientist_registers(commands: Commands, role: Role) -> None:
    somebody = Caller("bob@bank.example", frozenset({role}))
    with pytest.raises(Denied, match="scientist"):
        await commands.register_version(registration(), somebody)
    with pytest.raises(Denied, match="scientist"):
        await commands.register_dataset(pb.RegisterDatasetRequest(dataset=dataset()), somebody)


async def test_an_owner_that_was_forgotten_is_told_with_the_known_version(
    commands: Commands, registry_database: Registry
) -> None:
    await commands.register_version(registration(owner=""), ADA)
    answer = await commands.register_version(registration(owner="risk-team"), ADA)
    assert not answer.created
    name, body = (await outbox(registry_database))[-1]
    assert name == "model.registered"
    assert told.ModelRegistered.FromString(body).owner == "risk-team"


async def test_a_forgotten_dataset_may_be_added_by_a_person_but_not_by_a_claim(
    commands: Commands, queries: Queries, registry_database: Registry, runs: FakeRuns
) -> None:
    await commands.register_version(registration(datasets=[]), ADA)
    asked = registrations.checked(messages.registration_of(registration()))
    run = await runs.bring("run-1")
    with pytest.raises(Denied, match="add datasets"):
        async with registry_database.begin() as uow:
            await handlers.register_version(asked, run, Actor("eve", verified=False), uow)
    answer = await commands.register_version(registration(), ADA)
    assert [ref.name for ref in answer.version.registered.datasets] == ["census"]
    found = await queries.get_version(pb.GetVersionRequest(model="credit", version=1))
    assert found.version.registered == answer.version.registered


async def test_a_better_datasheet_is_told_so_that_governance_judges_again(
    commands: Commands, queries: Queries, registry_database: Registry
) -> None:
    poor = dataset(answers={"purpose": "credit"}, licence="", personal_data="")
    await commands.register_version(registration(datasets=[poor]), ADA)
    answer = await commands.register_version(registration(), ADA)
    assert not answer.created
    events = [
        told.DatasetRegistered.FromString(body)
        for name, body in await outbox(registry_database)
        if name == "dataset.registered"
    ]
    assert [event.datasheet_revision for event in events] == [1, 2]
    assert [len(event.unanswered) for event in events] == [7, 0]
    known = await queries.get_dataset(pb.GetDatasetRequest(name="census"))
    assert known.dataset.registered == events[-1]


async def test_the_same_dataset_again_changes_nothing(commands: Commands, registry_database: Registry) -> None:
    request = pb.RegisterDatasetRequest(dataset=dataset())
    assert (await commands.register_dataset(request, ADA)).changed
    assert not (await commands.register_dataset(request, ADA)).changed
    assert len(await outbox(registry_database)) == 1


async def test_other_data_is_a_new_version_of_the_dataset(commands: Commands) -> None:
    await commands.register_dataset(pb.RegisterDatasetRequest(dataset=dataset()), ADA)
    other = await commands.register_dataset(pb.RegisterDatasetRequest(dataset=dataset(digest="e" * 64)), ADA)
    assert other.dataset.registered.version == 2


async def test_the_trace_of_a_registration_stays_with_the_version_and_its_event(
    commands: Commands, registry_database: Registry
) -> None:
    telemetry.configure("test", traces_folder=None)
    with telemetry.span("register"):
        answer = await commands.register_version(registration(), ADA)
        trace = telemetry.current_traceparent()[:35]
    assert answer.version.traceparent.startswith(trace)
    async with registry_database.read() as connection:
        kept = await connection.fetch("SELECT DISTINCT traceparent FROM outbox")
    assert [row["traceparent"][:35] for row in kept] == [trace]


async def test_the_alias_follows_the_traffic_and_old_epochs_change_nothing(
    commands: Commands, queries: Queries, registry_database: Registry, runs: FakeRuns
) -> None:
    runs.add("run-2")
    await commands.register_version(registration(), ADA)
    await commands.register_version(registration(run="run-2"), ADA)
    first = Pointing("credit", champion("production"), 1, epoch=2, since=NOW)
    for news in (first, replace(first, version=2, epoch=4), first):
        async with registry_database.begin() as uow:
            await handlers.promote(news, uow)
    back = replace(first, epoch=6)
    for news in (back, back, replace(first, version=2, epoch=5)):
        async with registry_database.begin() as uow:
            await handlers.demote(news, 2, "drift", uow)
    names = [name for name, _ in (await outbox(registry_database))[-3:]]
    assert names == ["model.promoted", "model.promoted", "model.demoted"]
    demoted = told.ModelDemoted.FromString((await outbox(registry_database))[-1][1])
    assert (demoted.version, demoted.successor_version, demoted.epoch, demoted.reason) == (2, 1, 6, "drift")
    resolved = await queries.resolve_alias(pb.ResolveAliasRequest(model="credit", alias="champion@production"))
    assert resolved.version.registered.version == 1
    history = await queries.list_alias_history(pb.ListAliasHistoryRequest(model="credit"))
    assert [alias.version for alias in history.aliases] == [1, 2, 1]


async def test_an_alias_of_a_version_that_nobody_knows_waits(registry_database: Registry) -> None:
    with pytest.raises(NotFound):
        async with registry_database.begin() as uow:
            await handlers.promote(Pointing("credit", champion(""), 1, 1, NOW), uow)


async def test_a_retired_deployment_ends_its_alias_and_keeps_its_history(
    commands: Commands, queries: Queries, registry_database: Registry
) -> None:
    await commands.register_version(registration(), ADA)
    async with registry_database.begin() as uow:
        await handlers.promote(Pointing("credit", champion(""), 1, 2, NOW), uow)
    async with registry_database.begin() as uow:
        await handlers.end_alias("credit", champion(""), 3, NOW + timedelta(hours=1), uow)
    with pytest.raises(NotFound, match="no alias"):
        await queries.resolve_alias(pb.ResolveAliasRequest(model="credit", alias="champion@production"))
    lineage = await queries.get_lineage(pb.GetLineageRequest(model="credit", version=1))
    assert [(one.environment, one.epoch, one.HasField("until")) for one in lineage.deployments] == [
        ("production", 2, True)
    ]
