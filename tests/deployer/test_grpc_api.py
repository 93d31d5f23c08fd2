from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from goldenpath.deployer.v1 import deployer_service_pb2 as pb2
from goldenpath.deployer.v1 import deployer_service_pb2_grpc as pb2_grpc
from goldenpath.deployer.v1 import events_pb2
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.grpc_client import Sibling
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import create_app
from services.chassis.identity import Role, Unauthenticated
from services.chassis.testing import Issuer, eventually
from services.deployer import http_api
from tests.deployer.conftest import Deployer


class Caller:
    """Somebody with a token, who asks over the wire."""

    def __init__(self, address: str, token: str) -> None:
        self._sibling = Sibling("deployer", address, token=lambda: token)

    async def ask(self, method: str, request: Message) -> Any:
        stub: Any = pb2_grpc.DeployerServiceStub(self._sibling.channel)
        return await self._sibling.ask(getattr(stub, method), request)

    async def close(self) -> None:
        await self._sibling.close()


@pytest.fixture
async def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
async def server(deployer: Deployer, issuer: Issuer) -> AsyncIterator[str]:
    made = GrpcServer(
        "127.0.0.1:0",
        [
            (
                "goldenpath.deployer.v1.DeployerService",
                lambda server: pb2_grpc.add_DeployerServiceServicer_to_server(deployer.api, server),
            )
        ],
        verifier=issuer.verifier(),
        drain=timedelta(seconds=1),
    )
    await made.start()
    yield f"127.0.0.1:{made.port}"
    await made.stop()


@pytest.fixture
async def operator(server: str, issuer: Issuer) -> AsyncIterator[Caller]:
    made = Caller(server, issuer.token("olga", Role.OPERATOR))
    yield made
    await made.close()


async def test_a_deployment_is_shown_with_its_rollout_servers_and_history(deployer: Deployer, operator: Caller) -> None:
    await deployer.deployed(1)
    found = (await operator.ask("GetDeployment", pb2.GetDeploymentRequest(model="credit"))).deployment
    assert (found.position.stable_version, found.effective, found.url) == (
        1,
        True,
        "http://proxy/v2/models/credit/infer",
    )
    assert found.rollout.state == pb2.ROLLOUT_STATE_PROMOTED
    assert found.endpoints[0].ready
    page = await operator.ask("ListHistory", pb2.ListHistoryRequest(model="credit", page_size=1))
    assert [entry.type for entry in page.entries] == ["deployment.promoted"]
    rest = await operator.ask("ListHistory", pb2.ListHistoryRequest(model="credit", page_token=page.next_page_token))
    assert [entry.type for entry in rest.entries] == ["deployment.started"]
    everything = await operator.ask("ListDeployments", pb2.ListDeploymentsRequest())
    assert [one.position.model for one in everything.deployments] == ["credit"]


async def test_a_person_deploys_holds_releases_and_goes_back(deployer: Deployer, operator: Caller) -> None:
    await deployer.deployed(1, 2)
    held = await operator.ask("Hold", pb2.HoldRequest(model="credit", reason="audit"))
    assert held.deployment.held_reason == "audit"
    released = await operator.ask("Release", pb2.ReleaseRequest(model="credit", epoch=4))
    assert not released.deployment.held
    answer = await operator.ask("RollBack", pb2.RollBackRequest(model="credit", reason="it smells", epoch=4))
    assert (answer.decision.target_version, answer.decision.actor) == (1, "olga")
    await deployer.serves(1)
    decisions = (await operator.ask("ListDecisions", pb2.ListDecisionsRequest(model="credit"))).decisions
    assert [decision.verb for decision in decisions] == [events_pb2.VERB_ROLL_BACK]
    await operator.ask("Deploy", pb2.DeployRequest(model="credit", version=2))
    await deployer.serves(2)


async def test_a_person_promotes_or_aborts_a_candidate(deployer: Deployer, operator: Caller) -> None:
    await deployer.deployed(1)

    async def has_traffic() -> bool:
        return (await deployer.state()).position.candidate_weight == 20

    await deployer.approve(2)
    await eventually(has_traffic)
    await operator.ask("Abort", pb2.AbortRequest(model="credit", reason="not now"))
    await deployer.serves(1)
    await deployer.approve(3)
    await eventually(has_traffic)
    deployer.governance.error = Unavailable("down")
    with pytest.raises(Unavailable, match="governance doesn't answer, and without its word") as refused:
        await operator.ask("Promote", pb2.PromoteRequest(model="credit"))
    assert "golden abort" in refused.value.fix
    deployer.governance.error = None
    await operator.ask("Promote", pb2.PromoteRequest(model="credit"))
    await deployer.serves(3)


