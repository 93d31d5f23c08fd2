"""A database that is busy, locked, hung or silent: whoever asks is told, consumers wait, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from golden.embedded.processes import free_port
from goldenpath.ingest.v1.events_pb2 import ProjectStarted
from services.chassis import database as chassis_database
from services.chassis import operations
from services.chassis.database import UnitOfWork
from services.chassis.database_errors import translated
from services.chassis.errors import Unavailable
from services.chassis.http_server import create_app
from services.chassis.identity import Role
from services.chassis.kafka import Consumer, Received
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer, eventually
from services.chassis.topics import create_topics
from tests.chassis.kit import TYPE, Service, both_partitions, has_effects, make_database, many, own_topics, running
from tests.faults.link import Link

CONNECTIONS = 4
PROBE_S = 4  # what `golden doctor` waits for a service
EVENTS = 20
IN_USE = f"all {CONNECTIONS} connections to the database are in use"


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes half a minute otherwise takes half a second."""
    for name, seconds in {
        "_STATEMENT_TIMEOUT": 0.5,
        "_LOCK_TIMEOUT": 0.25,
        "_IDLE_TIMEOUT": 1,
        "_SILENT": 0.5,
    }.items():
        monkeypatch.setattr(chassis_database, name, timedelta(seconds=seconds))


@pytest.fixture
async def link(database: Any) -> AsyncIterator[Link]:
    """What stands between the service and its database."""
    made = Link(free_port(), int(database.dsn.rpartition(":")[2].partition("/")[0]))
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda link: link.hold(), id="silent"),
        pytest.param(lambda link: link.slow(timedelta(seconds=2)), id="slow"),
    ],
)
async def test_ready_says_that_the_database_doesnt_answer_before_whoever_asks_has_gone(
    link: Link, database: Any, migrations: Path, issuer: Issuer, trouble: Callable[[Link], None]
) -> None:
    service = Service(make_database(through(link, database), migrations=migrations), *own_topics("any"))
    await service.database.start()
    async with asking(service, issuer) as client:
        trouble(link)
        async with asyncio.timeout(PROBE_S):
            ready = await client.get("/readyz")
        link.mend()
    await service.database.stop()

    assert (ready.status_code, list(ready.json())) == (503, ["database"])


def through(link: Link, database: Any) -> str:
    """How the database is reached by way of the link."""
    port = database.dsn.rpartition(":")[2].partition("/")[0]
    return str(database.dsn.replace(f":{port}/", f":{link.port}/"))


@pytest.fixture
async def far(
    _impatient: None, link: Link, database: Any, migrations: Path, kafka: str, unique: str
) -> AsyncIterator[Service]:
    """A service whose database is behind the link, with its topics on a real Kafka."""
    made = Service(
        make_database(through(link, database), migrations=migrations, connections=CONNECTIONS), *own_topics(unique)
    )
    await made.database.start()
    await create_topics(KafkaAccess(kafka), topics=[made.ours, made.others])
    yield made
    link.mend()
    await made.database.stop()


@asynccontextmanager
async def every_connection(service: Service) -> AsyncIterator[None]:
    """Hold all that the pool has."""
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            await eventually(lambda: one_more(service, stack), what="a connection")
        yield


async def one_more(service: Service, stack: AsyncExitStack) -> bool:
    await stack.enter_async_context(service.database.read())
    return True


async def waits_for(consumer: Consumer[Any], why: str) -> bool:
    """Whether partitions wait, and say so."""
    return any(why in one for one in consumer._pauses.reasons)


async def whole(service: Service) -> bool:
    """Whether every event has had its effect, once, in its aggregate's order."""
    if not await has_effects(service, EVENTS):
        return False
    found = await service.effects()
    in_order = [one for rest in (0, 1) for one in found if int(one) % 2 == rest]
    return in_order == [f"{number}" for rest in (0, 1) for number in range(rest, EVENTS, 2)]


async def test_the_limits_are_set_on_every_connection(service: Service) -> None:
    async with service.database.read() as one, service.database.read() as other:
        for connection in (one, other):
            assert await connection.fetchval("SHOW statement_timeout") == "30s"
            assert await connection.fetchval("SHOW lock_timeout") == "10s"
            assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "30s"


async def test_whoever_stops_in_a_transaction_keeps_its_rows_from_others_for_a_while_only(far: Service) -> None:
    async def taken() -> bool:
        async with far.database.begin() as uow:
            await uow.connection.execute("INSERT INTO outbox_sequences VALUES ('any', 1)")
        return True

    async def stopped() -> None:
        async with far.database.begin() as uow:
            await uow.connection.execute("INSERT INTO outbox_sequences VALUES ('any', 1)")
            await eventually(taken, what="the row")

    with pytest.raises(Unavailable):
        await stopped()


def test_a_session_that_the_server_has_just_ended_is_the_databases_trouble() -> None:
    """What the driver says where it has read the server's last words but not yet seen the connection end."""
    with pytest.raises(Unavailable, match="the database doesn't answer"), translated():
        raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")


