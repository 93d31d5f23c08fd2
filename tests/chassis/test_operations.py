from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis.errors import Invalid, NotFound
from services.chassis.handling import Handling
from services.chassis.http_server import create_app
from services.chassis.identity import Role
from services.chassis.operations import router
from services.chassis.parking import Raw
from services.chassis.testing import Issuer
from tests.chassis.kit import TYPE, Service, event, raw


@pytest.fixture
async def client(service: Service, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app("test", verifier=issuer.verifier(), checks={})
    app.include_router(router(service.database, service.consumer("test", "127.0.0.1:1")))
    headers = {"authorization": f"Bearer {issuer.token('olga', Role.OPERATOR)}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as made:
        yield made


@pytest.fixture
def made(service: Service) -> Handling[Any]:
    handling: Handling[Any] = Handling("test", [service.ours, service.others], service.database, None)
    handling.on(TYPE, ProjectStarted, service.handle)
    return handling


async def bury(made: Handling[Any], *raws: Raw) -> None:
    for one in raws:
        await made.put_aside(one, Invalid("no such metric", where="metric"), dead=True)


async def test_dead_letters_are_listed_page_by_page(
    client: httpx.AsyncClient, made: Handling[Any], service: Service
) -> None:
    await bury(made, *(raw(event(f"{n}", id=f"{n}"), service.others, n) for n in range(5)))

    first = (await client.get("/v1/deadletters", params={"page_size": 3})).json()
    last = (await client.get("/v1/deadletters", params={"page_size": 3, "after": first["next_after"]})).json()

    assert [one["offset"] for one in first["letters"] + last["letters"]] == [0, 1, 2, 3, 4]
    assert last["next_after"] is None


async def test_a_dead_letter_can_be_read(client: httpx.AsyncClient, made: Handling[Any], service: Service) -> None:
    await bury(made, raw(event("credit"), service.others, 7))
    number = (await client.get("/v1/deadletters")).json()["letters"][0]["id"]

    letter = (await client.get(f"/v1/deadletters/{number}")).json()

    assert (letter["topic"], letter["offset"], letter["key"]) == (service.others.name, 7, "model/credit")
    assert (letter["error"], letter["what"]) == ("Invalid", "metric: no such metric")
    assert letter["headers"]["ce_type"] == TYPE
    assert letter["body"] == {"project": "credit", "model": "credit-prescreen"}


async def test_a_dead_letter_that_nobody_can_read_is_shown_as_bytes(
    client: httpx.AsyncClient, made: Handling[Any], service: Service
) -> None:
    await bury(made, Raw(service.others.name, 0, 0, b"\xff", [("ce_id", b"\xff")], b"\x00\xff"))
    number = (await client.get("/v1/deadletters")).json()["letters"][0]["id"]

    letter = (await client.get(f"/v1/deadletters/{number}")).json()

    assert letter["body"] is None
    assert base64.b64decode(letter["body_base64"]) == b"\x00\xff"
    assert letter["headers"] == {"ce_id": "�"}


async def test_a_replayed_letter_is_handled(client: httpx.AsyncClient, made: Handling[Any], service: Service) -> None:
    await bury(made, raw(event("credit", sequence=1), service.ours, 0))
    await made.handle([raw(event("behind", sequence=2), service.ours, 1)])
    number = (await client.get("/v1/deadletters")).json()["letters"][0]["id"]

    answer = await client.post(f"/v1/deadletters/{number}/replay", json={"reason": "the release is mended"})
    assert answer.json() == {"id": number, "action": "replay"}
    assert [await made.retry_one() for _ in range(3)] == [True, True, False]

    assert await service.effects() == ["credit", "behind"]
    (audit,) = await service.rows("SELECT action, actor, reason FROM dead_letter_actions")
    assert tuple(audit) == ("replay", "olga", "the release is mended")


async def test_a_dropped_letter_lets_its_key_go_on(
    client: httpx.AsyncClient, made: Handling[Any], service: Service
) -> None:
    await bury(made, raw(event("credit", sequence=1), service.ours, 0))
    await made.handle([raw(event("behind", sequence=2), service.ours, 1)])
    number = (await client.get("/v1/deadletters")).json()["letters"][0]["id"]

    await client.post(f"/v1/deadletters/{number}/drop", json={"reason": "it was a test"})
    await made.retry_one()

    assert await service.effects() == ["behind"]
    assert (await client.get(f"/v1/deadletters/{number}")).status_code == 404


async def test_it_says_why_events_are_parked(client: httpx.AsyncClient, made: Handling[Any], service: Service) -> None:
    missing = NotFound("there is no model fraud")
    heads = [raw(event("x", subject=f"model/{n}", sequence=1, id=f"{n}"), service.ours, n) for n in range(3)]
    await bury(made, heads[0])
    for one in heads[1:]:
        await made.put_aside(one, missing, dead=False)
    await made.handle([raw(event("y", subject=f"model/{n}", sequence=2), service.ours, 10 + n) for n in range(2)])

    said = (await client.get("/v1/parked")).json()

    same = ("error", "what", "dead", "events")
    assert [tuple(reason[name] for name in same) for reason in said] == [
        ("NotFound", "there is no model fraud", False, 3),
        ("Invalid", "metric: no such metric", True, 1),
    ]
    assert len((await client.get("/v1/parked?page_size=1")).json()) == 1
    assert (await client.get("/v1/parked?page_size=0")).status_code == 400


async def test_a_parked_event_can_be_given_up_too(
    client: httpx.AsyncClient, made: Handling[Any], service: Service
) -> None:
    await made.put_aside(raw(event("credit", sequence=1), service.ours, 0), NotFound("never there"), dead=False)
    await made.handle([raw(event("behind", sequence=2), service.ours, 1)])
    number = (await client.get("/v1/parked")).json()[0]["id"]

    await client.post(f"/v1/deadletters/{number}/drop", json={"reason": "it will never come"})
    await made.retry_one()

    assert await service.effects() == ["behind"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        pytest.param({}, "body.reason", id="no reason"),
        pytest.param({"reason": ""}, "body.reason", id="an empty reason"),
        pytest.param({"reason": "x", "force": True}, "body.force", id="something else"),
    ],
)
async def test_an_order_without_a_reason_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], where: str
) -> None:
    answer = await client.post("/v1/deadletters/1/drop", json=body)

    assert (answer.status_code, answer.json()["where"]) == (400, where)


