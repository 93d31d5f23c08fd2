from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from golden.embedded.kafka import KafkaBroker
from golden.embedded.processes import free_port
from services.chassis import outbox
from services.chassis.database import UnitOfWork
from services.chassis.errors import Unavailable
from services.chassis.kafka import Consumer
from services.chassis.leases import Leases
from services.chassis.outbox import LANES, Relay, lane_of
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.chassis.topics import create_topics
from tests.chassis.kit import Record, Service, body, collect, headers, make_database, running


def relay(service: Service, bootstrap: str) -> Relay:
    return Relay(
        service.database, Leases(service.database, duration=timedelta(seconds=2)), kafka=KafkaAccess(bootstrap)
    )


async def emit(service: Service, numbers: range, *, models: int = 5) -> None:
    for number in numbers:
        async with service.database.begin(actor="ada") as uow:
            uow.emit(service.ours, "model.registered", f"model/{number % models}", body(f"{number}"))


async def all_sent(service: Service) -> bool:
    return not await service.rows("SELECT 1 FROM outbox WHERE sent_at IS NULL LIMIT 1")


def sequences(records: list[Record]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in records:
        found.setdefault((record.key or b"").decode(), []).append(int(headers(record)["ce_sequence"]))
    return found


async def test_what_is_emitted_arrives_with_its_attributes(on_kafka: Service, kafka: str) -> None:
    await emit(on_kafka, range(1))
    async with running(relay(on_kafka, kafka).run):
        (record,) = await collect(kafka, on_kafka.ours.name, 1)

    found = headers(record)
    assert record.key == b"model/0"
    assert found["ce_type"] == "model.registered"
    assert found["ce_source"] == "goldenpath/test"
    assert (found["ce_subject"], found["ce_sequence"], found["ce_actor"]) == ("model/0", "1", "ada")
    assert found["ce_dataschema"] == "goldenpath.ingest.v1.ProjectStarted"
    assert found["content-type"] == "application/protobuf"


async def test_two_relays_send_everything_once_in_the_order_of_each_key(on_kafka: Service, kafka: str) -> None:
    async with running(relay(on_kafka, kafka).run, relay(on_kafka, kafka).run):
        await asyncio.gather(*(emit(on_kafka, range(start, start + 100)) for start in range(0, 400, 100)))
        await eventually(lambda: all_sent(on_kafka), what="sending everything")
        records = await collect(kafka, on_kafka.ours.name, 400)

    assert sequences(records) == {f"model/{model}": list(range(1, 81)) for model in range(5)}


async def test_a_relay_is_woken_by_its_own_process_and_by_another(
    on_kafka: Service, kafka: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_IDLE", timedelta(hours=1))  # no poll
    sibling = Service(make_database(database.dsn), on_kafka.ours, on_kafka.others)
    await sibling.database.start()
    async with running(relay(on_kafka, kafka).run):
        await emit(on_kafka, range(10))
        await eventually(lambda: all_sent(on_kafka), what="its own process's events")
        async with running(relay(sibling, kafka).run):
            await emit(sibling, range(10, 20))
            await eventually(lambda: all_sent(on_kafka), what="another process's events")
    await sibling.database.stop()


async def test_when_a_relay_stops_the_other_goes_on_at_once(on_kafka: Service, kafka: str) -> None:
    long = timedelta(seconds=60)
    first = Relay(on_kafka.database, Leases(on_kafka.database, duration=long), kafka=KafkaAccess(kafka))
    second = Relay(
        on_kafka.database, Leases(on_kafka.database, duration=timedelta(seconds=1)), kafka=KafkaAccess(kafka)
    )
    async with running(first.run):
        await emit(on_kafka, range(10))
        await eventually(lambda: all_sent(on_kafka), what="the first one's sending")
    await emit(on_kafka, range(10, 20))
    async with running(second.run):
        await eventually(lambda: all_sent(on_kafka), what="the second one's sending")


async def test_a_relay_that_lost_its_lease_marks_nothing(on_kafka: Service, kafka: str) -> None:
    await emit(on_kafka, range(5))
    late = relay(on_kafka, kafka)
    await late._renew()
    async with on_kafka.database.read() as connection:
        await connection.execute("UPDATE leases SET holder = 'another', token = token + 1")
    late._renew_at = float("inf")
    async with running(late.run):
        await collect(kafka, on_kafka.ours.name, 5)
        await eventually(lambda: has_noticed(late), what="that it found its lease lost")

    assert not await all_sent(on_kafka)


async def has_noticed(late: Relay) -> bool:
    return late._renew_at == 0.0


async def test_while_kafka_is_down_nothing_is_lost_and_the_order_stays_and_readiness_says_so(
    service: Service, unique: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"), port=free_port(), controller_port=free_port())
    process = broker.start()
    await create_topics(KafkaAccess(broker.bootstrap), topics=[service.ours, service.others])
    consumer = service.consumer(unique, broker.bootstrap)
    async with running(relay(service, broker.bootstrap).run, consumer.run):
        await emit(service, range(50))
        await eventually(lambda: all_sent(service), what="sending while Kafka is up")
        await eventually(lambda: readiness(consumer, "ok"), what="a consumer that is ready")
        broker.stop(process)
        await emit(service, range(50, 100))
        await eventually(lambda: readiness(consumer, "Kafka doesn't answer"), what="a consumer that isn't ready")
        process = broker.start()
        await eventually(lambda: all_sent(service), within=timedelta(seconds=90), what="sending once Kafka is back")
        await eventually(lambda: readiness(consumer, "ok"), what="a consumer that is ready again")
        records = await collect(broker.bootstrap, service.ours.name, 100)
    broker.stop(process)

    found = sequences(records)
    assert {key: sorted(set(numbers)) for key, numbers in found.items()} == {
        f"model/{model}": list(range(1, 21)) for model in range(5)
    }
    assert all(first_seen(numbers) == sorted(set(numbers)) for numbers in found.values())


async def readiness(consumer: Consumer[UnitOfWork], expected: str) -> bool:
    try:
        await consumer.ready()
    except Unavailable as error:
        return expected in error.what
    return expected == "ok"


def first_seen(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


async def test_a_relay_ends_promptly_while_kafka_is_away(service: Service) -> None:
    await emit(service, range(1))
    async with running(relay(service, "127.0.0.1:1").run) as (relaying,):
        relaying.cancel()
        await asyncio.wait({relaying}, timeout=10)

    assert relaying.done()
    assert not await all_sent(service)


async def test_what_was_sent_long_ago_is_deleted_and_nothing_else(on_kafka: Service, kafka: str) -> None:
    await emit(on_kafka, range(3))
    async with on_kafka.database.read() as connection:
        await connection.execute(
            "UPDATE outbox SET sent_at = now() - interval '2 days' WHERE sequence = 1 AND key = 'model/0'"
        )
    async with running(relay(on_kafka, kafka).run):
        await eventually(lambda: all_sent(on_kafka), what="sending the others")

    assert await on_kafka.count("outbox") == 2


def test_a_key_has_the_same_lane_in_every_release() -> None:
    assert (lane_of(b"model/credit-prescreen"), lane_of(None)) == (lane_of(b"model/credit-prescreen"), 0)
    assert {lane_of(f"model/{number}".encode()) for number in range(500)} == set(range(LANES))
