"""One record among many, on a real Kafka, by its id alone."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from google.protobuf.message import Message

from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.cloudevents import headers_of
from services.chassis.errors import Invalid, NotFound, Unavailable
from services.chassis.settings import KafkaAccess
from services.chassis.testing import emitted
from services.monitor import queries
from services.monitor.finding import Finder
from tests.monitor.made_up import batch_of, column_of, credit

DAY_MS = 86_400_000


def id_of(made_ms: int, number: int = 0) -> uuid.UUID:
    """A UUIDv7 of a millisecond."""
    return uuid.UUID(int=made_ms << 80 | 7 << 76 | 2 << 62 | number)


@dataclass
class Topic:
    """A topic of two partitions, and who writes on it."""

    name: str
    producer: AIOKafkaProducer
    finder: Finder

    async def put(self, body: Message, type_name: str, *, at_ms: int, partition: int = 0) -> int:
        event = emitted(body, type_name, subject="model/credit", sequence=None)
        sent = await self.producer.send_and_wait(
            self.name, event.data, headers=headers_of(event), partition=partition, timestamp_ms=at_ms
        )
        return int(sent.offset)


@pytest.fixture
async def topic(kafka: str, unique: str) -> AsyncIterator[Topic]:
    name = f"{unique}.records"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, 2, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    yield Topic(name, producer, Finder(KafkaAccess(kafka), name))
    await producer.stop()


def batch(ids: list[uuid.UUID], **more: Any) -> pb.InferenceRecorded:
    columns = credit(np.random.default_rng(3), len(ids))
    told = {"record_ids": b"".join(one.bytes for one in ids), "artifact_digest": "ab" * 32}
    return batch_of(columns, np.linspace(0, 1, len(ids)), **told | more)


async def test_a_record_is_found_among_a_week_of_others(topic: Topic) -> None:
    now = int(time.time() * 1000)
    moments = [now - 7 * DAY_MS + place * DAY_MS for place in range(7)]
    for place, at in enumerate(moments):
        await topic.put(
            batch([id_of(at, number) for number in range(5)]), "inference.recorded", at_ms=at, partition=place % 2
        )
    wanted = id_of(moments[3], 2)
    found = await topic.finder.find(wanted)
    assert found.record.record_ids == wanted.bytes
    assert [column.numbers[0] for column in found.record.outputs if column.name == "score"] == [0.5]
    assert found.record.artifact_digest == "ab" * 32
    assert (found.raw.partition, found.raw.offset) == (1, 1)


async def test_one_record_of_a_batch_has_its_own_unit_keys_and_features(topic: Topic) -> None:
    now = int(time.time() * 1000)
    ids = [id_of(now, number) for number in range(3)]
    read = pb.FeaturesRead(view="spending", event_times_us=[1, 2, 3], codes=[0, 1, 0], outcomes=["found", "stale"])
    body = batch(
        ids,
        units=column_of("unit", np.array(["ann", "bob", "cho"], dtype=object)),
        keys=[column_of("customer", np.array([7, 8, 9]))],
        features=[read],
        assignment_probabilities=[0.5, 0.25, 1.0],
    )
    await topic.put(body, "inference.recorded", at_ms=now)
    one = (await topic.finder.find(ids[1])).record
    assert [one.units.dictionary[code] for code in one.units.codes] == ["bob"]
    assert list(one.keys[0].numbers) == [8]
    assert list(one.assignment_probabilities) == [0.25]
    assert one.features == [pb.FeaturesRead(view="spending", event_times_us=[2], codes=[0], outcomes=["stale"])]


async def test_a_single_event_of_another_server_is_found_by_whatever_id_it_has(topic: Topic) -> None:
    at, wanted = int(time.time() * 1000), uuid.uuid4()
    told = ingest_pb.PredictionRecorded(model="credit", version=4, record_id=str(wanted), score=0.25)
    await topic.put(batch([id_of(at)]), "inference.recorded", at_ms=at)
    await topic.put(told, "prediction.recorded", at_ms=at)
    found = await topic.finder.find(wanted)
    assert (found.record.model, found.record.version, found.record.record_ids) == ("credit", 4, wanted.bytes)


async def test_a_record_that_is_not_there_is_not_found(topic: Topic) -> None:
    at = int(time.time() * 1000)
    await topic.put(batch([id_of(at)]), "inference.recorded", at_ms=at)
    with pytest.raises(NotFound, match="no record"):
        await topic.finder.find(id_of(at, 9))
    with pytest.raises(NotFound, match="no record"):
        await topic.finder.find(uuid.uuid4())


async def test_what_can_not_be_read_hides_nothing_behind_it(topic: Topic) -> None:
    at = int(time.time() * 1000)
    wanted = id_of(at)
    await topic.producer.send_and_wait(topic.name, b"\xff" + wanted.bytes, partition=0, timestamp_ms=at)
    await topic.put(batch([wanted]), "inference.recorded", at_ms=at)
    assert (await topic.finder.find(wanted)).raw.offset == 1


async def test_without_kafka_it_says_so() -> None:
    with pytest.raises(Unavailable, match="Kafka"):
        await Finder(KafkaAccess("127.0.0.1:1"), "records").find(uuid.uuid4())


def test_what_is_no_id_is_refused() -> None:
    with pytest.raises(Invalid, match="no record's id"):
        queries.record_id("the one of yesterday")