@pytest.mark.parametrize("query", ["page_size=0", "page_size=1000000000", "after=-1", "page_size=ten"])
async def test_a_page_that_makes_no_sense_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/deadletters?{query}")).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "role", "status"),
    [
        ("GET", "/v1/rebuild", Role.AUDITOR, 404),
        ("GET", "/v1/rebuild", Role.SCIENTIST, 403),
        ("POST", "/v1/rebuild", Role.AUDITOR, 403),
        ("POST", "/v1/rebuild", Role.OPERATOR, 409),
        ("GET", "/v1/deadletters", Role.AUDITOR, 200),
        ("GET", "/v1/deadletters", Role.SCIENTIST, 403),
        ("GET", "/v1/parked", Role.AUDITOR, 200),
        ("GET", "/v1/parked", Role.SCIENTIST, 403),
        ("GET", "/v1/deadletters/1", Role.SCIENTIST, 403),
        ("POST", "/v1/deadletters/1/replay", Role.AUDITOR, 403),
        ("POST", "/v1/deadletters/1/drop", Role.AUDITOR, 403),
        ("POST", "/v1/deadletters/1/drop", Role.OPERATOR, 404),
    ],
)
async def test_each_route_takes_its_role(
    client: httpx.AsyncClient, issuer: Issuer, method: str, path: str, role: Role, status: int
) -> None:
    headers = {"authorization": f"Bearer {issuer.token('ada', role)}"}

    answer = await client.request(method, path, headers=headers, json={"reason": "because"})

    assert answer.status_code == status


async def test_nobody_gets_in_without_a_token(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/deadletters", headers={"authorization": ""})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