async def test_whoever_asks_while_every_connection_is_in_use_is_told_so(far: Service, issuer: Issuer) -> None:
    async with asking(far, issuer) as client:
        async with every_connection(far):
            letters, ready = await client.get("/v1/deadletters"), await client.get("/readyz")
        after = await client.get("/v1/deadletters"), await client.get("/readyz")

    assert (letters.status_code, letters.json()["detail"]) == (503, IN_USE)
    assert (ready.status_code, ready.json()) == (503, {"database": IN_USE})
    assert [one.status_code for one in after] == [200, 200]


async def test_whoever_sets_a_deadline_while_every_connection_is_in_use_is_answered_by_then(
    far: Service, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chassis_database, "_LOCK_TIMEOUT", timedelta(minutes=10))
    async with asking(far, issuer) as client, every_connection(far):
        letters = await client.get("/v1/deadletters", headers={"prefer": "wait=1"})

    assert (letters.status_code, letters.json()["detail"]) == (504, "it took longer than 1 s")


@asynccontextmanager
async def asking(service: Service, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    """An operator who asks the service over HTTP."""
    app = create_app("test", verifier=issuer.verifier(), checks={"database": service.database.ready})
    app.include_router(operations.router(service.database, service.consumer("nobody", "")))
    headers = {"authorization": f"Bearer {issuer.token('otto', Role.OPERATOR)}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        yield client


async def test_a_consumer_waits_while_every_connection_is_in_use_and_goes_on(
    far: Service, kafka: str, unique: str
) -> None:
    consumer = far.consumer(unique, kafka)
    async with running(consumer.run) as (consuming,):
        async with every_connection(far):
            await both_partitions(kafka, far.ours, many(EVENTS, models=2))
            await eventually(lambda: waits_for(consumer, IN_USE), what="partitions that wait")
            with pytest.raises(Unavailable, match=IN_USE):
                await consumer.flowing()
        await eventually(lambda: whole(far), what="every effect, once")
        assert not consuming.done()

    assert await far.count("parked") == 0


async def test_a_statement_that_hangs_is_ended_and_its_event_tried_again(far: Service, kafka: str, unique: str) -> None:
    hangs = ["0"]

    async def handle(received: Received[ProjectStarted], uow: UnitOfWork) -> None:
        await far.handle(received, uow)
        await uow.connection.execute("SELECT pg_sleep($1)", 60 * hangs.count(received.body.project))

    consumer = far.consumer(unique, kafka)
    consumer.on(TYPE, ProjectStarted, handle)
    await both_partitions(kafka, far.ours, many(EVENTS, models=2))
    async with running(consumer.run):
        await eventually(lambda: waits_for(consumer, "QueryCanceledError"), what="the partition that waits")
        await eventually(lambda: has_effects(far, EVENTS // 2), what="the other partition's effects")
        hangs.clear()
        await eventually(lambda: whole(far), what="every effect, once")

    assert await far.count("parked") == 0


async def test_a_lock_that_somebody_else_holds_is_waited_for(
    far: Service, database: Any, kafka: str, unique: str
) -> None:
    consumer = far.consumer(unique, kafka)
    somebody = await asyncpg.connect(database.dsn)
    async with running(consumer.run):
        async with somebody.transaction():
            await somebody.execute("LOCK TABLE effects IN ACCESS EXCLUSIVE MODE")
            await both_partitions(kafka, far.ours, many(EVENTS, models=2))
            await eventually(lambda: waits_for(consumer, "LockNotAvailableError"), what="partitions that wait")
        await eventually(lambda: whole(far), what="every effect, once")
    await somebody.close()

    assert await far.count("parked") == 0


async def test_a_database_that_is_gone_without_a_word_is_given_up_and_taken_up_again(
    far: Service, link: Link, kafka: str, unique: str
) -> None:
    far.hold = asyncio.Event()
    consumer = far.consumer(unique, kafka)
    await both_partitions(kafka, far.ours, many(EVENTS, models=2))
    async with running(consumer.run):
        await eventually(lambda: is_not_empty(far.tried), what="an event inside its transaction")
        link.hold()
        far.hold.set()
        await eventually(lambda: waits_for(consumer, "the database doesn't answer"), what="partitions that wait")
        with pytest.raises(Unavailable):
            await far.database.ready()
        link.mend()
        await eventually(lambda: whole(far), what="every effect, once")

    assert await far.count("parked") == 0


async def is_not_empty(found: list[str]) -> bool:
    return bool(found)


async def test_whoever_gives_up_on_a_silent_database_keeps_no_connection(far: Service, link: Link) -> None:
    async def ask() -> None:
        async with far.database.begin() as uow, asyncio.timeout(0.1):
            link.hold()
            await uow.connection.execute("SELECT 1")

    asked = await asyncio.gather(*[ask() for _ in range(CONNECTIONS)], return_exceptions=True)
    link.mend()
    async with every_connection(far):
        pass

    assert {type(one) for one in asked} == {Unavailable}
