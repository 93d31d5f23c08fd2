"""The server as a process: what it refuses to start with, how it ends, and that Kafka never holds it up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer

from golden.embedded.kafka import KafkaBroker
from golden.embedded.processes import free_port
from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from services.chassis.cloudevents import body, read
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.chassis.topics import RECORDS, create_topics
from tests.modelserver.conftest import Models, person, put, tensor
from tests.modelserver.processes import server_process

INFER = "/v2/models/credit/infer"


class Reader:
    """Reads one server's batches from Kafka, told apart by the environment's name."""

    def __init__(self, consumer: AIOKafkaConsumer, environment: str) -> None:
        self._consumer = consumer
        self._environment = environment
        self.batches: list[InferenceRecorded] = []

    async def records(self, count: int) -> list[InferenceRecorded]:
        """The batches, once they have so many records in all."""

        async def enough() -> bool:
            await self._poll()
            return sum(len(batch.event_times_us) for batch in self.batches) >= count

        await eventually(enough, within=timedelta(seconds=60), what=f"{count} records")
        return sorted(self.batches, key=lambda batch: batch.batch)

    async def _poll(self) -> None:
        for messages in (await self._consumer.getmany(timeout_ms=100)).values():
            for message in messages:
                assert message.key is None
                batch = body(read(message.headers, message.value), InferenceRecorded)
                self.batches += [batch] if batch.environment == self._environment else []


@asynccontextmanager
async def reader(bootstrap: str, environment: str) -> AsyncIterator[Reader]:
    await create_topics(KafkaAccess(bootstrap))
    consumer = AIOKafkaConsumer(RECORDS.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        yield Reader(consumer, environment)
    finally:
        await consumer.stop()


async def test_records_read_back_from_kafka_are_the_requests_column_for_column(
    models: Models, store: Path, tmp_path: Path, kafka: str, unique: str
) -> None:
    settings = {"artifacts_folder": store, "artifact_digest": put(store, models.mixed)}
    ages = [20.0 + place for place in range(40)]
    answers = []
    async with (
        server_process(tmp_path, **settings, kafka_bootstrap=kafka, environment=unique) as server,
        httpx.AsyncClient(base_url=server.url) as client,
        reader(kafka, unique) as records,
    ):
        await server.ready()
        for place, age in enumerate(ages):
            request = person(
                age=tensor("age", "FP64", age), occupation=tensor("occupation", "BYTES", f"job {place % 3}")
            )
            headers = {"x-request-id": f"r-{place}", "x-goldenpath-epoch": "2", "x-unit-id": f"unit-{place % 5}"}
            answers.append((await client.post(INFER, json=request, headers=headers)).json())
        batches = await records.records(len(ages))
    found = [(batch, place) for batch in batches for place in range(len(batch.event_times_us))]
    assert [batch.batch for batch in batches] == list(range(1, len(batches) + 1))
    assert [batch.inputs[0].numbers[place] for batch, place in found] == ages
    assert [batch.inputs[5].dictionary[batch.inputs[5].codes[place]] for batch, place in found] == [
        f"job {place % 3}" for place in range(len(ages))
    ]
    assert [batch.units.dictionary[batch.units.codes[place]] for batch, place in found] == [
        f"unit-{place % 5}" for place in range(len(ages))
    ]
    assert [batch.outputs[0].numbers[place] for batch, place in found] == [
        answer["outputs"][0]["data"][0] for answer in answers
    ]
    assert [batch.record_ids[16 * place : 16 * place + 16].hex() for batch, place in found] == [
        answer["id"].replace("-", "") for answer in answers
    ]


async def test_sigterm_sends_the_last_records_and_ends_well(
    models: Models, store: Path, tmp_path: Path, kafka: str, unique: str
) -> None:
    settings = {"artifacts_folder": store, "artifact_digest": put(store, models.mixed), "record_flush": "PT10M"}
    async with (
        server_process(tmp_path, **settings, kafka_bootstrap=kafka, environment=unique) as server,
        httpx.AsyncClient(base_url=server.url) as client,
        reader(kafka, unique) as records,
    ):
        await server.ready()
        for _ in range(5):
            assert (await client.post(INFER, json=person())).status_code == 200
        assert await server.stop() == 0
        assert sum(len(batch.event_times_us) for batch in await records.records(5)) == 5


async def test_requests_never_wait_for_a_broker_that_is_not_there_and_it_gets_what_was_kept(
    models: Models, store: Path, tmp_path: Path, unique: str
) -> None:
    broker = KafkaBroker(tmp_path / "kafka", port=free_port(), controller_port=free_port())
    settings = {"artifacts_folder": store, "artifact_digest": put(store, models.mixed), "record_buffer": 15}
    async with (
        server_process(tmp_path, **settings, kafka_bootstrap=broker.bootstrap, environment=unique) as server,
        httpx.AsyncClient(base_url=server.url, timeout=5) as client,
    ):
        await server.ready()
        for _ in range(20):
            assert (await client.post(INFER, json=person())).status_code == 200
        assert "goldenpath_modelserver_dropped_records_total 5.0" in (await client.get("/metrics")).text
        running = broker.start()
        try:
            async with reader(broker.bootstrap, unique) as records:
                batches = await records.records(15)
                assert sum(len(batch.event_times_us) for batch in batches) == 15
                assert (await client.post(INFER, json=person())).status_code == 200
                assert sum(batch.dropped for batch in await records.records(16)) == 5
        finally:
            broker.stop(running)


async def test_a_changed_byte_keeps_the_server_from_starting_and_names_the_file(
    models: Models, store: Path, tmp_path: Path
) -> None:
    digest = put(store, models.mixed)
    file = store / "artifacts" / digest / "files" / "model.skops"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    async with server_process(tmp_path, artifacts_folder=store, artifact_digest=digest) as server:
        assert await server.process.wait() == 1
        assert "model.skops: the file was changed" in server.log.read_text()


async def test_missing_settings_are_named(tmp_path: Path) -> None:
    async with server_process(tmp_path) as server:
        assert await server.process.wait() == 1
        assert "GOLDENPATH_ARTIFACTS_FOLDER: Field required" in server.log.read_text()
