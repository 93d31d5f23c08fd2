"""The log on a real PostgreSQL: exactly once, provable, and written by one writer at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer

from goldenpath.registry.v1.events_pb2 import ModelRetired
from services.chassis.clock import SystemClock
from services.chassis.cloudevents import CloudEvent, event_of
from services.chassis.database import Database
from services.chassis.errors import Invalid, NotFound, Unavailable
from services.chassis.leases import Lease, LeaseLost, Leases
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.chassis.topics import REGISTRY, create_topics
from services.governance import jobs, queries
from services.governance.domain import merkle
from services.governance.domain.entries import Entry, entry_of
from services.governance.jobs import LogWriter
from services.governance.store import GovernanceUnitOfWork
from tests.chassis.kit import publish, publish_undecodable

Store = Database[GovernanceUnitOfWork]


def entries(first: int, count: int, *, partition: int = 0) -> list[Entry]:
    return [
        entry_of("registry.events", partition, offset, [("ce_id", f"e{offset}".encode())], b"body")
        for offset in range(first, first + count)
    ]


@pytest.fixture
def writer(store: Store, leases: Leases) -> LogWriter:
    return LogWriter(store, leases, kafka=KafkaAccess("127.0.0.1:1"), clock=SystemClock())


@pytest.fixture
async def lease(leases: Leases) -> Lease:
    held = await leases.acquire("log")
    assert held is not None
    return held


async def size(store: Store) -> int:
    async with store.read() as connection:
        return (await queries.get_head(connection)).size


async def test_an_empty_log_has_a_head(store: Store) -> None:
    async with store.read() as connection:
        head = await queries.get_head(connection)
    assert (head.size, head.root) == (0, merkle.EMPTY_ROOT)


async def test_every_entry_is_provable_against_every_later_head(store: Store, writer: LogWriter, lease: Lease) -> None:
    await writer.append(entries(0, 5), lease)
    async with store.read() as connection:
        before = await queries.get_head(connection)
    await writer.append(entries(5, 8), lease)
    async with store.read() as connection:
        for index in range(13):
            proof = await queries.prove_inclusion(connection, index=index)
            leaf = proof.logged.entry.leaf_hash
            assert leaf == proof.logged.leaf_hash
            assert merkle.is_included(leaf, index, 13, proof.path, proof.head.root)
        grown = await queries.prove_consistency(5, 0, connection)
    assert grown.first == before
    assert merkle.is_consistent(5, 13, grown.path, before.root, grown.second.root)


async def test_an_event_is_found_by_its_id(store: Store, writer: LogWriter, lease: Lease) -> None:
    await writer.append(entries(0, 3), lease)
    async with store.read() as connection:
        assert (await queries.prove_inclusion(connection, event_id="e2")).logged.index == 2


async def test_an_offset_is_never_logged_twice(store: Store, writer: LogWriter, lease: Lease) -> None:
    await writer.append(entries(0, 3), lease)
    with pytest.raises(Unavailable, match="another writer"):
        await writer.append(entries(2, 3), lease)
    assert await size(store) == 3


async def test_a_topic_that_lost_its_beginning_is_logged_from_where_it_starts(
    store: Store, writer: LogWriter, lease: Lease
) -> None:
    await writer.append(entries(100, 2), lease)
    await writer.append(entries(110, 2), lease)
    await writer.append(entries(0, 2, partition=1), lease)
    assert await size(store) == 6


async def test_a_writer_that_lost_its_lease_writes_nothing(store: Store, writer: LogWriter) -> None:
    with pytest.raises(LeaseLost):
        await writer.append(entries(0, 1), Lease("log", token=7))
    assert await size(store) == 0


async def test_two_replicas_never_hold_the_log_at_once(store: Store, lease: Lease) -> None:
    assert lease.token == 1
    assert await Leases(store, duration=timedelta(seconds=30)).acquire("log") is None


async def test_an_event_id_of_any_length_is_logged(store: Store, writer: LogWriter, lease: Lease) -> None:
    long = "x" * 20_000
    await writer.append([entry_of("ingest.events", 0, 0, [("ce_id", long.encode())], b"")], lease)
    async with store.read() as connection:
        assert (await queries.prove_inclusion(connection, event_id=long)).logged.index == 0


async def test_what_the_log_does_not_have_is_not_found(store: Store) -> None:
    async with store.read() as connection:
        with pytest.raises(NotFound, match="no entry 0"):
            await queries.prove_inclusion(connection, index=0)
        with pytest.raises(NotFound, match="no event nope"):
            await queries.prove_inclusion(connection, event_id="nope")


async def test_a_consistency_proof_beyond_the_log_is_invalid(store: Store) -> None:
    async with store.read() as connection:
        with pytest.raises(Invalid, match="the log has 0 entries"):
            await queries.prove_consistency(1, 5, connection)
        with pytest.raises(Invalid, match="first"):
            await queries.prove_consistency(0, 0, connection)


async def test_a_restarted_writer_goes_on_where_the_last_one_stopped(store: Store, kafka: str, unique: str) -> None:
    await create_topics(KafkaAccess(kafka))
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()

    async def logged(event_id: str) -> bool:
        headers = [("ce_id", event_id.encode())]
        await producer.send_and_wait("ingest.events", b"body", key=unique.encode(), headers=headers)
        leases = Leases(store, duration=timedelta(seconds=1))
        writer = LogWriter(store, leases, kafka=KafkaAccess(kafka), clock=SystemClock())
        writing = asyncio.ensure_future(writer.run())
        try:
            return bool(await eventually(lambda: _index_of(store, event_id), what="the entry"))
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    try:
        assert await logged(f"{unique}-1")
        assert await logged(f"{unique}-2")
    finally:
        await producer.stop()
    first, second = await _index_of(store, f"{unique}-1"), await _index_of(store, f"{unique}-2")
    assert first is not None
    assert second is not None
    assert first < second


async def test_an_event_that_cant_be_decoded_has_its_entry_and_the_log_goes_on(
    store: Store, kafka: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = replace(REGISTRY, name=f"{unique}.log", partitions=2)  # other tests read the suite's own topics
    monkeypatch.setattr(jobs, "CONTROL", (topic,))
    monkeypatch.setattr(jobs, "RECORDS", topic)
    await create_topics(KafkaAccess(kafka), topics=[topic])
    await publish(kafka, topic, [_event("before")])
    await publish_undecodable(kafka, topic.name)
    await publish(kafka, topic, [_event("after")])
    await publish(kafka, topic, [_event("beside")], partition=1)
    writer = LogWriter(
        store, Leases(store, duration=timedelta(seconds=1)), kafka=KafkaAccess(kafka), clock=SystemClock()
    )
    writing = asyncio.ensure_future(writer.run())
    try:
        await eventually(lambda: _has_entries(store, 4), what="every entry")
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    async with store.read() as connection:
        rows = await connection.fetch('SELECT * FROM log_entries ORDER BY partition, "offset"')
    assert [(row["partition"], row["offset"], row["event_id"]) for row in rows] == [
        (0, 0, "before"),
        (0, 1, ""),
        (0, 2, "after"),
        (1, 0, "beside"),
    ]


def _event(event_id: str) -> CloudEvent:
    return event_of(
        ModelRetired(),
        type="model.retired",
        source="goldenpath/registry",
        subject="model/credit",
        time=datetime(2026, 3, 1, tzinfo=UTC),
        id=event_id,
    )


async def _has_entries(store: Store, count: int) -> bool:
    return await size(store) >= count


async def _index_of(store: Store, event_id: str) -> int | None:
    async with store.read() as connection:
        rows = await connection.fetch("SELECT index + 1 AS place FROM log_entries WHERE event_id = $1", event_id)
    assert len(rows) <= 1
    return rows[0]["place"] if rows else None
