"""The embedded broker is a real one: it keeps what it acknowledged, and makes no topic by itself."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from golden.embedded.kafka import KafkaBroker
from golden.embedded.processes import Running, free_port
from services.chassis.errors import Conflict

pytestmark = pytest.mark.servers

_MESSAGES = [f"message {number}".encode() for number in range(1_000)]


async def test_topics_are_not_made_by_asking_for_them(kafka: str, unique: str) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    assert consumer.partitions_for_topic(unique) is None
    assert unique not in await consumer.topics()
    await consumer.stop()


async def test_what_was_acknowledged_survives_kill_9_and_a_move_to_other_ports(tmp_path: Path) -> None:
    broker, running = _start(tmp_path)
    await _publish(broker.bootstrap)
    running.send(signal.SIGKILL)
    running.finish(timedelta(seconds=10))
    assert not broker.ready()

    again, running = _start(tmp_path)
    try:
        assert again.bootstrap != broker.bootstrap
        assert await _read(again.bootstrap) == _MESSAGES
    finally:
        again.stop(running)
    assert not running.alive()


def test_a_broker_does_not_start_where_somebody_else_listens(kafka: str, tmp_path: Path) -> None:
    port = int(kafka.rpartition(":")[2])
    with pytest.raises(Conflict, match=f"Kafka needs port {port}, and another program listens there"):
        KafkaBroker(tmp_path, port=port, controller_port=free_port()).start()


def _start(folder: Path) -> tuple[KafkaBroker, Running]:
    broker = KafkaBroker(folder, port=free_port(), controller_port=free_port())
    return broker, broker.start()


async def _publish(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    for sent in [await producer.send("kept", message) for message in _MESSAGES]:
        await sent
    await producer.stop()


async def _read(bootstrap: str) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    partition = TopicPartition("kept", 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    found: list[bytes | None] = []
    while len(found) < len(_MESSAGES):
        polled = await consumer.getmany(timeout_ms=1_000)
        found += [record.value for records in polled.values() for record in records]
    await consumer.stop()
    return found
