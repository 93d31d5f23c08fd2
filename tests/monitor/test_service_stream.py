"""How a whole monitor reads its stream: down and up again, without the registry, with what can't be read, in two."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as records_pb
from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from services.chassis import instruments, parking
from services.chassis.database import Database
from services.chassis.testing import eventually
from services.profile import profile_of
from tests.chassis.kit import publish_undecodable
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.running import Running, asyncpg_connection, read_all, registry_server

NEVER = Timestamp(seconds=2**60)


async def test_records_that_came_while_the_monitor_was_down_are_seen_once_each(monitor: Running) -> None:
    await monitor.serve(1_000)
    await monitor.seen(400)
    await monitor.stop()
    await monitor.serve(1_000)
    await monitor.start()
    assert (await monitor.seen(2_000)).rows_seen == 2_000


async def test_the_registry_is_asked_once_per_version_and_not_again_after_a_restart(monitor: Running) -> None:
    await monitor.serve(400)
    await monitor.seen(400)
    await monitor.stop()
    await monitor.start()
    await monitor.serve(400)
    await monitor.seen(800)
    assert monitor.registry.asked == 1


async def test_what_cannot_be_read_becomes_a_dead_letter_and_the_rest_goes_on(monitor: Running) -> None:
    await monitor.producer.send_and_wait(monitor.topic, b"no event at all")
    await monitor.send(records_pb.InferenceRecorded(model="credit"), "inference.recorded")
    misfit = batch_of({"age": np.zeros(5)}, np.zeros(5))
    await monitor.send(misfit, "inference.recorded")
    await monitor.serve(200)
    await monitor.seen(200)
    dead = await read_all(monitor.kafka, f"{monitor.topic}.dlq", 3)
    assert all(any(name == "dlq_what" for name, _ in record.headers) for record in dead)
    waiting = instruments.DEAD_LETTERS.labels(f"{monitor.name}-s")
    await eventually(lambda: is_three(waiting._value.get()), what="the gauge")


async def is_three(value: float) -> bool:
    return value == 3


async def test_a_batch_that_cant_even_be_decoded_is_a_dead_letter_and_the_rest_goes_on(monitor: Running) -> None:
    await monitor.serve(200)
    await publish_undecodable(monitor.kafka, monitor.topic, partition=0)
    await publish_undecodable(monitor.kafka, monitor.topic, partition=1)
    await monitor.serve(200)
    await monitor.seen(400)
    dead = await read_all(monitor.kafka, f"{monitor.topic}.dlq", 2)
    assert {dict(record.headers)["dlq_partition"] for record in dead} == {b"0", b"1"}


async def test_a_dead_letter_that_an_operator_replays_is_taken_in(monitor: Running) -> None:
    monitor.registry.profiles["credit", 1] = profile_of({"age": np.arange(9.0), "height": np.arange(9.0)}).to_bytes()
    await monitor.serve(200)
    database = next(part for part in monitor.parts if isinstance(part, Database))

    async def letters() -> Any:
        async with database.read() as connection:
            return await parking.list_dead(connection, after=0, limit=10)

    letter = (await eventually(letters, what="a dead letter"))[0]
    await monitor.stop()
    async with asyncpg_connection(monitor.dsn) as connection:
        await connection.execute("UPDATE version_references SET profile = $1", profile().to_bytes())
        await parking.replay(connection, letter["id"], actor="ada", reason="the profile was wrong")
    await monitor.start()
    assert (await monitor.seen(200)).rows_seen == 200


async def test_records_wait_while_the_registry_is_down(monitor: Running) -> None:
    address = f"127.0.0.1:{monitor.registry_server.port}"
    await monitor.registry_server.stop()
    await monitor.serve(400)
    monitor.registry_server = registry_server(address, monitor.registry, monitor.issuer)
    await monitor.registry_server.start()
    report = await monitor.seen(400)
    await monitor.registry_server.stop()
    assert report.rows_seen == 400
    assert report.features


async def test_a_partition_that_waits_for_the_registry_holds_no_other(monitor: Running) -> None:
    await monitor.serve(200)
    await monitor.seen(200)
    await monitor.stop()
    await monitor.registry_server.stop()
    waiting = batch_of(credit(monitor.random, 50), np.full(50, 0.5), model="unheard-of")
    await monitor.send(waiting, "inference.recorded", partition=0)
    known = [batch_of(credit(monitor.random, 50), np.full(50, 0.5)) for _ in range(2)]
    await monitor.send(known[0], "inference.recorded", partition=1)
    await monitor.start()

    async def waits() -> bool:
        return not await monitor.ready()

    await monitor.seen(250)
    await eventually(waits, what="a reader that says that it waits")
    await monitor.send(known[1], "inference.recorded", partition=1)
    assert (await monitor.seen(300)).rows_seen == 300
    assert await waits()


async def test_a_version_that_the_registry_does_not_know_is_seen_and_not_judged(monitor: Running) -> None:
    body = batch_of(credit(monitor.random, 50), np.full(50, 0.5), model="unheard-of")
    await monitor.send(body, "inference.recorded")

    async def told() -> Any:
        return await monitor.ask(monitor.stub.GetReport, pb.GetReportRequest(model="unheard-of"))

    assert "no reference profile" in (await eventually(told)).sentence


async def test_two_replicas_count_every_record_once(monitor: Running) -> None:
    second = Running(
        monitor.kafka,
        monitor.topic,
        monitor.name,
        monitor.dsn,
        monitor.registry,
        monitor.registry_server,
        monitor.producer,
        monitor.issuer,
        monitor.folder,
    )
    await monitor.serve(1_000, batch=50)
    await second.start()
    await eventually(second.ready, what="a second replica")
    await monitor.serve(1_000, batch=50)
    await second.stop()
    await monitor.serve(1_000, batch=50)
    assert (await monitor.seen(3_000)).rows_seen == 3_000


async def test_what_no_table_can_hold_dies_and_the_rest_goes_on(monitor: Running) -> None:
    endless = monitor.random.bytes(9_000).hex()
    hostile: list[dict[str, Any]] = [
        {"model": "cre\0dit"},
        {"model": endless},
        {"environment": "prod\0uction"},
        {"environment": endless},
        {"server": "ser\0ver"},
        {"server": endless},
        {"version": 2**32 - 1},
        {"epoch": 2**64 - 1},
        {"batch": 2**64 - 1},
    ]
    await monitor.serve(200)
    for more in hostile:
        body = batch_of(credit(monitor.random, 10), np.full(10, 0.5), **more)
        await monitor.send(body, "inference.recorded", partition=0)
    single = {"model": "credit", "version": 1}
    for more in ({"model": "cre\0dit"}, {"version": 2**32 - 1}, {"epoch": 2**64 - 1}, {"event_time": NEVER}):
        told: dict[str, Any] = single | more
        await monitor.send(ingest_pb.PredictionRecorded(**told), "prediction.recorded", partition=1)
    await monitor.serve(200)
    assert (await monitor.seen(400)).rows_seen == 400
    assert len(await read_all(monitor.kafka, f"{monitor.topic}.dlq", len(hostile) + 4)) == len(hostile) + 4


BROKEN = records_pb.InferenceRecorded(model="credit")


async def test_whatever_others_write_never_stops_the_stream(monitor: Running) -> None:
    for _ in range(30):
        await monitor.send(BROKEN, "inference.recorded", source="somebody/new", partition=0)
    await monitor.serve(200)
    await monitor.seen(200)
    for _ in range(30):
        await monitor.send(BROKEN, "inference.recorded", partition=0)  # of a source that was read, as its type was
    await monitor.serve(200)
    assert (await monitor.seen(400)).rows_seen == 400
    assert await eventually(monitor.ready)


async def test_a_release_that_cant_read_whom_the_one_before_could_stops_itself(monitor: Running) -> None:
    await monitor.serve(200)
    await monitor.seen(200)
    await monitor.stop()
    for _ in range(30):
        await monitor.send(BROKEN, "inference.recorded", partition=0)
    await monitor.start()

    async def stopped() -> Any:
        async with monitor.http() as client:
            word = (await client.get("/readyz")).json()["records"]
        return "became dead letters" in word and word

    assert f"events on {monitor.topic}" in await eventually(stopped, what="a stream that stopped itself")
