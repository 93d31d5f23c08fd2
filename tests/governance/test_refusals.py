"""How governance refuses, over gRPC and HTTP: no token, the wrong role, input that makes no sense.

Nothing that is refused changes anything, so all of these tests share one database.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from golden.embedded.postgres import PostgresServer
from goldenpath.governance.v1 import governance_service_pb2 as pb
from services.chassis.errors import Denied, Invalid
from services.chassis.identity import Role, Unauthenticated
from services.chassis.testing import Issuer
from tests.conftest import Database
from tests.governance.cases import SHIPPED, good
from tests.governance.conftest import Client, bearer

HIGH = good(risk_tier="high")
MODEL = HIGH.model
PATH = f"/v1/verdicts/{HIGH.model}/1"


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[Database]:
    """One database for all of these tests."""
    name, password = f"t{secrets.token_hex(5)}", secrets.token_urlsafe(12)
    postgres.create_database(name, name, password)
    yield Database(name, name, postgres.dsn(name, name, password))
    postgres.drop_database(name, name)


@pytest.fixture
async def judged(judge: Any) -> None:
    await judge(HIGH)


COMMANDS = [
    pytest.param("Approve", pb.ApproveRequest(model=MODEL, version=1), id="approve"),
    pytest.param("Deny", pb.DenyRequest(model=MODEL, version=1, comment="no"), id="deny"),
    pytest.param("Revoke", pb.RevokeRequest(model=MODEL, version=1, reason="no"), id="revoke"),
    pytest.param("ApplyPolicy", pb.ApplyPolicyRequest(yaml=SHIPPED), id="apply a policy"),
]


@pytest.mark.parametrize(("method", "request_"), COMMANDS)
async def test_a_command_takes_the_role_reviewer(sam: Client, judge: Any, method: str, request_: Any) -> None:
    await judge(HIGH)
    with pytest.raises(Denied, match="it takes the role reviewer") as refused:
        await sam.ask(method, request_)
    assert refused.value.fix == "ask a reviewer"


@pytest.mark.parametrize(("method", "request_"), COMMANDS)
async def test_no_token_no_command(client: Callable[[str], Client], method: str, request_: Any) -> None:
    with pytest.raises(Unauthenticated):
        await client("").ask(method, request_)


async def test_an_expired_token_reads_nothing(client: Callable[[str], Client], issuer: Issuer) -> None:
    expired = issuer.token("rea", Role.REVIEWER, lifetime=timedelta(seconds=-5))
    with pytest.raises(Unauthenticated, match="expired"):
        await client(expired).ask("GetLogHead", pb.GetLogHeadRequest())


FAR = Timestamp(seconds=2**60)


@pytest.mark.parametrize(
    ("method", "request_", "where"),
    [
        pytest.param("GetVerdict", pb.GetVerdictRequest(model="Not A Name"), "model", id="no name"),
        pytest.param("GetVerdict", pb.GetVerdictRequest(model="m\x00"), "model", id="a nul"),
        pytest.param("GetVerdict", pb.GetVerdictRequest(model="m", version=2**32 - 1), "version", id="a huge version"),
        pytest.param("GetVerdict", pb.GetVerdictRequest(model="m", look_again=True), "version", id="again, which?"),
        pytest.param("CheckAdmission", pb.CheckAdmissionRequest(model="m"), "version", id="no version"),
        pytest.param("Deny", pb.DenyRequest(model=MODEL, version=1), "comment", id="a no without words"),
        pytest.param("ListWaiting", pb.ListWaitingRequest(page_size=10**9), "page_size", id="a billion"),
        pytest.param("ListWaiting", pb.ListWaitingRequest(page_token="x"), "page_token", id="no token of ours"),
        pytest.param("ListWaiting", pb.ListWaitingRequest(page_token="WzFd"), "page_token", id="a forged token"),
        pytest.param("ApplyPolicy", pb.ApplyPolicyRequest(yaml="name: p"), "policy: rules", id="no rules"),
        pytest.param("ApplyPolicy", pb.ApplyPolicyRequest(yaml="\x00"), "yaml", id="a nul in a policy"),
        pytest.param("GetServedAt", pb.GetServedAtRequest(model=""), "model", id="no model"),
        pytest.param("GetServedAt", pb.GetServedAtRequest(model="m", at=FAR), "at", id="a far moment"),
        pytest.param("GetInclusionProof", pb.GetInclusionProofRequest(), "entry", id="no entry"),
        pytest.param("GetInclusionProof", pb.GetInclusionProofRequest(index=2**64 - 1), "index", id="a huge index"),
        pytest.param("GetInclusionProof", pb.GetInclusionProofRequest(event_id=""), "event_id", id="an empty id"),
        pytest.param("GetConsistencyProof", pb.GetConsistencyProofRequest(), "first_size", id="no sizes"),
    ],
)
async def test_bad_input_is_invalid_and_says_where(
    rea: Client, judge: Any, method: str, request_: Any, where: str
) -> None:
    await judge(HIGH)
    with pytest.raises(Invalid) as refused:
        await rea.ask(method, request_)
    assert refused.value.where == where


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("GET", "/v1/verdicts/nothing/1", None, 404, id="an unknown model"),
        pytest.param("GET", "/v1/verdicts/NO!/1", None, 400, id="no name"),
        pytest.param("GET", "/v1/verdicts/m/one", None, 400, id="no number"),
        pytest.param("GET", f"/v1/verdicts/m/{2**40}", None, 400, id="a huge version"),
        pytest.param("GET", "/v1/waiting?page_size=1000000000", None, 400, id="a billion"),
        pytest.param("GET", "/v1/waiting?page_token=x", None, 400, id="no token of ours"),
        pytest.param("GET", "/v1/log/entries/0", None, 404, id="no such entry"),
        pytest.param("GET", "/v1/log/entries/-1", None, 400, id="no index"),
        pytest.param("GET", "/v1/log/consistency?first=0", None, 400, id="no sizes"),
        pytest.param("GET", "/v1/served/m/production?at=2026-01-01T00:00:00", None, 400, id="no time zone"),
        pytest.param("GET", "/v1/policies/nothing", None, 404, id="an unknown policy"),
        pytest.param("POST", f"{PATH}/deny", {}, 400, id="a no without words"),
        pytest.param("POST", f"{PATH}/approve", {"coment": "fine"}, 400, id="a misspelt field"),
        pytest.param("POST", f"{PATH}/approve", {"artifact_digest": "b" * 64}, 409, id="other bytes"),
        pytest.param("POST", f"{PATH}/revoke", {"comment": "x"}, 409, id="never approved"),
    ],
)
async def test_bad_input_is_a_problem_that_says_what(
    web: httpx.AsyncClient, reviewer: dict[str, str], method: str, path: str, body: Any, status: int
) -> None:
    answer = await web.request(method, path, json=body, headers=reviewer)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize("decision", ["approve", "deny", "revoke"])
async def test_who_may_not_decide_is_told_so(web: httpx.AsyncClient, issuer: Issuer, decision: str) -> None:
    words = {"comment": "x"}
    nobody = await web.post(f"{PATH}/{decision}", json=words)
    scientist = await web.post(f"{PATH}/{decision}", json=words, headers=bearer(issuer, "sam", Role.SCIENTIST))
    assert (nobody.status_code, scientist.status_code) == (401, 403)


@pytest.mark.usefixtures("judged")
async def test_the_author_may_not_approve(web: httpx.AsyncClient, issuer: Issuer) -> None:
    author = bearer(issuer, HIGH.author, Role.REVIEWER)
    answer = await web.post(f"{PATH}/approve", json={"comment": "mine"}, headers=author)
    assert answer.status_code == 403
    assert "registered" in answer.json()["detail"]
