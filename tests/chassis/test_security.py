"""Connections as in production: Kafka with passwords, gRPC with a certificate, PostgreSQL that must be encrypted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from golden.connection import Connection, Endpoints
from golden.embedded.processes import free_port
from goldenpath.registry.v1 import registry_service_pb2 as messages
from goldenpath.registry.v1 import registry_service_pb2_grpc as services
from services.chassis.errors import Unavailable
from services.chassis.grpc_client import Sibling
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role
from services.chassis.kafka import Consumer
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer, eventually
from services.chassis.topics import create_topics
from services.modelserver.kafka_sink import KafkaSink
from tests.chassis.certificates import Certificate, certificate_in, encrypted_door
from tests.chassis.kit import Service, body, event, make_database, running
from tests.chassis.secured import SecuredBroker

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of its own making for 127.0.0.1, and its key."""
    return certificate_in(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[KafkaAccess]:
    """A broker that asks for a password on an encrypted connection, and how the registry gets in."""
    folder = tmp_path_factory.mktemp("secured")
    ports = {name: free_port() for name in ("port", "door", "controller_port")}
    broker = SecuredBroker(folder, {"registry": "right"}, certificate, **ports)
    running = broker.launch()
    try:
        broker.wait(running)
        password = SecretStr("right")
        yield KafkaAccess(broker.secured, "SASL_SSL", user="registry", password=password, ca_path=certificate.chain)
    finally:
        broker.stop(running)


async def test_an_event_goes_from_outbox_to_inbox_with_the_right_password(
    service: Service, registry: KafkaAccess, unique: str
) -> None:
    await create_topics(registry, topics=[service.ours, service.others])
    relay = Relay(service.database, Leases(service.database, duration=timedelta(seconds=5)), kafka=registry)
    consumer = Consumer(unique, [service.others], database=service.database, kafka=registry)
    consumer.on("model.registered", type(body()), service.handle)  # what it tells is on ours, which nobody reads here
    async with service.database.begin() as uow:
        uow.emit(service.others, "model.registered", "model/credit", body("over the hedge"))
    async with running(relay.run, consumer.run):
        await eventually(service.effects, what="the effect")

    assert await service.effects() == ["over the hedge"]


async def test_a_wrong_password_is_said_in_words(service: Service, registry: KafkaAccess, unique: str) -> None:
    wrong = replace(registry, password=SecretStr("wrong"))
    refused = r"doesn't let registry in: .*invalid credentials.* \(check GOLDENPATH_KAFKA_USER"
    with pytest.raises(Unavailable, match=refused):
        await create_topics(wrong, topics=[service.ours])
    with pytest.raises(Unavailable, match=refused):
        await KafkaSink(wrong).send(event("a record"))
    consumer = Consumer(unique, [service.ours], database=service.database, kafka=wrong)
    async with running(consumer.run):
        said = await eventually(lambda: trouble(consumer), what="the trouble")

    assert "doesn't let registry in" in said


async def test_a_broker_whose_certificate_nobody_vouches_for_is_refused_in_words(
    service: Service, registry: KafkaAccess
) -> None:
    with pytest.raises(Unavailable, match=r"doesn't let registry in: .*certificate"):
        await create_topics(replace(registry, ca_path=None), topics=[service.ours])


async def trouble(consumer: Consumer[Any]) -> str:
    with pytest.raises(Unavailable) as unready:
        await consumer.ready()
    return str(unready.value) if "yet" not in str(unready.value) else ""


class Api(services.RegistryServiceServicer):
    """Answers one question."""

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the contract's own name
        return messages.GetModelResponse(model=messages.Model(name=request.model))


@pytest.fixture
async def encrypted(issuer: Issuer, certificate: Certificate) -> AsyncIterator[str]:
    """Where a server that shows the certificate listens."""
    api = Api()  # type: ignore[abstract] # the other methods stay unimplemented, and nobody calls them
    register: Callable[[Any], None] = lambda made: services.add_RegistryServiceServicer_to_server(api, made)  # noqa: E731
    server = GrpcServer(
        "127.0.0.1:0",
        [("goldenpath.registry.v1.RegistryService", register)],
        verifier=issuer.verifier(),
        drain=timedelta(seconds=1),
        certificate=certificate,
    )
    await server.start()
    yield f"127.0.0.1:{server.port}"
    await server.stop()


async def test_siblings_and_the_command_line_ask_over_an_encrypted_connection(
    encrypted: str, issuer: Issuer, certificate: Certificate
) -> None:
    token = issuer.token("ada", Role.SCIENTIST)
    sibling = Sibling("registry", encrypted, token=lambda: token, ca_path=certificate.chain)
    stub: Any = services.RegistryServiceStub(sibling.channel)
    answer = await sibling.ask(stub.GetModel, messages.GetModelRequest(model="credit"))
    await sibling.close()

    assert answer.model.name == "credit"
    platform = Connection(Endpoints(grpc={"registry": encrypted}, ca=certificate.chain), lambda: token)
    assert await in_thread(platform, "fraud") == "fraud"


async def in_thread(platform: Connection, model: str) -> str:
    from asyncio import to_thread

    request = messages.GetModelRequest(model=model)
    return (await to_thread(platform.registry.GetModel, request)).model.name


async def test_a_sibling_that_shows_no_certificate_of_ours_is_unavailable(encrypted: str) -> None:
    sibling = Sibling("registry", encrypted, token=lambda: "")
    stub: Any = services.RegistryServiceStub(sibling.channel)
    with pytest.raises(Unavailable):
        await sibling.ask(stub.GetModel, messages.GetModelRequest())
    await sibling.close()


def test_certificates_that_arent_there_are_said_in_words(tmp_path: Path) -> None:
    sibling = Sibling("registry", "127.0.0.1:1", token=lambda: "", ca_path=tmp_path / "ca.pem")
    with pytest.raises(Unavailable, match=r"can't be read: .*ca\.pem"):
        _ = sibling.channel


async def test_a_database_that_must_be_encrypted_and_isnt_lets_nobody_in(database: Any) -> None:
    made = make_database(f"{database.dsn}?sslmode=verify-full&sslrootcert=/dev/null")
    with pytest.raises(Unavailable, match="the database doesn't let goldenpath/test in"):
        await made.start()


async def test_a_database_is_read_and_written_over_a_connection_that_is_encrypted_and_checked(
    database: Any, certificate: Certificate
) -> None:
    async with encrypted_door(urlsplit(database.dsn).port, certificate) as port:
        made = make_database(through(database.dsn, port, certificate.chain))
        await made.start()
        async with made.read() as connection:
            assert await connection.fetchval("SELECT current_database()") == urlsplit(database.dsn).path[1:]
        await made.stop()


async def test_a_database_whose_certificate_nobody_vouches_for_is_not_spoken_to(
    database: Any, certificate: Certificate, tmp_path: Path
) -> None:
    other = certificate_in(tmp_path)
    async with encrypted_door(urlsplit(database.dsn).port, certificate) as port:
        made = make_database(through(database.dsn, port, other.chain))
        with pytest.raises(Unavailable, match="certificate"):
            await made.start()


def through(dsn: str, port: int, authority: Path) -> str:
    """The DSN of a database behind another port, whose certificate is checked."""
    told = urlsplit(dsn)
    place = told.netloc.replace(str(told.port), str(port))
    return told._replace(netloc=place, query=f"sslmode=verify-full&sslrootcert={authority}").geturl()
