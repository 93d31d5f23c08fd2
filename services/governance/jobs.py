"""What governance does by itself, each under a lease: looking at versions again, and writing the log.

Looking again is level-triggered: a version whose dataset changed, or that the policies of now haven't judged, is
looked at until it has been; one that can't be looked at now doesn't hold up the others.

The log takes every event as its bytes stand on the topic, before any deduplication: a repeated event has two entries
and a forged one has its own. The writer reads without a consumer group; where it goes on stands in the database,
committed with the entries, so that each offset is logged exactly once. What aiokafka can't decode has an entry too,
for its place and without its bytes.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from services.chassis import instruments, telemetry
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import GoldenpathError
from services.chassis.leases import Lease, Leases
from services.chassis.notifications import Notifications
from services.chassis.polling import poll
from services.chassis.runner import to_the_end
from services.chassis.settings import KafkaAccess
from services.chassis.topics import CONTROL, RECORDS
from services.governance import handlers
from services.governance.case_store import LOOK_AGAIN, Cases, Stale
from services.governance.clients import FactSource
from services.governance.domain.entries import Entry, entry_of
from services.governance.store import GovernanceUnitOfWork

_STALE_BATCH: Final = 50
_POLL: Final = timedelta(milliseconds=200)
_LOG_BATCH: Final = 500  # entries a transaction: as many as the chassis takes in one
_log = structlog.get_logger()


class LookAgain:
    """Judges again what has to be judged again.

    Args:
        database: Governance's database.
        leases: Governance's leases.
        registry: Whoever knows the facts.
        every: How long a version waits at the longest, should a notification get lost.
    """

    def __init__(
        self, database: Database[GovernanceUnitOfWork], leases: Leases, registry: FactSource, *, every: timedelta
    ) -> None:
        self._database = database
        self._leases = leases
        self._registry = registry
        self._every = every

    async def run(self) -> None:
        """Look for ever."""
        await self._leases.run("look-again", self._work)

    async def _work(self, lease: Lease) -> None:
        woken = Notifications(self._database, LOOK_AGAIN)
        try:
            while True:
                if not await self.look(lease):
                    await woken.wait(at_most=self._every)
        finally:
            await woken.close()

    async def look(self, lease: Lease) -> int:
        """Look once at every stale version; how many could be looked at."""
        looked, after = 0, ("", 0)
        while stale := await self._stale(after):
            looked += sum([await self._try(version, lease) for version in stale])
            after = (stale[-1].model, stale[-1].version)
        return looked

    async def _stale(self, after: tuple[str, int]) -> list[Stale]:
        async with self._database.read() as connection:
            return await Cases(connection).stale(after=after, limit=_STALE_BATCH)

    async def _try(self, stale: Stale, lease: Lease) -> bool:
        with telemetry.span(f"look again {stale.model}", parent=stale.traceparent):
            try:
                async with self._database.begin() as uow:
                    await handlers.look_at_version(stale.model, stale.version, uow, self._registry)
                    await lease.check(uow.connection)
            except GoldenpathError as error:
                _log.warning("can't look again", model=stale.model, version=stale.version, reason=str(error))
                return False
        return True


class LogWriter:
    """Writes the log.

    Args:
        database: Governance's database.
        leases: Governance's leases.
        kafka: Where Kafka is, and as whom we come.
        clock: Where an entry's moment comes from.
    """

    def __init__(
        self, database: Database[GovernanceUnitOfWork], leases: Leases, *, kafka: KafkaAccess, clock: Clock
    ) -> None:
        self._database = database
        self._leases = leases
        self._kafka = kafka
        self._clock = clock

    async def run(self) -> None:
        """Write for ever; a fault of Kafka or PostgreSQL costs time, never an entry."""
        await self._leases.run("log", self._write)

    async def _write(self, lease: Lease) -> None:
        consumer = AIOKafkaConsumer(
            *[topic.name for topic in (*CONTROL, RECORDS)],
            **self._kafka.client(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            await self._take_places(consumer)
            while True:
                go_back = partial(self._take_places, consumer)
                polled = await poll(consumer, patience=_POLL, most=_LOG_BATCH, go_back=go_back)
                entries = [_entry(record) for records in polled.values() for record in records]
                if entries:
                    await self.append(entries, lease)
        finally:
            await to_the_end(consumer.stop())

    async def append(self, entries: list[Entry], lease: Lease) -> None:
        """Append entries in one transaction, under the lease."""
        async with self._database.begin() as uow:
            size = await uow.log.append(entries, at=self._clock.now())
            await lease.check(uow.connection)
        instruments.GOVERNANCE_LOG_ENTRIES.set(size)

    async def _take_places(self, consumer: AIOKafkaConsumer) -> None:
        async with self._database.begin() as uow:
            places = await uow.log.places()
        for partition in consumer.assignment():
            next_ = places.get((partition.topic, partition.partition))
            if next_ is None:
                await consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, next_)


def _entry(record: ConsumerRecord[bytes, bytes]) -> Entry:
    return entry_of(record.topic, record.partition, record.offset, record.headers, record.value)
