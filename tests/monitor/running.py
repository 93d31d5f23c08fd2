"""A whole monitor on real Kafka and PostgreSQL, and all that it talks with; only the registry is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import httpx
import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from google.protobuf.message import Message
from pydantic import SecretStr

from goldenpath.modelserver.v1 import events_pb2 as records_pb
from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from goldenpath.monitor.v1.monitor_service_pb2_grpc import MonitorServiceStub
from goldenpath.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from services.chassis import cloudevents
from services.chassis.cloudevents import headers_of
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import HttpServer
from services.chassis.identity import Role
from services.chassis.runner import Part
from services.chassis.testing import Issuer, emitted, eventually
from services.monitor.app import parts_of
from services.monitor.settings import MonitorSettings
from tests.monitor.made_up import MadeUpRegistry, batch_of, credit

DRAIN = timedelta(seconds=1)


def settings_for(dsn: str, **more: Any) -> MonitorSettings:
    """Settings of a monitor that nobody else talks to."""
    nothing: dict[str, Any] = {
        "kafka_bootstrap": "127.0.0.1:1",
        "grpc_address": "127.0.0.1:0",
        "http_address": "127.0.0.1:0",
    }
    return MonitorSettings(**(nothing | {"database_dsn": SecretStr(dsn), "jwks_path": "none.json"} | more))


@dataclass
class Running:
    """A monitor that runs, and all that it talks with."""

    kafka: str
    topic: str
    name: str
    dsn: str
    registry: MadeUpRegistry
    registry_server: GrpcServer
    producer: AIOKafkaProducer
    issuer: Issuer
    folder: Path
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    parts: list[Part] = field(default_factory=list)
    channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Start a monitor."""
        token = self.folder / "token"
        token.write_text(self.issuer.token("monitor", Role.SERVICE))
        settings = settings_for(
            self.dsn,
            kafka_bootstrap=self.kafka,
            registry_address=f"127.0.0.1:{self.registry_server.port}",
            jwks_path=self.issuer.jwks_path,
            token_path=token,
            drain=DRAIN,
        )
        self.parts = parts_of(settings, consumer_name=self.name, stream_name=f"{self.name}-s", records_topic=self.topic)
        for part in self.parts:
            await part.start()
        server = next(part for part in self.parts if isinstance(part, GrpcServer))
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")

    async def stop(self) -> None:
        """Stop it."""
        if self.channel is not None:
            await self.channel.close()
        for part in reversed(self.parts):
            await part.stop()
        self.parts = []

    @property
    def stub(self) -> Any:
        """The monitor's gRPC."""
        assert self.channel is not None
        return MonitorServiceStub(self.channel)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Who asks."""
        return (("authorization", f"Bearer {self.issuer.token('ada', Role.OPERATOR)}"),)

    def http(self) -> httpx.AsyncClient:
        """The monitor's HTTP."""
        server = next(part for part in self.parts if isinstance(part, HttpServer))
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", headers=dict(self.metadata))

    async def ready(self) -> bool:
        """Whether it says that it is ready."""
        async with self.http() as client:
            return (await client.get("/readyz")).status_code == httpx.codes.OK

    async def ask(self, method: Any, request: Message) -> Any:
        """Ask the monitor; what isn't there yet counts as nothing."""
        try:
            return await method(request, metadata=self.metadata, timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    async def send(
        self, body: Message, type_name: str, *, topic: str = "", partition: int | None = None, **more: Any
    ) -> None:
        """Put an event on a topic."""
        event = emitted(body, type_name, subject="model/credit", sequence=None, **more)
        headers = headers_of(event)
        await self.producer.send_and_wait(topic or self.topic, event.data, headers=headers, partition=partition)

    async def serve(self, rows: int, *, batch: int = 200, **broken: Any) -> list[records_pb.InferenceRecorded]:
        """Model servers tell of predictions; `broken` gives one value for all rows of a column."""
        sent = []
        for _ in range(0, rows, batch):
            filled = {name: np.full(batch, value, dtype=object) for name, value in broken.items()}
            body = batch_of(credit(self.random, batch, **filled), self.random.beta(1, 9, batch))
            await self.send(body, "inference.recorded")
            sent.append(body)
        return sent

    async def report(self, model: str = "credit") -> Any:
        """How the stable version stands; None while nothing was seen."""
        return await self.ask(self.stub.GetReport, pb.GetReportRequest(model=model))

    async def seen(self, rows: int, model: str = "credit") -> Any:
        """Wait until so many records were seen."""

        async def enough() -> Any:
            report = await self.report(model)
            return report if report and report.rows_seen >= rows else None

        return await eventually(enough, what=f"{rows} records seen")

    async def signal(self, level: str = "detected", *, cleared: bool = False) -> Any:
        """Wait for a signal."""

        async def there() -> Any:
            answer = await self.ask(self.stub.ListSignals, pb.ListSignalsRequest(model="credit"))
            found = [one for one in answer.records if one.level == level and one.HasField("cleared_at") == cleared]
            return found[0] if found else None

        return await eventually(there, what=f"a signal, {level}")

    async def emitted(self, type_name: str, signal_id: str) -> bool:
        """Wait for an event about a signal on monitor.events."""
        consumer = AIOKafkaConsumer("monitor.events", bootstrap_servers=self.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async with asyncio.timeout(20):
                async for record in consumer:
                    event = cloudevents.read(list(record.headers), record.value)
                    if event.type == type_name and signal_id.encode() in event.data:
                        return True
        finally:
            await consumer.stop()
        return False


def registry_server(address: str, registry: MadeUpRegistry, issuer: Issuer) -> GrpcServer:
    """A server for a registry that a test made up."""
    service = "goldenpath.registry.v1.RegistryService"
    register = [(service, lambda server: add_RegistryServiceServicer_to_server(registry, server))]
    return GrpcServer(address, register, verifier=issuer.verifier(), drain=DRAIN)


async def make_topic(kafka: str, name: str) -> None:
    """A topic of records, with two partitions, and its dead letters'."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 2, 1), NewTopic(f"{name}.dlq", 1, 1)])
    finally:
        await admin.close()


@asynccontextmanager
async def asyncpg_connection(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def read_all(kafka: str, topic: str, records: int) -> list[Any]:
    """So many events of a topic, from its beginning."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            return [await consumer.getone() for _ in range(records)]
    finally:
        await consumer.stop()
