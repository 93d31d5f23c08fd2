"""A pusher on a real Kafka, a real PostgreSQL and Feast."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from feast import FeatureStore

from golden.embedded.processes import free_port
from goldenpath.ingest.v1.events_pb2 import FeatureRow, FeaturesComputed
from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.runner import Part
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer, emitted, eventually
from services.chassis.topics import DEAD_LETTERS, FEATURES, create_topics
from services.features.reader import Read, Reader, Wanted
from services.features.writer import Writer
from services.pusher.app import parts_of
from services.pusher.settings import PusherSettings
from tests.conftest import Database
from tests.features.repository import REPOSITORY, settings_of


@dataclass
class Stream:
    """A stream of features with a pusher behind it.

    Args:
        producer: Writes the topic.
        reader: Reads what is online.
        feast: Reads what is offline.
        letters: Reads the dead letters.
        world: What the keys of this test begin with: the topic is shared.
    """

    producer: AIOKafkaProducer
    reader: Reader
    feast: FeatureStore
    letters: AIOKafkaConsumer
    world: str

    def row(self, customer: str, moment: datetime, **numbers: float) -> FeatureRow:
        """A row of a customer."""
        made = FeatureRow(keys={"customer": self.world + customer}, numbers=numbers)
        made.event_time.FromDatetime(moment)
        return made

    async def tell(self, *rows: FeatureRow, view: str = "customer_windows", **more: Any) -> CloudEvent:
        """Publish rows."""
        body = FeaturesComputed(view=view, rows=rows)
        event = emitted(body, "features.computed", subject=f"features/{view}", sequence=None, source="flink", **more)
        await self.put(event)
        return event

    async def put(self, event: CloudEvent) -> None:
        """Publish an event, perhaps again."""
        await self.producer.send_and_wait(
            FEATURES.name, event.data, key=event.subject.encode(), headers=headers_of(event)
        )

    async def online(self, customer: str, now: datetime) -> Read:
        """What is served of a customer."""
        return (await asyncio.to_thread(self.reader.read, {"customer": [self.world + customer]}, now))[0]

    async def served(self, customer: str, now: datetime, *values: float | None) -> None:
        """Wait until a customer is served so."""

        async def there() -> bool:
            return [column[0] for column in (await self.online(customer, now)).columns] == list(values)

        await eventually(there, within=timedelta(seconds=30), what=f"{customer} served as {values}")

    async def given_up(self, event: CloudEvent) -> str:
        """Why this pusher gave an event up, as its topic's dead letters say."""
        async for letter in self.letters:
            said = dict(letter.headers)
            if letter.value == event.data and said["dlq_consumer"] == f"{self.world}.pusher".encode():
                return str(said["dlq_what"], "utf-8")
        raise AssertionError("the topic has ended")

    async def offline(self, *asked: tuple[str, datetime]) -> list[tuple[float, float]]:
        """What Feast gives for training, of customers at moments."""
        entities = pd.DataFrame(
            {
                "customer": [self.world + name for name, _ in asked],
                "event_timestamp": [moment for _, moment in asked],
                "place": range(len(asked)),
            }
        )
        wanted = ["customer_windows:count_7d", "customer_windows:mean_7d"]
        found = await asyncio.to_thread(lambda: self.feast.get_historical_features(entities, wanted).to_df())
        in_order = found.sort_values("place")
        return list(zip(in_order["count_7d"].astype(float), in_order["mean_7d"].astype(float), strict=True))


@pytest.fixture
async def stream(kafka: str, database: Database, tmp_path: Path, unique: str) -> AsyncIterator[Stream]:
    (tmp_path / "definitions.py").write_text(REPOSITORY)
    settings = PusherSettings.model_validate(
        {
            "kafka_bootstrap": kafka,
            "database_dsn": database.dsn,
            "features_store": settings_of(database.dsn, tmp_path),
            "features_repo": tmp_path,
            "http_address": f"127.0.0.1:{free_port()}",
            "jwks_path": Issuer(tmp_path).jwks_path,
            "consumer_session_timeout": timedelta(seconds=6),
        }
    )
    await create_topics(KafkaAccess(kafka), topics=(FEATURES,))
    writer = await asyncio.to_thread(Writer, settings.features_store, tmp_path)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    async with AsyncExitStack() as stack:
        for part in parts_of(settings, writer, consumer_name=f"{unique}.pusher"):
            await stack.enter_async_context(_running(part))
        await producer.start()
        stack.push_async_callback(producer.stop)
        reader = Reader(
            settings.features_store, [Wanted("customer_windows", "", ("count_7d", "mean_7d"), ("customer",), None)]
        )
        stack.push_async_callback(reader.close)
        letters = AIOKafkaConsumer(
            FEATURES.name + DEAD_LETTERS,
            bootstrap_servers=kafka,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await letters.start()
        stack.push_async_callback(letters.stop)
        yield Stream(producer, reader, FeatureStore(fs_yaml_file=settings.features_store), letters, unique)


@asynccontextmanager
async def _running(part: Part) -> AsyncIterator[None]:
    await part.start()
    try:
        yield
    finally:
        await part.stop()
