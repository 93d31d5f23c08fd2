"""What a request leaves behind, and that leaving it never costs the request anything."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from goldenpath.modelserver.v1 import events_pb2
from services.chassis import topics
from services.chassis.errors import Invalid, Unavailable
from services.chassis.testing import ManualClock, eventually
from services.modelserver import kafka_sink
from services.modelserver.batches import Packer
from services.modelserver.records import Buffer, Shipper
from tests.modelserver.conftest import MemorySink, Models, Serve, Served, person, tensor
from tests.modelserver.entries import INPUTS, entry

INFER = "/v2/models/credit/infer"
ROUTED = {
    "x-request-id": "r-1",
    "x-goldenpath-epoch": "7",
    "x-goldenpath-arm": "candidate",
    "x-goldenpath-probability": "0.25",
    "x-unit-id": "customer-9",
}


@pytest.fixture
async def client(mixed: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mixed.http) as client:
        yield client


async def batch_of(served: Served) -> events_pb2.InferenceRecorded:
    async def first() -> list[events_pb2.InferenceRecorded]:
        return served.sink.batches

    batch: events_pb2.InferenceRecorded = (await eventually(first))[0]
    return batch


async def test_a_request_becomes_a_record_with_what_the_router_stamped(
    client: httpx.AsyncClient, mixed: Served
) -> None:
    before = datetime.now(UTC)
    answer = (await client.post(INFER, json=person(), headers=ROUTED)).json()
    batch = await batch_of(mixed)
    assert (batch.model, batch.version, batch.environment) == ("credit", 3, "production")
    assert (batch.epoch, batch.arm, batch.batch, batch.dropped) == (7, events_pb2.ARM_CANDIDATE, 1, 0)
    assert batch.record_ids == uuid.UUID(answer["id"]).bytes
    assert batch.units.dictionary == ["customer-9"]
    assert batch.request_ids.dictionary == ["r-1"]
    assert list(batch.assignment_probabilities) == [0.25]
    assert len(batch.artifact_digest) == 64
    when = datetime.fromtimestamp(batch.event_times_us[0] / 1e6, UTC)
    assert before - timedelta(milliseconds=1) <= when <= datetime.now(UTC)
    assert batch.durations_us[0] > 0


async def test_the_columns_are_the_requests_own(client: httpx.AsyncClient, mixed: Served) -> None:
    answer = (await client.post(INFER, json=person(age=tensor("age", "FP64", None)))).json()
    batch = await batch_of(mixed)
    numbers = {column.name: list(column.numbers) for column in batch.inputs if column.numbers}
    assert math.isnan(numbers.pop("age")[0])
    assert numbers == {"hours": [38.0], "dependants": [2.0], "district": [7.0], "owner": [1.0]}
    occupation = batch.inputs[-1]
    assert (occupation.name, list(occupation.dictionary), list(occupation.codes)) == ("occupation", ["clerk"], [0])
    score, label = batch.outputs
    assert (score.name, list(score.numbers)) == ("score", answer["outputs"][0]["data"])
    assert (label.name, label.dictionary) == ("label", answer["outputs"][1]["data"])


async def test_without_a_router_a_record_is_the_stables_of_epoch_0(client: httpx.AsyncClient, mixed: Served) -> None:
    await client.post(INFER, json=person())
    batch = await batch_of(mixed)
    assert (batch.epoch, batch.arm) == (0, events_pb2.ARM_STABLE)
    assert list(batch.assignment_probabilities) == [1.0]
    assert (list(batch.units.dictionary), list(batch.request_ids.dictionary)) == ([""], [""])


@pytest.mark.parametrize("stamped", ["stable", "candidate", "shadow"])
async def test_where_the_proxy_cannot_stamp_copies_the_settings_say_the_arm(
    serving: Serve, models: Models, stamped: str
) -> None:
    served = await serving(models.mixed, arm="shadow")
    async with httpx.AsyncClient(base_url=served.http) as client:
        await client.post(INFER, json=person(), headers=ROUTED | {"x-goldenpath-arm": "replay"})
        await client.post(INFER, json=person(), headers=ROUTED | {"x-goldenpath-arm": stamped})
    batch = await batch_of(served)
    assert (batch.arm, len(batch.event_times_us)) == (events_pb2.ARM_SHADOW, 1)


async def test_a_replay_leaves_no_record(client: httpx.AsyncClient, mixed: Served) -> None:
    replayed = await client.post(INFER, json=person(), headers=ROUTED | {"x-goldenpath-arm": "replay"})
    assert replayed.status_code == 200
    await client.post(INFER, json=person(), headers=ROUTED)
    await batch_of(mixed)
    await mixed.server.stop()
    assert sum(len(batch.event_times_us) for batch in mixed.sink.batches) == 1


async def test_epochs_and_arms_are_batched_apart(client: httpx.AsyncClient, mixed: Served) -> None:
    for arm, epoch in (("stable", "7"), ("candidate", "7"), ("candidate", "8"), ("holdback", "7")):
        headers = ROUTED | {"x-goldenpath-arm": arm, "x-goldenpath-epoch": epoch}
        await client.post(INFER, json=person(), headers=headers)
    await mixed.server.stop()
    assert {(batch.epoch, batch.arm) for batch in mixed.sink.batches} == {
        (7, events_pb2.ARM_STABLE),
        (7, events_pb2.ARM_CANDIDATE),
        (8, events_pb2.ARM_CANDIDATE),
        (7, events_pb2.ARM_HOLDBACK),
    }
    assert [batch.batch for batch in mixed.sink.batches] == [1, 2, 3, 4]


async def test_the_event_says_what_it_is(client: httpx.AsyncClient, mixed: Served) -> None:
    await client.post(INFER, json=person())
    batch = await batch_of(mixed)
    event = mixed.sink.events[0]
    assert (event.type, event.source, event.subject) == (
        "inference.recorded",
        "goldenpath/modelserver",
        "model/credit",
    )
    assert event.dataschema == topics.RECORDS.types[0].schema
    assert event.id == f"{batch.server}-1"
    assert topics.RECORDS.name == kafka_sink.TOPIC


async def test_a_sampled_request_is_linked_to_its_batch(
    client: httpx.AsyncClient, mixed: Served, spans: list[dict[str, Any]]
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    await client.post(INFER, json=person(), headers=ROUTED | traced)
    await client.post(INFER, json=person(), headers=ROUTED | {"traceparent": traced["traceparent"][:-1] + "0"})
    await mixed.server.stop()
    infer, record = spans
    assert (infer["name"], infer["kind"], infer["trace_id"]) == ("infer credit", "SERVER", trace_id)
    assert infer["attributes"]["goldenpath.arm"] == "candidate"
    assert (record["name"], record["links"]) == ("record credit", [trace_id])


class Shipping:
    """A shipper on a clock of the test's own."""

    def __init__(self, limit: int = 1_000) -> None:
        self.clock = ManualClock()
        self.buffer = Buffer(limit)
        self.sink = MemorySink()
        packer = Packer("credit", 3, "production", "ab" * 32, INPUTS)
        self.shipper = Shipper(
            self.buffer,
            packer,
            self.sink,
            clock=self.clock,
            interval=timedelta(seconds=1),
            drain=timedelta(milliseconds=50),
        )

    async def tick(self, count: int = 1) -> None:
        """Let seconds pass, and everything that waits for them happen."""
        for _ in range(count):
            await self._settle()
            self.clock.advance(timedelta(seconds=1))
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_records_wait_for_company_for_one_interval() -> None:
    shipping = Shipping()
    await shipping.shipper.start()
    shipping.buffer.add(entry(1.0))
    shipping.buffer.add(entry(2.0, 3.0))
    assert shipping.sink.batches == []
    await shipping.tick()
    assert [list(batch.inputs[0].numbers) for batch in shipping.sink.batches] == [[1.0, 2.0, 3.0]]
    await shipping.shipper.stop()