async def test_a_retired_deployment_serves_nobody_and_a_later_version_begins_anew(
    deployer: Deployer, operator: Caller
) -> None:
    state = await deployer.deployed(1, 2)
    await deployer.approve(3)
    answer = await operator.ask("Retire", pb2.RetireRequest(model="credit", reason="replaced", epoch=0))
    assert answer.deployment.position.epoch > state.position.epoch

    async def gone() -> bool:
        state = await deployer.state()
        return state.effective and not state.endpoints

    await eventually(gone)
    assert await deployer.requests(3) == [404] * 3
    assert (await deployer.history())[-1] == "retired"
    with pytest.raises(Conflict, match="nothing to retire"):
        await operator.ask("Retire", pb2.RetireRequest(model="credit", reason="again"))
    await deployer.approve(4)
    state = await deployer.serves(4)
    assert (await deployer.history())[-2:] == ["started", "promoted"]
    assert state.position.epoch > answer.deployment.position.epoch
    assert state.warm_version == 0
    with pytest.raises(Conflict, match="can't go back to version 2"):
        await operator.ask("RollBack", pb2.RollBackRequest(model="credit", reason="to what?", version=2))


async def test_that_a_deployment_was_retired_is_told_once_it_is_in_effect(deployer: Deployer, operator: Caller) -> None:
    state = await deployer.deployed(1)
    await operator.ask("Retire", pb2.RetireRequest(model="credit", reason="replaced", epoch=state.position.epoch))

    async def told() -> list[events_pb2.DeploymentRetired]:
        return [events_pb2.DeploymentRetired.FromString(body) for body in await deployer.told("deployment.retired")]

    body = (await eventually(told))[0]
    assert (body.position.stable_version, body.position.epoch) == (1, state.position.epoch + 1)
    assert (body.actor, body.reason) == ("olga", "replaced")
    assert body.HasField("effective_at")


