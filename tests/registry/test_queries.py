"""What the registry answers: whole, page by page, and in words where there is nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.database import Database
from services.chassis.errors import Invalid, NotFound
from services.registry import handlers
from services.registry.commands import Commands
from services.registry.queries import Queries
from services.registry.store import RegistryUnitOfWork
from tests.registry.made_up import ADA, PROFILE, FakeRuns, dataset, registration

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Registry = Database[RegistryUnitOfWork]


async def test_lineage_leads_from_the_project_to_the_deployment(
    commands: Commands, queries: Queries, registry_database: Registry
) -> None:
    async with registry_database.begin() as uow:
        await handlers.start_project("credit", "credit", "risk-team", NOW, uow)
    await commands.register_version(registration(), ADA)
    lineage = await queries.get_lineage(pb.GetLineageRequest(model="credit"))
    assert lineage.project_started_at.ToDatetime(UTC) == NOW
    assert [one.registered.name for one in lineage.datasets] == ["census"]
    assert (lineage.mlflow_run, lineage.version.registered.version) == ("run-1", 1)


async def test_the_profile_comes_as_it_was_made(commands: Commands, queries: Queries) -> None:
    await commands.register_version(registration(), ADA)
    answer = await queries.get_profile(pb.GetProfileRequest(model="credit", version=1))
    assert answer.profile == PROFILE


async def test_search_pages_through_everything_once_newest_first(
    commands: Commands, queries: Queries, runs: FakeRuns
) -> None:
    for run in range(5):
        runs.add(f"run-{run}")
        await commands.register_version(registration(model=f"m{run % 2}", run=f"run-{run}"), ADA)
    seen, token = [], ""
    for _ in range(3):
        request = pb.SearchVersionsRequest(owner="RISK", dataset="census", page_size=2, page_token=token)
        answer = await queries.search_versions(request)
        seen += [(one.registered.model, one.registered.version) for one in answer.versions]
        token = answer.next_page_token
    assert (seen, token) == ([("m0", 3), ("m1", 2), ("m0", 2), ("m1", 1), ("m0", 1)], "")
    only = await queries.search_versions(pb.SearchVersionsRequest(model="m1"))
    assert len(only.versions) == 2
    assert not (await queries.search_versions(pb.SearchVersionsRequest(owner="nobody"))).versions


async def test_models_and_datasets_are_listed_page_by_page(commands: Commands, queries: Queries) -> None:
    for name in ("b", "a", "c"):
        await commands.register_version(registration(model=name), ADA)
        await commands.register_dataset(pb.RegisterDatasetRequest(dataset=dataset(name)), ADA)
    first = await queries.list_models(pb.ListModelsRequest(page_size=2))
    rest = await queries.list_models(pb.ListModelsRequest(page_size=2, page_token=first.next_page_token))
    assert [model.name for model in (*first.models, *rest.models)] == ["a", "b", "c"]
    some = await queries.list_datasets(pb.ListDatasetsRequest(page_size=3))
    last = await queries.list_datasets(pb.ListDatasetsRequest(page_size=3, page_token=some.next_page_token))
    assert [one.registered.name for one in (*some.datasets, *last.datasets)] == ["a", "b", "c", "census"]


async def test_what_is_not_there_is_not_found(queries: Queries) -> None:
    for asking in (
        queries.get_model(pb.GetModelRequest(model="nobody")),
        queries.get_version(pb.GetVersionRequest(model="nobody", version=7)),
        queries.get_dataset(pb.GetDatasetRequest(name="nobody")),
        queries.get_lineage(pb.GetLineageRequest(model="nobody")),
        queries.list_alias_history(pb.ListAliasHistoryRequest(model="nobody")),
    ):
        with pytest.raises(NotFound):
            await asking


async def test_a_version_number_that_none_could_have_is_refused(queries: Queries) -> None:
    with pytest.raises(Invalid):
        await queries.get_version(pb.GetVersionRequest(model="credit", version=2**32 - 1))
