"""What a version reads from the feature store: kept with it, told, given back, and found by the view's name."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.database import Database
from services.chassis.errors import Invalid
from services.registry.commands import Commands
from services.registry.queries import Queries
from services.registry.store import RegistryUnitOfWork
from tests.registry.made_up import ADA, FakeRuns, outbox, registration

SIGNATURE = json.dumps({"inputs": [{"name": name, "type": "double"} for name in ("amount", "count_7d", "mean_7d")]})


def view(name: str = "customer_windows", **more: Any) -> told.FeatureView:
    usual: dict[str, Any] = {
        "digest": "a" * 64,
        "inputs": ["mean_7d", "count_7d", "count_30d"],
        "keys": ["customer"],
        "ttl": timedelta(days=2),
    }
    return told.FeatureView(name=name, **usual | more)


def settings(*views: told.FeatureView, **more: Any) -> told.FeatureSettings:
    usual: dict[str, Any] = {
        "service": "fraud",
        "deadline": timedelta(milliseconds=50),
        "fallback": told.FEATURE_FALLBACK_MISSING,
    }
    return told.FeatureSettings(views=views or [view()], **usual | more)


@pytest.fixture(autouse=True)
def trained(runs: FakeRuns) -> None:
    runs.add("run-1", signature_json=SIGNATURE)


async def test_a_version_keeps_the_views_that_give_it_an_input(
    commands: Commands, queries: Queries, registry_database: Database[RegistryUnitOfWork]
) -> None:
    terminals = view("terminal_windows", inputs=["risk_7d"], keys=["terminal"])
    await commands.register_version(registration(features=settings(terminals, view())), ADA)
    expected = view(inputs=["count_7d", "mean_7d"])
    found = (await queries.get_version(pb.GetVersionRequest(model="credit"))).version
    assert found.features == settings(expected)
    assert list(found.registered.feature_views) == [expected]
    assert told.ModelRegistered.FromString((await outbox(registry_database))[1][1]) == found.registered
    lineage = await queries.get_lineage(pb.GetLineageRequest(model="credit"))
    assert list(lineage.version.features.views) == [expected]


async def test_a_version_that_takes_nothing_of_the_service_reads_nothing(commands: Commands, queries: Queries) -> None:
    await commands.register_version(registration(features=settings(view(inputs=["risk_7d"]))), ADA)
    found = (await queries.get_version(pb.GetVersionRequest(model="credit"))).version
    assert not found.HasField("features")
    assert not found.registered.feature_views


async def test_a_broken_view_names_the_versions_that_read_it(
    commands: Commands, queries: Queries, runs: FakeRuns
) -> None:
    runs.add("run-2", signature_json=SIGNATURE)
    await commands.register_version(registration(features=settings()), ADA)
    await commands.register_version(registration(run="run-2"), ADA)
    at_risk = await queries.search_versions(pb.SearchVersionsRequest(feature_view="customer_windows"))
    assert [one.registered.version for one in at_risk.versions] == [1]
    assert not (await queries.search_versions(pb.SearchVersionsRequest(feature_view="customer"))).versions


@pytest.mark.parametrize(
    ("features", "where"),
    [
        pytest.param(settings(deadline=timedelta()), "features.deadline", id="no time"),
        pytest.param(settings(deadline=timedelta(seconds=11)), "features.deadline", id="too long"),
        pytest.param(settings(fallback=told.FEATURE_FALLBACK_UNSPECIFIED), "features.fallback", id="no fallback"),
        pytest.param(settings(service=" "), "features.service", id="no service"),
        pytest.param(settings(view(digest="abc")), "features.views[customer_windows].digest", id="no digest"),
        pytest.param(settings(view(keys=[])), "features.views[customer_windows]", id="no key"),
        pytest.param(settings(view(inputs=[])), "features.views[customer_windows]", id="no input"),
        pytest.param(settings(view(ttl=timedelta(-1))), "features.views[customer_windows].ttl", id="a ttl below zero"),
        pytest.param(settings(view(), view()), "features.views", id="a view twice"),
        pytest.param(settings(view(), view("other")), "features.views", id="an input from two views"),
        pytest.param(told.FeatureSettings(), "features.fallback", id="nothing at all"),
    ],
)
async def test_what_cant_be_read_is_refused(commands: Commands, features: told.FeatureSettings, where: str) -> None:
    with pytest.raises(Invalid) as refused:
        await commands.register_version(registration(features=features), ADA)
    assert refused.value.where == where


async def test_features_need_a_signature_that_says_which_they_are(commands: Commands, runs: FakeRuns) -> None:
    runs.add("run-3")
    with pytest.raises(Invalid, match="no signature"):
        await commands.register_version(registration(run="run-3", features=settings()), ADA)
