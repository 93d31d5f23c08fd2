from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel

from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.http_server import HttpServer, create_app, signed_in
from services.chassis.identity import Caller, Role
from services.chassis.testing import Issuer

MIB = 1024 * 1024


class Order(BaseModel):
    amount: int


class Dependencies:
    """What /readyz asks, as a test wants it to answer."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False

    async def check(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def dependencies() -> Dependencies:
    return Dependencies()


@pytest.fixture
def app(issuer: Issuer, dependencies: Dependencies) -> FastAPI:
    made = create_app(
        "test",
        verifier=issuer.verifier(),
        checks={"database": dependencies.check, "kafka": Dependencies().check},
        deadline=timedelta(seconds=3),
    )
    errors = {kind.__name__: kind for kind in (Invalid, Denied, NotFound, Conflict, Unavailable)}

    @made.get("/raise/{name}")
    async def raise_(name: str) -> None:
        raise (
            errors.get(name, KeyError)(f"{name}=hunter2")
            if name not in errors
            else errors[name]("what is wrong", where="there", fix="do this")
        )

    @made.get("/hang")
    async def hang() -> None:
        await dependencies.check()

    @made.get("/me")
    async def me(who: Annotated[Caller, Depends(signed_in)]) -> str:
        return who.subject

    @made.post("/orders")
    async def orders(order: Order) -> int:
        return order.amount

    return made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as made:
        yield made


async def test_a_process_that_runs_is_alive_whatever_its_dependencies_do(
    client: httpx.AsyncClient, dependencies: Dependencies
) -> None:
    dependencies.error = Unavailable("the database doesn't answer")

    assert (await client.get("/livez")).json() == {"status": "ok"}


async def test_ready_names_each_dependency(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"database": "ok", "kafka": "ok"})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(Unavailable("the database doesn't answer"), "the database doesn't answer", id="foreseen"),
        pytest.param(KeyError("hunter2"), "the check failed: KeyError", id="unforeseen"),
    ],
)
async def test_not_ready_says_which_dependency_and_why(
    client: httpx.AsyncClient, dependencies: Dependencies, error: Exception, said: str
) -> None:
    dependencies.error = error
    answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"database": said, "kafka": "ok"})


async def test_a_dependency_that_hangs_isnt_ready(client: httpx.AsyncClient, dependencies: Dependencies) -> None:
    dependencies.hangs = True
    answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()["database"]) == (503, "no answer within 2 s")


async def test_metrics_are_in_prometheus_format(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert "# TYPE goldenpath_outbox_sent_events_total counter" in answer.text


@pytest.mark.parametrize(
    ("name", "status"), [("Invalid", 400), ("Denied", 403), ("NotFound", 404), ("Conflict", 409), ("Unavailable", 503)]
)
async def test_an_error_is_a_problem_document(client: httpx.AsyncClient, name: str, status: int) -> None:
    answer = await client.get(f"/raise/{name}")

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()) == (
        status,
        {
            "type": "about:blank",
            "title": name,
            "status": status,
            "detail": "what is wrong",
            "where": "there",
            "fix": "do this",
        },
    )


async def test_an_unforeseen_error_tells_no_detail(client: httpx.AsyncClient) -> None:
    answer = await client.get("/raise/password")

    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [("GET", "/nowhere", 404, "Not Found"), ("DELETE", "/orders", 405, "Method Not Allowed")],
)
async def test_what_isnt_there_is_a_problem_document_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, title: str
) -> None:
    answer = await client.request(method, path)

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["title"]) == (status, title)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        pytest.param(b'{"amount": "much"}', "body.amount", id="a word for a number"),
        pytest.param(b"{}", "body.amount", id="nothing"),
        pytest.param(b"{", "body.1", id="no JSON"),
        pytest.param(b"[" * 100_000, "", id="nested without end"),
    ],
)
async def test_a_request_of_the_wrong_shape_says_where(client: httpx.AsyncClient, body: bytes, where: str) -> None:
    answer = await client.post("/orders", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json().get("where", "")) == (400, where)


async def parts(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // MIB):
        yield b" " * MIB


@pytest.mark.parametrize("chunked", [pytest.param(False, id="announced"), pytest.param(True, id="in chunks")])
async def test_a_body_without_end_is_refused(client: httpx.AsyncClient, *, chunked: bool) -> None:
    content: Any = parts(17 * MIB) if chunked else b" " * 17 * MIB
    answer = await client.post("/orders", content=content, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["detail"]) == (413, "a body has at most 16777216 bytes")


@pytest.mark.parametrize("chunked", [pytest.param(False, id="announced"), pytest.param(True, id="in chunks")])
async def test_over_a_real_connection_a_body_without_end_is_refused_too_and_the_server_goes_on(
    app: FastAPI, *, chunked: bool
) -> None:
    server = HttpServer(app, "127.0.0.1:0", drain=timedelta(seconds=5))
    await server.start()
    content: Any = parts(64 * MIB) if chunked else b" " * 64 * MIB
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        refused = await client.post("/orders", content=content, headers={"content-type": "application/json"})
        taken = await client.post("/orders", json={"amount": 7})
    await server.stop()

    assert (refused.status_code, refused.json()["detail"]) == (413, "a body has at most 16777216 bytes")
    assert (taken.status_code, taken.json()) == (200, 7)


@pytest.mark.parametrize(
    ("prefer", "said"),
    [
        pytest.param("", "it took longer than 3 s", id="the server's deadline"),
        pytest.param("respond-async, wait=1", "it took longer than 1 s", id="the client's"),
        pytest.param("wait=soon", "it took longer than 3 s", id="no number"),
    ],
)
async def test_a_request_that_takes_too_long_is_ended(
    client: httpx.AsyncClient, dependencies: Dependencies, prefer: str, said: str
) -> None:
    dependencies.hangs = True
    answer = await client.get("/hang", headers={"prefer": prefer})

    assert (answer.status_code, answer.json()["detail"]) == (504, said)


async def test_a_caller_is_known_by_their_token(client: httpx.AsyncClient, issuer: Issuer) -> None:
    token = issuer.token("ada", Role.SCIENTIST)
    answer = await client.get("/me", headers={"authorization": f"Bearer {token}"})

    assert answer.json() == "ada"


async def test_nobody_is_known_without_a_token(client: httpx.AsyncClient) -> None:
    answer = await client.get("/me")

    assert (answer.status_code, answer.json()["title"]) == (401, "Unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_openapi_is_published(client: httpx.AsyncClient) -> None:
    assert "/readyz" in (await client.get("/openapi.json")).json()["paths"]


async def test_a_request_in_flight_finishes_while_the_server_stops(app: FastAPI) -> None:
    held, release = asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        held.set()
        await release.wait()
        return "finished"

    server = HttpServer(app, "127.0.0.1:0", drain=timedelta(seconds=5))
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        asking = asyncio.ensure_future(client.get("/slow"))
        await held.wait()
        stopping = asyncio.ensure_future(server.stop())
        release.set()
        assert (await asking).json() == "finished"
        await stopping
        with pytest.raises(httpx.ConnectError):
            await client.get("/livez")


async def test_an_address_that_is_taken_is_said_in_words(app: FastAPI) -> None:
    first = HttpServer(app, "127.0.0.1:0", drain=timedelta(seconds=1))
    await first.start()

    with pytest.raises(Unavailable, match="it is taken"):
        await HttpServer(app, f"127.0.0.1:{first.port}", drain=timedelta(seconds=1)).start()

    await first.stop()


def test_every_kind_of_error_has_a_status() -> None:
    from services.chassis import grpc_errors, http_server

    assert set(GoldenpathError.__subclasses__()) <= set(http_server.STATUS)
    assert set(GoldenpathError.__subclasses__()) <= set(grpc_errors.STATUS)