async def test_a_full_buffer_drops_and_counts_and_the_next_batch_tells() -> None:
    shipping = Shipping(limit=3)
    await shipping.shipper.start()
    for kept in (entry(1.0, 2.0), entry(3.0), entry(4.0), entry(5.0, 6.0)):
        shipping.buffer.add(kept)
    await shipping.tick()
    shipping.buffer.add(entry(7.0))
    await shipping.tick()
    told = [(list(batch.inputs[0].numbers), batch.dropped) for batch in shipping.sink.batches]
    assert told == [([1.0, 2.0, 3.0], 3), ([7.0], 0)]
    await shipping.shipper.stop()


async def test_while_the_broker_is_away_the_limit_holds_and_nothing_that_was_kept_is_lost() -> None:
    shipping = Shipping(limit=2)
    shipping.sink.down = Unavailable("no broker")
    await shipping.shipper.start()
    shipping.buffer.add(entry(1.0))
    await shipping.tick(2)
    shipping.buffer.add(entry(2.0))
    shipping.buffer.add(entry(3.0))
    shipping.sink.down = None
    await shipping.tick(8)
    assert [(list(batch.inputs[0].numbers), batch.batch) for batch in shipping.sink.batches] == [([1.0], 1), ([2.0], 2)]
    assert shipping.sink.batches[1].dropped == 1
    assert shipping.buffer.held == 0
    await shipping.shipper.stop()


async def test_a_batch_that_can_never_arrive_is_counted_and_the_next_goes_on() -> None:
    shipping = Shipping()
    shipping.sink.down = Invalid("too large")
    await shipping.shipper.start()
    shipping.buffer.add(entry(1.0, 2.0))
    await shipping.tick()
    shipping.sink.down = None
    shipping.buffer.add(entry(3.0))
    await shipping.tick()
    assert [(batch.batch, batch.dropped) for batch in shipping.sink.batches] == [(2, 2)]
    await shipping.shipper.stop()


async def test_the_end_flushes_what_is_left() -> None:
    shipping = Shipping()
    await shipping.shipper.start()
    await shipping.tick()
    shipping.buffer.add(entry(1.0))
    await shipping.shipper.stop()
    assert len(shipping.sink.batches) == 1
    assert shipping.sink.stopped


async def test_the_end_does_not_wait_for_a_broker_beyond_its_deadline() -> None:
    shipping = Shipping()
    shipping.sink.down = Unavailable("no broker")
    await shipping.shipper.start()
    shipping.buffer.add(entry(1.0, 2.0))
    await shipping.shipper.stop()
    assert shipping.buffer.take_dropped() == 2
    assert shipping.sink.stopped


async def test_without_kafka_every_record_is_dropped_and_counted() -> None:
    buffer = Buffer(0)
    buffer.add(entry(1.0, 2.0))
    assert (buffer.take(), buffer.take_dropped()) == ([], 2)
