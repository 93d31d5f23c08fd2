"""A version is taken out of use for good: by whom, and only where nothing would miss it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as deployer_events
from goldenpath.deployer.v1.deployer_service_pb2_grpc import (
    DeployerServiceServicer,
    add_DeployerServiceServicer_to_server,
)
from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.database import Database
from services.chassis.errors import Conflict, Denied, Invalid, Unavailable
from services.chassis.grpc_client import Sibling
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Caller, Role
from services.chassis.testing import Issuer
from services.registry import handlers
from services.registry.clients.deployer import Deployments
from services.registry.commands import Commands
from services.registry.domain.aliases import Pointing, champion
from services.registry.queries import Queries
from services.registry.store import RegistryUnitOfWork
from tests.registry.made_up import ADA, FakeDeployments, outbox, registration

OLGA = Caller("olga@bank.example", frozenset({Role.OPERATOR}))


def request(version: int = 1, reason: str = "superseded") -> pb.RetireVersionRequest:
    return pb.RetireVersionRequest(model="credit", version=version, reason=reason)


async def test_a_retired_version_stays_and_is_told(
    commands: Commands, queries: Queries, registry_database: Database[RegistryUnitOfWork]
) -> None:
    await commands.register_version(registration(), ADA)
    async with registry_database.begin() as uow:
        await handlers.promote(Pointing("credit", champion(""), 1, 2, uow.now), uow)
        await handlers.end_alias("credit", champion(""), 3, uow.now, uow)
    assert (await commands.retire_version(request(), OLGA)).version.retired

    name, body = (await outbox(registry_database))[-1]
    retired = told.ModelRetired.FromString(body)
    assert (name, retired.retired_by.subject, retired.reason) == ("model.retired", OLGA.subject, "superseded")
    history = await queries.list_alias_history(pb.ListAliasHistoryRequest(model="credit"))
    assert [one.version for one in history.aliases] == [1]
    with pytest.raises(Conflict, match="already"):
        await commands.retire_version(request(), OLGA)


async def test_a_models_owner_retires_its_versions_and_nobody_else_does(commands: Commands) -> None:
    await commands.register_version(registration(owner=ADA.subject), ADA)
    with pytest.raises(Denied, match=r"grace doesn't own credit: ada@bank\.example does"):
        await commands.retire_version(request(), Caller("grace", frozenset({Role.SCIENTIST})))
    with pytest.raises(Denied, match="scientist or operator"):
        await commands.retire_version(request(), Caller("rev", frozenset({Role.REVIEWER})))

    assert (await commands.retire_version(request(), ADA)).version.retired


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        pytest.param(request(reason=" "), "why", id="no reason"),
        pytest.param(request(version=0), "which version", id="no version"),
    ],
)
async def test_retiring_takes_a_version_and_a_reason(
    commands: Commands, asked: pb.RetireVersionRequest, match: str
) -> None:
    await commands.register_version(registration(), ADA)
    with pytest.raises(Invalid, match=match):
        await commands.retire_version(asked, OLGA)


async def test_a_version_that_serves_cant_be_retired(commands: Commands, deployments: FakeDeployments) -> None:
    await commands.register_version(registration(), ADA)
    deployments.serves["credit", 1] = ["staging", "production"]
    with pytest.raises(Conflict, match="is in use in production, staging") as refused:
        await commands.retire_version(request(), OLGA)

    assert "golden retire credit" in refused.value.fix


class Deployer(DeployerServiceServicer):
    """A deployer that answers one question."""

    def __init__(self) -> None:
        self.pages: list[list[deployer.Deployment]] = []

    async def ListDeployments(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the contract's own name
        page = int(request.page_token or 0)
        token = str(page + 1) if page + 1 < len(self.pages) else ""
        return deployer.ListDeploymentsResponse(deployments=self.pages[page], next_page_token=token)


@pytest.fixture
def answers() -> Deployer:
    return Deployer()  # type: ignore[abstract] # the other methods stay unimplemented, and nobody calls them


@pytest.fixture
async def sibling(answers: Deployer, issuer: Issuer) -> AsyncIterator[Sibling]:
    name = "goldenpath.deployer.v1.DeployerService"
    register = [(name, lambda server: add_DeployerServiceServicer_to_server(answers, server))]
    server = GrpcServer("127.0.0.1:0", register, verifier=issuer.verifier(), drain=timedelta(seconds=1))
    await server.start()
    made = Sibling("deployer", f"127.0.0.1:{server.port}", token=lambda: issuer.token("registry", Role.SERVICE))
    yield made
    await made.close()
    await server.stop()


def deployment(model: str, environment: str, *, warm: int = 0, queued: int = 0, **position: Any) -> deployer.Deployment:
    stands = deployer_events.Position(model=model, environment=environment, **position)
    return deployer.Deployment(position=stands, warm_version=warm, queued_version=queued)


async def test_where_a_version_serves_is_the_deployers_word(sibling: Sibling, answers: Deployer) -> None:
    answers.pages = [
        [
            deployment("credit", "production", stable_version=1),
            deployment("fraud", "production", stable_version=1),
            deployment("credit", "canary", stable_version=2, candidate_version=1),
        ],
        [
            deployment("credit", "warm", stable_version=3, warm=1),
            deployment("credit", "waiting", stable_version=3, queued=1),
            deployment("credit", "past", stable_version=3),
        ],
    ]

    assert await Deployments(sibling).of_version("credit", 1) == ["production", "canary", "warm", "waiting"]


async def test_a_deployer_that_doesnt_answer_is_waited_for_and_one_that_isnt_there_isnt() -> None:
    silent = Sibling("deployer", "127.0.0.1:1", token=lambda: "")
    with pytest.raises(Unavailable):
        await Deployments(silent).of_version("credit", 1)
    await silent.close()

    assert await Deployments(Sibling("deployer", "", token=lambda: "")).of_version("credit", 1) == []
