"""Governance's HTTP routes: the same answers and refusals as over gRPC, as JSON and problem details."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from services.chassis.database import Database
from services.chassis.identity import Role
from services.chassis.testing import Issuer
from services.governance import handlers
from services.governance.store import GovernanceUnitOfWork
from tests.governance.cases import DIGEST, good
from tests.governance.conftest import FakeRegistry

HIGH = good(risk_tier="high")
PATH = f"/v1/verdicts/{HIGH.model}/1"


@pytest.fixture
async def judged(store: Database[GovernanceUnitOfWork], registry: FakeRegistry) -> None:
    registry.put(HIGH)
    async with store.begin() as uow:
        await handlers.look_at_version(HIGH.model, 1, uow, registry)


def as_(issuer: Issuer, who: str, *roles: Role) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.token(who, *roles)}"}


@pytest.fixture
def reviewer(issuer: Issuer) -> dict[str, str]:
    return as_(issuer, "rea", Role.REVIEWER)


@pytest.mark.usefixtures("judged")
async def test_a_verdict_is_explained_approved_and_revoked(web: httpx.AsyncClient, reviewer: dict[str, str]) -> None:
    explained = (await web.get(PATH, headers=reviewer)).json()
    assert explained["summary"] == "credit-prescreen@1 waits for one reviewer"
    waiting = (await web.get("/v1/waiting", headers=reviewer)).json()
    assert [one["model"] for one in waiting["verdicts"]] == [HIGH.model]
    words = {"comment": "fine", "artifact_digest": DIGEST}
    approved = (await web.post(f"{PATH}/approve", json=words, headers=reviewer)).json()
    assert approved["state"] == "VERDICT_STATE_APPROVED"
    revoked = (await web.post(f"{PATH}/revoke", json={"comment": "it leaks"}, headers=reviewer)).json()
    assert revoked["state"] == "VERDICT_STATE_REVOKED"


@pytest.mark.usefixtures("judged")
async def test_a_no_is_taken(web: httpx.AsyncClient, reviewer: dict[str, str]) -> None:
    answer = (await web.post(f"{PATH}/deny", json={"comment": "too thin"}, headers=reviewer)).json()
    assert answer["state"] == "VERDICT_STATE_REJECTED"


async def test_the_policy_and_the_log_are_readable(web: httpx.AsyncClient, reviewer: dict[str, str]) -> None:
    assert (await web.get("/v1/policies/default", headers=reviewer)).json()["policy"] == "default"
    assert (await web.get("/v1/log/head", headers=reviewer)).json()["size"] == "0"
    served = (await web.get("/v1/served/m/production?at=2026-01-01T00:00:00Z", headers=reviewer)).json()
    assert served["served"] == []


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
    scientist = await web.post(f"{PATH}/{decision}", json=words, headers=as_(issuer, "sam", Role.SCIENTIST))
    assert (nobody.status_code, scientist.status_code) == (401, 403)


@pytest.mark.usefixtures("judged")
async def test_the_author_may_not_approve(web: httpx.AsyncClient, issuer: Issuer) -> None:
    author = as_(issuer, HIGH.author, Role.REVIEWER)
    answer = await web.post(f"{PATH}/approve", json={"comment": "mine"}, headers=author)
    assert answer.status_code == 403
    assert "registered" in answer.json()["detail"]
