"""What /readyz says when something that a service needs is really down, and what it says when it only does less."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from golden.embedded.kafka import KafkaBroker
from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import free_port
from services.chassis import instruments, rebuilding
from services.chassis.breaker import Breaker
from services.chassis.errors import Invalid, NotFound, Unavailable
from services.chassis.grpc_client import Sibling, readiness_of
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import create_app
from services.chassis.kafka import Consumer
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer, eventually
from services.chassis.topics import create_topics
from tests.chassis.kit import Service, body, event, make_database, publish, running

WELL = {"database": "ok", "kafka": "ok", "outbox": "ok", "events": "ok", "registry": "ok"}


@dataclass
class Whole:
    """A service whose parts are all real: what it says of them, and the parts."""

    service: Service
    consumer: Consumer[Any]
    relay: Relay
    sibling: Sibling
    registry: GrpcServer
    client: httpx.AsyncClient

    async def says(self) -> tuple[int, dict[str, str]]:
        """The status, and each dependency that isn't ok."""
        answer = await self.client.get("/readyz")
        return answer.status_code, {name: text for name, text in answer.json().items() if text != "ok"}

    async def until(self, condition: Callable[[int, dict[str, str]], bool]) -> tuple[int, dict[str, str]]:
        """What it says, once that is so."""

        async def so() -> Any:
            status, wrong = await self.says()
            return (status, wrong) if condition(status, wrong) else None

        found: tuple[int, dict[str, str]] = await eventually(so, within=timedelta(seconds=60), what="what it says")
        return found


@asynccontextmanager
async def whole_of(service: Service, kafka: str, unique: str, issuer: Issuer) -> AsyncIterator[Whole]:
    """A service that runs."""
    access = KafkaAccess(kafka)
    await create_topics(access, topics=[service.ours, service.others])
    consumer = service.consumer(unique, kafka, forget=nothing)
    relay = Relay(service.database, Leases(service.database, duration=timedelta(seconds=5)), kafka=access)
    registry = GrpcServer("127.0.0.1:0", [], verifier=issuer.verifier(), drain=timedelta(seconds=1))
    await registry.start()
    sibling = Sibling("registry", f"127.0.0.1:{registry.port}", token=lambda: "")
    app = create_app(
        "test",
        verifier=issuer.verifier(),
        checks={"database": service.database.ready, "kafka": consumer.ready},
        lesser={"outbox": relay.ready, "events": consumer.flowing, **readiness_of([sibling])},
    )
    async with AsyncExitStack() as stack:
        transport = httpx.ASGITransport(app)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://test"))
        await stack.enter_async_context(running(consumer.run, relay.run))
        stack.push_async_callback(sibling.close)
        stack.push_async_callback(registry.stop)
        made = Whole(service, consumer, relay, sibling, registry, client)
        await made.until(lambda status, wrong: status == 200 and not wrong)
        yield made


async def nothing(_: Any) -> None: ...


@pytest.fixture
async def whole(service: Service, kafka: str, unique: str, issuer: Issuer) -> AsyncIterator[Whole]:
    async with whole_of(service, kafka, unique, issuer) as made:
        yield made


async def test_a_service_whose_dependencies_are_there_names_each(whole: Whole) -> None:
    answer = await whole.client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, WELL)


async def test_a_sibling_that_is_down_is_said_and_the_service_goes_on(whole: Whole) -> None:
    await whole.registry.stop()
    status, wrong = await whole.until(lambda _, wrong: bool(wrong))

    assert status == 200
    assert wrong["registry"].startswith("degraded: ")


async def test_a_sibling_that_was_down_for_long_is_left_alone_said_and_asked_again_once_it_is_back(
    whole: Whole, issuer: Issuer
) -> None:
    port = whole.registry.port
    await whole.registry.stop()
    for _ in range(5):
        with pytest.raises(Unavailable):
            await ask(whole.sibling)
    with pytest.raises(Unavailable, match="the registry hasn't answered 5 times in a row"):
        await ask(whole.sibling)
    status, wrong = await whole.until(lambda _, wrong: bool(wrong))
    successor = GrpcServer(f"127.0.0.1:{port}", [], verifier=issuer.verifier(), drain=timedelta(seconds=1))
    await successor.start()
    await eventually(lambda: ask(whole.sibling), what="an answer")
    after = await whole.until(lambda _, wrong: not wrong)
    await successor.stop()

    assert (status, list(wrong), after) == (200, ["registry"], (200, {}))


async def ask(sibling: Sibling) -> bool:
    """Ask a method that every server has."""
    stub: Any = health_pb2_grpc.HealthStub(sibling.channel)
    await sibling.ask(stub.Check, health_pb2.HealthCheckRequest(), within=timedelta(seconds=1))
    return True


