"""The outbox: an event is written in the transaction that it tells of, and a relay sends it after the commit.

Order. `write` takes the aggregate's sequence row and holds it until the commit, so within an aggregate sequence
order is commit order is row order. The relay sends a lane's rows in the order of their ids.

Lanes. There are 16, by hash of the key; a lane has one relay at a time, the holder of its lease. A relay that lost
its lease can at worst send an event twice, and sequences make that harmless: rows are marked sent only after the
broker's acknowledgement, and only under the lease's token.

A failed send throws the producer away: an idempotent producer that gave up on one batch would let the next one of
the same key overtake it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from opentelemetry.trace import SpanKind

from services.chassis import instruments, telemetry
from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.errors import GoldenpathError
from services.chassis.leases import Lease, Leases
from services.chassis.topics import Topic

if TYPE_CHECKING:
    from services.chassis.database import Connection, Database, Row

LANES: Final = 16
CHANNEL: Final = "outbox"
_BATCH: Final = 500  # rows a round: about what a broker acknowledges in 20 ms
_KEPT: Final = timedelta(days=1)  # sent rows stay this long, for whoever looks into what happened
_IDLE: Final = timedelta(seconds=1)  # a poll, should a notification get lost
_BACK_OFF: Final = timedelta(seconds=1)
_log = structlog.get_logger()

_WRITE: Final = """
    WITH next AS (
        INSERT INTO outbox_sequences (key, sequence) VALUES ($1, 1)
        ON CONFLICT (key) DO UPDATE SET sequence = outbox_sequences.sequence + 1
        RETURNING sequence
    ), told AS (
        INSERT INTO outbox (lane, topic, key, sequence, header_names, header_values, value, traceparent)
        SELECT $2, $3, $4, sequence, $5, $6, $7, $8 FROM next
    )
    SELECT pg_notify('outbox', '')
"""
_WRITE_RAW: Final = """
    WITH told AS (
        INSERT INTO outbox (lane, topic, key, header_names, header_values, value) VALUES ($1, $2, $3, $4, $5, $6)
    )
    SELECT pg_notify('outbox', '')
"""


def lane_of(key: bytes | None) -> int:
    """The lane of a key, 0 to 15: the same in every release."""
    return zlib.crc32(key or b"") % LANES


async def write(connection: Connection, topic: Topic, event: CloudEvent) -> None:
    """Write an event in the present transaction; its sequence is given here."""
    key = event.subject.encode()
    names, values = _split(headers_of(event))
    await connection.execute(
        _WRITE,
        f"{topic.name}:{event.subject}",
        lane_of(key),
        topic.name,
        key,
        names,
        values,
        event.data,
        event.traceparent,
    )


async def write_raw(
    connection: Connection,
    topic: str,
    key: bytes | None,
    headers: Sequence[tuple[str, bytes]],
    value: bytes | None,
) -> None:
    """Write bytes for a topic as they are, without a sequence: a dead letter."""
    names, values = _split(headers)
    await connection.execute(_WRITE_RAW, lane_of(key), topic, key, names, values, value)


def _split(headers: Sequence[tuple[str, bytes]]) -> tuple[list[str], list[bytes]]:
    # PostgreSQL's text holds no NUL; a name with one can't be kept as it was.
    return [name.replace("\x00", "�") for name, _ in headers], [value for _, value in headers]


@dataclass(frozen=True)
class _Sent:
    """Rows of one lane that the broker has acknowledged."""

    lease: Lease
    ids: list[int]


class Relay:
    """Sends what the outbox holds, in order, until it is stopped.

    Args:
        database: Whose outbox.
        leases: Where the lanes' leases are.
        bootstrap: Kafka's bootstrap servers.
    """

    def __init__(self, database: Database[Any], leases: Leases, *, bootstrap: str) -> None:
        self._database = database
        self._leases = leases
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Send for ever; a fault of Kafka or PostgreSQL costs time, never an event."""
        from services.chassis.database import Notifications

        woken = Notifications(self._database, CHANNEL)
        try:
            while True:
                try:
                    more = await self._round()
                except (KafkaError, GoldenpathError, OSError) as error:
                    _log.warning("the relay waits", reason=str(error))
                    await self._drop_producer()
                    await asyncio.sleep(_BACK_OFF.total_seconds())
                    continue
                if not more:
                    await woken.wait(at_most=_IDLE)
        finally:
            await woken.close()
            await self._drop_producer()

    async def _round(self) -> bool:
        """Send one batch of every lane that is ours; True where there may be more."""
        held = await self._leases.acquire_all([f"outbox/{lane}" for lane in range(LANES)])
        lanes = {int(lease.name.removeprefix("outbox/")): lease for lease in held}
        rows = await self._unsent(list(lanes))
        if not rows:
            return False
        producer = await self._connected()
        sending = [(row, await self._send(producer, row)) for row in rows]
        await producer.flush()
        for _, acknowledged in sending:
            await acknowledged
        by_lane = [_Sent(lease, [row["id"] for row in rows if row["lane"] == lane]) for lane, lease in lanes.items()]
        await self._mark([sent for sent in by_lane if sent.ids])
        instruments.OUTBOX_SENT.inc(len(rows))
        return len(rows) == _BATCH

    async def _unsent(self, lanes: list[int]) -> list[Row]:
        async with self._database.read() as connection:
            return await connection.fetch(
                "SELECT * FROM outbox WHERE sent_at IS NULL AND lane = ANY($1::smallint[]) ORDER BY id LIMIT $2",
                lanes,
                _BATCH,
            )

    async def _send(self, producer: AIOKafkaProducer, row: Row) -> asyncio.Future[Any]:
        headers = list(zip(row["header_names"], row["header_values"], strict=True))
        if row["sequence"] is not None:
            headers.append(("ce_sequence", str(row["sequence"]).encode()))
        with telemetry.span(f"publish {row['topic']}", kind=SpanKind.PRODUCER, parent=row["traceparent"]):
            hop = telemetry.current_traceparent()
        if row["traceparent"] and hop:
            headers.append(("traceparent", hop.encode()))
        sent: asyncio.Future[Any] = await producer.send(row["topic"], row["value"], key=row["key"], headers=headers)
        return sent

    async def _mark(self, batches: list[_Sent]) -> None:
        async with self._database.begin() as uow:
            for sent in batches:
                await sent.lease.check(uow.connection)
                await uow.connection.execute("UPDATE outbox SET sent_at = now() WHERE id = ANY($1)", sent.ids)
            await uow.connection.execute("DELETE FROM outbox WHERE sent_at < now() - $1::interval", _KEPT)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True, linger_ms=0
            )
            await producer.start()
            self._producer = producer
        return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
