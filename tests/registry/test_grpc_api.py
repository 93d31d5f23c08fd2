"""The registry over gRPC, through a real channel and the real stub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from goldenpath.registry.v1 import registry_service_pb2 as pb
from goldenpath.registry.v1 import registry_service_pb2_grpc as pb_grpc
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role
from services.chassis.testing import Issuer, eventually
from services.registry.commands import Commands
from services.registry.grpc_api import SERVICE, RegistryApi
from services.registry.queries import Queries
from tests.registry.made_up import FakeRuns, dataset, registration

if TYPE_CHECKING:
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub


@pytest.fixture
async def stub(commands: Commands, queries: Queries, issuer: Issuer) -> AsyncIterator[RegistryServiceAsyncStub]:
    api = RegistryApi(commands, queries)
    server = GrpcServer(
        "127.0.0.1:0",
        [(SERVICE, lambda made: pb_grpc.add_RegistryServiceServicer_to_server(api, made))],
        verifier=issuer.verifier(),
        drain=timedelta(seconds=1),
    )
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        made: Any = pb_grpc.RegistryServiceStub(channel)
        yield made
    await server.stop()


@pytest.fixture
def as_ada(issuer: Issuer) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {issuer.token('ada', Role.SCIENTIST)}")]


@pytest.fixture
def as_olga(issuer: Issuer) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {issuer.token('olga', Role.OPERATOR)}")]


async def test_every_method_answers(
    stub: RegistryServiceAsyncStub, as_ada: list[tuple[str, str]], as_olga: list[tuple[str, str]]
) -> None:
    made = await stub.RegisterVersion(registration(), metadata=as_ada)
    assert (made.created, made.version.registered.registered_by.subject) == (True, "ada")
    documented = await stub.RegisterDataset(pb.RegisterDatasetRequest(dataset=dataset()), metadata=as_ada)
    assert not documented.changed
    version = await stub.GetVersion(pb.GetVersionRequest(model="credit"), metadata=as_ada)
    assert version.version.registered == made.version.registered
    assert (await stub.GetModel(pb.GetModelRequest(model="credit"), metadata=as_ada)).model == version.model
    assert len((await stub.ListModels(pb.ListModelsRequest(), metadata=as_ada)).models) == 1
    assert len((await stub.SearchVersions(pb.SearchVersionsRequest(), metadata=as_ada)).versions) == 1
    assert (await stub.GetProfile(pb.GetProfileRequest(model="credit", version=1), metadata=as_ada)).profile
    assert (await stub.GetLineage(pb.GetLineageRequest(model="credit"), metadata=as_ada)).project == "credit"
    aliases = await stub.ListAliasHistory(pb.ListAliasHistoryRequest(model="credit"), metadata=as_ada)
    assert not aliases.aliases
    found = await stub.GetDataset(pb.GetDatasetRequest(name="census"), metadata=as_ada)
    assert found.dataset == documented.dataset
    assert len((await stub.ListDatasets(pb.ListDatasetsRequest(), metadata=as_ada)).datasets) == 1
    request = pb.RetireVersionRequest(model="credit", version=1, reason="superseded")
    assert (await stub.RetireVersion(request, metadata=as_olga)).version.retired


async def test_a_watcher_sees_versions_as_they_are_registered(
    stub: RegistryServiceAsyncStub, as_ada: list[tuple[str, str]], runs: FakeRuns
) -> None:
    await stub.RegisterVersion(registration(), metadata=as_ada)
    runs.add("run-2")
    seen: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    async def watch() -> None:
        call = stub.WatchVersions(pb.WatchVersionsRequest(model="credit"), metadata=as_ada)
        async for item in call:
            seen.put_nowait((item.version.registered.model, item.version.registered.version))

    watching = asyncio.ensure_future(watch())
    numbers = iter(range(2, 1000))

    async def register_until_seen() -> bool:
        runs.add(run := f"run-{next(numbers)}")
        await stub.RegisterVersion(registration(model="other", run=run), metadata=as_ada)
        await stub.RegisterVersion(registration(run=run), metadata=as_ada)
        return not seen.empty()

    await eventually(register_until_seen, what="a version on the watch")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    model, number = await seen.get()
    assert (model, number > 1) == ("credit", True)


@pytest.mark.parametrize(
    ("method", "request_message", "status"),
    [
        pytest.param("GetModel", pb.GetModelRequest(model="nobody"), "NOT_FOUND", id="an unknown model"),
        pytest.param("GetModel", pb.GetModelRequest(model="N\x00"), "INVALID_ARGUMENT", id="a malformed name"),
        pytest.param("ListModels", pb.ListModelsRequest(page_size=10**9), "INVALID_ARGUMENT", id="a page of a billion"),
        pytest.param("ListModels", pb.ListModelsRequest(page_token="x"), "INVALID_ARGUMENT", id="a forged token"),
        pytest.param(
            "SearchVersions", pb.SearchVersionsRequest(owner="\x00"), "INVALID_ARGUMENT", id="a NUL in a search"
        ),
        pytest.param("RegisterVersion", registration(run="nobody"), "NOT_FOUND", id="an unknown run"),
        pytest.param("RegisterVersion", registration(risk_tier=77), "INVALID_ARGUMENT", id="an unknown tier"),
        pytest.param("RegisterVersion", pb.RegisterVersionRequest(), "INVALID_ARGUMENT", id="an empty registration"),
        pytest.param("RegisterDataset", pb.RegisterDatasetRequest(), "INVALID_ARGUMENT", id="an empty dataset"),
        pytest.param(
            "RetireVersion",
            pb.RetireVersionRequest(model="nobody", version=1, reason="x"),
            "NOT_FOUND",
            id="retiring what isn't there",
        ),
    ],
)
async def test_a_bad_request_gets_its_status_and_a_sentence(
    stub: RegistryServiceAsyncStub, as_ada: list[tuple[str, str]], method: str, request_message: Any, status: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await getattr(stub, method)(request_message, metadata=as_ada)
    assert error.value.code().name == status
    assert error.value.details()


async def test_a_token_must_be_there_be_fresh_and_have_the_role(stub: RegistryServiceAsyncStub, issuer: Issuer) -> None:
    expired = issuer.token("ada", Role.SCIENTIST, lifetime=timedelta(seconds=-60))
    reviewer = issuer.token("rev", Role.REVIEWER)
    for token, status in (("", "UNAUTHENTICATED"), (expired, "UNAUTHENTICATED"), (reviewer, "PERMISSION_DENIED")):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.RegisterVersion(registration(), metadata=[("authorization", f"Bearer {token}")])
        assert error.value.code().name == status
    assert not (
        await stub.ListModels(pb.ListModelsRequest(), metadata=[("authorization", f"Bearer {reviewer}")])
    ).models
