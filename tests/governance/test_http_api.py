"""Governance's HTTP routes: the same answers and refusals as over gRPC, as JSON and problem details."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from services.governance.domain.facts import Facts
from tests.governance.cases import DIGEST, good

HIGH = good(risk_tier="high")
PATH = f"/v1/verdicts/{HIGH.model}/1"


@pytest.fixture
async def judged(judge: Callable[[Facts], Awaitable[None]]) -> None:
    await judge(HIGH)


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
