"""Topics are code: made once, on a Kafka that takes them."""

from __future__ import annotations

import asyncio

import pytest

from services.chassis.errors import Unavailable
from services.chassis.settings import KafkaAccess
from services.chassis.topics import create_topics
from tests.chassis.kit import Service, collect, event, publish


async def test_topics_are_made_once_and_the_second_time_changes_nothing(service: Service, kafka: str) -> None:
    await asyncio.gather(*(create_topics(KafkaAccess(kafka), topics=[service.ours, service.others]) for _ in range(3)))
    await create_topics(KafkaAccess(kafka), topics=[service.ours, service.others])

    await publish(kafka, service.ours, [event("a")], partition=1)
    assert len(await collect(kafka, service.ours.name, 1)) == 1


async def test_topics_that_kafka_refuses_are_named(service: Service, kafka: str) -> None:
    with pytest.raises(Unavailable, match=r"ours.* can't be created: InvalidReplicationFactor"):
        await create_topics(KafkaAccess(kafka), topics=[service.ours], replication=3)


async def test_topics_on_a_kafka_that_isnt_there_are_said_in_words(service: Service) -> None:
    with pytest.raises(Unavailable, match=r"Kafka at 127\.0\.0\.1:1 doesn't answer"):
        await create_topics(KafkaAccess("127.0.0.1:1"), topics=[service.ours])
