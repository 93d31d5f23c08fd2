"""The registry over HTTP: the same answers as JSON, and every refusal as problem details."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from google.protobuf import json_format

from services.chassis.http_server import create_app
from services.chassis.identity import Role
from services.chassis.testing import Issuer
from services.registry import http_api
from services.registry.commands import Commands
from services.registry.queries import Queries
from tests.registry.made_up import registration


@pytest.fixture
async def http(commands: Commands, queries: Queries, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app("registry", verifier=issuer.verifier(), checks={})
    app.include_router(http_api.router(commands, queries))
    token = issuer.token("ada", Role.SCIENTIST)
    transport, headers = httpx.ASGITransport(app), {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://registry", headers=headers) as client:
        yield client


def _body(**more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json_format.MessageToDict(registration(), preserving_proto_field_name=True)
    return body | more


async def test_a_version_is_registered_and_read_as_json(http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/versions", json=_body())
    assert (made.status_code, made.json()["created"]) == (200, True)
    registered = made.json()["version"]["registered"]
    assert (registered["model"], registered["risk_tier"], registered["metrics"]["auc"]) == (
        "credit",
        "RISK_TIER_HIGH",
        0.932,
    )
    assert made.json()["version"]["reference_log_loss"] == "NaN"
    for path in ("/v1/models/credit/versions/latest", "/v1/models/credit/versions/1"):
        assert (await http.get(path)).json()["version"] == made.json()["version"]
    assert (await http.get("/v1/models/credit")).json()["model"]["owner"] == "risk-team"
    assert (await http.get("/v1/models")).json()["models"][0]["name"] == "credit"
    assert (await http.get("/v1/versions", params={"owner": "risk"})).json()["versions"] == [made.json()["version"]]
    assert (await http.get("/v1/models/credit/versions/1/lineage")).json()["project"] == "credit"
    assert (await http.get("/v1/models/credit/versions/1/profile")).json()["profile"] == "YSBwcm9maWxl"
    assert (await http.get("/v1/models/credit/aliases")).json()["aliases"] == []


async def test_a_dataset_is_documented_and_read_as_json(http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/datasets", json={"dataset": {"name": "census", "digest": "d" * 64}})
    assert made.json()["changed"]
    found = await http.get("/v1/datasets/census/versions/1")
    assert found.json()["dataset"]["registered"]["unanswered"][0] == "purpose"
    assert (await http.get("/v1/datasets")).json()["datasets"] == [found.json()["dataset"]]


async def test_a_version_is_retired(http: httpx.AsyncClient) -> None:
    await http.post("/v1/versions", json=_body(owner="ada"))
    retired = await http.post("/v1/models/credit/versions/1/retire", json={"reason": "superseded"})
    assert retired.json()["version"]["retired"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("POST", "/v1/versions", {"modle": "credit"}, 400, id="an unknown field"),
        pytest.param("POST", "/v1/versions", {"model": 7}, 400, id="a number for a text"),
        pytest.param("POST", "/v1/versions", {"drift": {"tolerance": "much"}}, 400, id="a text for a number"),
        pytest.param("POST", "/v1/versions", ["credit"], 400, id="a list for an object"),
        pytest.param("POST", "/v1/versions", {}, 400, id="nothing said"),
        pytest.param("POST", "/v1/datasets", {"dataset": {"name": "Ä"}}, 400, id="a malformed dataset"),
        pytest.param("GET", "/v1/models?page_size=1000000000", None, 400, id="a page of a billion"),
        pytest.param("GET", "/v1/models?page_size=-1", None, 400, id="a page below zero"),
        pytest.param("GET", "/v1/models?page_size=99999999999999", None, 400, id="a page beyond any integer"),
        pytest.param("GET", "/v1/models?page_token=forged", None, 400, id="a forged page token"),
        pytest.param("GET", "/v1/models/nobody", None, 404, id="an unknown model"),
        pytest.param("GET", "/v1/models/nobody/versions/0", None, 400, id="version zero"),
        pytest.param("GET", "/v1/models/nobody/versions/x", None, 400, id="no version's number"),
        pytest.param("GET", "/v1/models/%00", None, 400, id="a NUL in a name"),
        pytest.param("GET", "/v1/nothing", None, 404, id="an unknown path"),
    ],
)
async def test_a_bad_request_gets_a_problem_that_says_what_and_where(
    http: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = await http.request(method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["detail"]


async def test_an_unknown_run_is_not_found(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/versions", json=_body(mlflow_run="nobody"))
    assert (answer.status_code, answer.json()["where"]) == (404, "mlflow_run")


async def test_a_token_must_be_there_be_fresh_and_have_the_role(http: httpx.AsyncClient, issuer: Issuer) -> None:
    expired = issuer.token("ada", Role.SCIENTIST, lifetime=timedelta(seconds=-60))
    reviewer = issuer.token("rev", Role.REVIEWER)
    for value, status in (("", 401), (f"Bearer {expired}", 401), ("Bearer x", 401), (f"Bearer {reviewer}", 403)):
        answer = await http.post("/v1/versions", json=_body(), headers={"authorization": value})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (await http.get("/v1/models", headers={"authorization": ""})).status_code == 401
    assert (await http.get("/v1/models", headers={"authorization": f"Bearer {reviewer}"})).status_code == 200


async def test_openapi_describes_the_bodies_that_the_contract_has(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    post = document["paths"]["/v1/versions"]["post"]
    taken = post["requestBody"]["content"]["application/json"]["schema"]
    given = post["responses"]["200"]["content"]["application/json"]["schema"]
    assert (taken["title"], given["title"]) == ("RegisterVersionRequest", "RegisterVersionResponse")
    assert taken["properties"]["drift"]["properties"]["tolerance"]["anyOf"][0] == {"type": "number"}