async def test_a_stopped_consumer_isnt_ready(whole: Whole, kafka: str) -> None:
    for number in range(30):
        whole.service.trouble[f"{number}"] = Invalid("nothing can be read")
    await publish(kafka, whole.service.others, [event(f"{number}", subject=f"model/{number}") for number in range(30)])
    status, wrong = await whole.until(lambda _, wrong: "kafka" in wrong)

    assert status == 503
    assert "stopped itself: 20 of the last" in wrong["kafka"]


async def test_a_partition_that_waits_says_for_what(whole: Whole, kafka: str) -> None:
    whole.service.trouble["credit"] = Unavailable("the registry doesn't answer")
    await publish(kafka, whole.service.others, [event("credit")])
    status, wrong = await whole.until(lambda _, wrong: bool(wrong))
    whole.service.trouble.clear()
    await whole.until(lambda _, wrong: not wrong)

    assert (status, wrong) == (200, {"events": "degraded: 1 partitions wait: the registry doesn't answer"})


async def test_a_rebuild_says_how_far_it_has_come(whole: Whole, unique: str) -> None:
    place = (whole.service.ours.name, 0)

    async def ends() -> rebuilding.Ends:
        return {place: (0, 5)}  # more than there is, so that it has no end

    async with whole.service.database.begin() as uow:
        await rebuilding.Rebuilding(unique, forget=nothing).begin(uow, ends, reason="to see")

    status, wrong = await whole.says()
    assert (status, wrong) == (200, {"events": "degraded: the read model is being rebuilt: 0 of 5 events"})


async def test_events_that_arent_sent_are_said(service: Service) -> None:
    relay = Relay(service.database, Leases(service.database, duration=timedelta(seconds=5)), kafka=KafkaAccess(""))
    async with service.database.begin() as uow:
        uow.emit(service.ours, "model.registered", "model/credit", body())
    await relay.ready()
    async with service.database.begin() as uow:
        await uow.connection.execute("UPDATE outbox SET created_at = now() - interval '1 minute'")

    with pytest.raises(Unavailable, match="the oldest for 60 s"):
        await relay.ready()
    assert 60 <= instruments.OUTBOX_AGE._value.get() < 120


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[KafkaBroker, Any]]:
    made = KafkaBroker(tmp_path / "kafka", port=free_port(), controller_port=free_port())
    process = made.start()
    yield made, process
    made.stop(process)


@pytest.mark.servers
async def test_a_kafka_that_goes_down_makes_it_unready(
    service: Service, broker: tuple[KafkaBroker, Any], unique: str, issuer: Issuer
) -> None:
    made, process = broker
    async with whole_of(service, made.bootstrap, unique, issuer) as whole:
        process.stop(timedelta(seconds=30))
        status, wrong = await whole.until(lambda _, wrong: "kafka" in wrong)

    assert status == 503
    assert set(wrong) <= {"kafka", "events", "outbox"}


@pytest.mark.servers
async def test_a_database_that_goes_down_makes_it_unready(
    kafka: str, unique: str, issuer: Issuer, migrations: Path, service: Service
) -> None:
    with tempfile.TemporaryDirectory(prefix="goldenpath-postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder) / "own", port=None, fsync=False)
        server.start()
        server.create_database("own", "own", "own")
        service.database = make_database(server.dsn("own", "own", "own"), migrations=migrations)
        await service.database.start()
        async with whole_of(service, kafka, unique, issuer) as whole:
            await asyncio.to_thread(server.stop)  # so that Kafka's client goes on meanwhile
            status, wrong = await whole.until(lambda _, wrong: "database" in wrong)
        await service.database.stop()

    assert status == 503
    assert "kafka" not in wrong


async def test_whoever_hasnt_answered_for_long_is_left_alone_and_asked_again_later() -> None:
    breaker = Breaker("registry")
    for _ in range(5):
        breaker.check()
        breaker.failed(Unavailable("no answer within 5 s"))
    with pytest.raises(Unavailable, match="the registry hasn't answered 5 times in a row: no answer within 5 s"):
        breaker.check()
    await eventually(lambda: lets_through(breaker), what="the next question")
    breaker.failed(Unavailable("still not"))
    with pytest.raises(Unavailable, match="6 times in a row: still not"):
        breaker.check()
    breaker.answered()

    breaker.check()


async def lets_through(breaker: Breaker) -> bool:
    breaker.check()
    return True


async def test_a_sibling_that_says_no_has_answered() -> None:
    sibling = Sibling("registry", "127.0.0.1:1", token=lambda: "")

    async def says_no(*_: Any, **__: Any) -> None:
        raise NotFound("there is no such version")

    for _ in range(10):
        with pytest.raises(NotFound):
            await sibling.ask(says_no, None)


async def test_a_sibling_that_doesnt_answer_isnt_asked_every_time() -> None:
    sibling = Sibling("registry", "127.0.0.1:1", token=lambda: "")
    asked = 0

    async def hangs(*_: Any, **__: Any) -> None:
        nonlocal asked
        asked += 1
        raise Unavailable("no answer")

    for _ in range(10):
        with pytest.raises(Unavailable):
            await sibling.ask(hangs, None)

    assert asked == 5