@pytest.mark.parametrize(
    ("method", "request_", "error", "words"),
    [
        ("GetDeployment", pb2.GetDeploymentRequest(), Invalid, "no name"),
        ("GetDeployment", pb2.GetDeploymentRequest(model="nobody"), NotFound, "ever deployed"),
        ("GetDeployment", pb2.GetDeploymentRequest(model="a\x00b"), Invalid, "no name"),
        ("ListDeployments", pb2.ListDeploymentsRequest(page_size=1_000_000_000), Invalid, "1000 rows"),
        ("ListDeployments", pb2.ListDeploymentsRequest(page_token="?"), Invalid, "page token"),
        ("ListHistory", pb2.ListHistoryRequest(model="credit", page_token="9" * 30), Invalid, "page token"),
        ("GetDecision", pb2.GetDecisionRequest(), Invalid, "which decision"),
        ("GetDecision", pb2.GetDecisionRequest(id="none"), NotFound, "nothing is decided"),
        ("Hold", pb2.HoldRequest(model="credit"), Invalid, "say why"),
        ("Hold", pb2.HoldRequest(model="nobody", reason="why not"), NotFound, "ever deployed"),
        ("Hold", pb2.HoldRequest(model="credit", reason="late", epoch=1), Conflict, "moved on"),
        ("Hold", pb2.HoldRequest(model="credit", reason="early", epoch=99), Invalid, "no epoch 99"),
        ("Release", pb2.ReleaseRequest(model="credit"), Conflict, "isn't held"),
        ("Promote", pb2.PromoteRequest(model="credit"), Conflict, "no candidate"),
        ("Abort", pb2.AbortRequest(model="credit", reason="x"), NotFound, "no rollout"),
        ("RollBack", pb2.RollBackRequest(model="credit", reason="x"), Conflict, "no earlier version"),
        ("Retire", pb2.RetireRequest(model="credit"), Invalid, "say why"),
        ("Retire", pb2.RetireRequest(model="nobody", reason="x"), NotFound, "ever deployed"),
        ("Retire", pb2.RetireRequest(model="credit", reason="x", epoch=1), Conflict, "moved on"),
        ("RequestTraining", pb2.RequestTrainingRequest(model="credit", reason=" "), Invalid, "say why"),
        ("RequestTraining", pb2.RequestTrainingRequest(model="nobody", reason="x"), NotFound, "ever deployed"),
        ("RollBack", pb2.RollBackRequest(model="credit", reason="x", version=4_000_000_000), Conflict, "never had all"),
        ("Deploy", pb2.DeployRequest(model="credit", version=1), Conflict, "already"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_words(
    deployer: Deployer, operator: Caller, method: str, request_: Message, error: type[GoldenpathError], words: str
) -> None:
    await deployer.deployed(1)
    with pytest.raises(error, match=words):
        await operator.ask(method, request_)


async def test_a_version_that_governance_refuses_or_nobody_knows_is_not_deployed(
    deployer: Deployer, operator: Caller
) -> None:
    deployer.governance.refused.add(7)
    with pytest.raises(Denied, match="may not serve"):
        await operator.ask("Deploy", pb2.DeployRequest(model="credit", version=7))
    deployer.registry.error = NotFound("there is no version 8")
    with pytest.raises(NotFound, match="no version 8"):
        await operator.ask("Deploy", pb2.DeployRequest(model="credit", version=8))
    deployer.registry.error = Unavailable("connection refused")
    with pytest.raises(Unavailable, match="the registry doesn't answer"):
        await operator.ask("Deploy", pb2.DeployRequest(model="credit", version=8))


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.AUDITOR, Role.SCIENTIST, Role.SERVICE])
async def test_commands_take_an_operator(deployer: Deployer, server: str, issuer: Issuer, role: Role) -> None:
    somebody = Caller(server, issuer.token("sam", role))
    for request in (
        pb2.HoldRequest(model="credit", reason="x"),
        pb2.ReleaseRequest(model="credit"),
        pb2.PromoteRequest(model="credit"),
        pb2.AbortRequest(model="credit", reason="x"),
        pb2.RollBackRequest(model="credit", reason="x"),
        pb2.RetireRequest(model="credit", reason="x"),
    ):
        with pytest.raises(Denied, match="operator"):
            await somebody.ask(type(request).__name__.removesuffix("Request"), request)
    await somebody.close()
    assert await _nothing(deployer)


async def test_a_scientist_asks_for_a_new_version_and_a_second_one_gets_the_first_ones_request(
    deployer: Deployer, server: str, issuer: Issuer
) -> None:
    await deployer.deployed(1)
    scientist = Caller(server, issuer.token("sam", Role.SCIENTIST))
    first = await scientist.ask("RequestTraining", pb2.RequestTrainingRequest(model="credit", reason="new data"))
    second = await scientist.ask("RequestTraining", pb2.RequestTrainingRequest(model="credit", reason="newer data"))
    await scientist.close()
    assert (first.created, first.training.actor, first.training.reason) == (True, "sam", "new data")
    assert (second.created, second.training) == (False, first.training)


async def test_a_reviewer_does_not_ask_for_a_new_version(deployer: Deployer, server: str, issuer: Issuer) -> None:
    reviewer = Caller(server, issuer.token("grace", Role.REVIEWER))
    with pytest.raises(Denied, match="scientist or operator"):
        await reviewer.ask("RequestTraining", pb2.RequestTrainingRequest(model="credit", reason="x"))
    await reviewer.close()
    assert await _nothing(deployer)


async def _nothing(deployer: Deployer) -> bool:
    async with deployer.database.begin() as uow:
        return await uow.deployments.all() == []


@pytest.mark.parametrize("lifetime", [timedelta(hours=-1), timedelta(hours=1)], ids=["expired", "another issuer's"])
async def test_a_token_that_is_not_valid_opens_nothing(server: str, tmp_path: Path, lifetime: timedelta) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    stranger = Caller(server, Issuer(folder).token("eve", Role.OPERATOR, lifetime=lifetime))
    with pytest.raises((Unauthenticated, Denied)):
        await stranger.ask("GetDeployment", pb2.GetDeploymentRequest(model="credit"))
    await stranger.close()


async def test_a_watcher_sees_every_change(deployer: Deployer, server: str, issuer: Issuer) -> None:
    await deployer.deployed(1)
    metadata = (("authorization", f"Bearer {issuer.token('wanda')}"),)
    async with grpc.aio.insecure_channel(server) as channel:
        stub: Any = pb2_grpc.DeployerServiceStub(channel)
        stream = stub.WatchDeployment(pb2.WatchDeploymentRequest(model="credit"), metadata=metadata)
        assert not (await stream.read()).deployment.held
        await deployer.signal(1, 2)
        assert (await stream.read()).deployment.held
        stream.cancel()


async def test_the_same_is_told_over_http(deployer: Deployer, issuer: Issuer) -> None:
    import httpx

    await deployer.deployed(1)
    app = create_app("deployer", verifier=issuer.verifier(), checks={})
    app.include_router(http_api.router(deployer.database, url="http://proxy"))
    headers = {"authorization": f"Bearer {issuer.token('wanda')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deployer") as client:
        found = await client.get("/v1/deployments/credit", headers=headers)
        assert found.json()["position"]["stable_version"] == 1
        assert (await client.get("/v1/deployments/NOBODY", headers=headers)).status_code == 400
        assert (await client.get("/v1/deployments/credit/decisions/none", headers=headers)).status_code == 404
        assert (await client.get("/v1/deployments/credit")).status_code == 401
