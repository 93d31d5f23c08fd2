"""The outbox: an event is written in the transaction that it tells of, and a relay sends it after the commit.

Order. `write` takes the aggregate's sequence row and holds it until the commit, so within an aggregate sequence
order is commit order is row order. The relay sends a lane's rows in the order of their ids.

Lanes. There are 16, by hash of the key; a lane has one relay at a time, the holder of its lease. A relay that lost
its lease can at worst send an event twice, and sequences make that harmless: rows are marked sent only after the
broker's acknowledgement, and only under the lease's token.

Waking. After the commit the process's own relay is woken, and it notifies the others where lanes are theirs: were the
transaction itself to notify, it would wait for every other one's commit, since PostgreSQL keeps notifications in order
(measured: 1.5 times as many a second without). A process that dies in between leaves it to the relays' poll.

A failed send throws the producer away: an idempotent producer that gave up on one batch would let the next one of
the same key overtake it.
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from opentelemetry.trace import SpanKind

from services.chassis import instruments, telemetry
from services.chassis.cloudevents import CloudEvent, Headers, headers_of
from services.chassis.errors import GoldenpathError, Invalid, Unavailable
from services.chassis.leases import Lease, Leases, check_all
from services.chassis.notifications import Notifications
from services.chassis.runner import to_the_end
from services.chassis.settings import KafkaAccess
from services.chassis.topics import LARGEST_DEAD_LETTER_BYTES, Topic

if TYPE_CHECKING:
    from services.chassis.database import Connection, Database, Row

LANES: Final = 16
CHANNEL: Final = "outbox"
_BATCH: Final = 500  # rows a round: about what a broker acknowledges in 20 ms
_KEPT: Final = timedelta(days=1)  # sent rows stay this long, for whoever looks into what happened
_IDLE: Final = timedelta(seconds=1)  # a poll, should a notification get lost
_BACK_OFF: Final = timedelta(seconds=1)
_PURGE_EVERY: Final = timedelta(minutes=1)
_TELL_EVERY: Final = timedelta(seconds=5)  # a scrape comes every 15 s
_WAITS: Final = timedelta(seconds=10)  # a lane whose relay was killed stands still for a lease, 5 s
_PURGE_ROWS: Final = 10_000  # at a time, so that a purge never holds the table up
_PRODUCER_STOPS_WITHIN: Final = timedelta(seconds=2)  # with Kafka down it would wait for its requests' end
_LARGEST_EVENT_BYTES: Final = 900_000  # Kafka takes 1 MiB by default; our headers stay far below the rest
_log = structlog.get_logger()

_WRITE: Final = """
    WITH next AS (
        INSERT INTO outbox_sequences (key, sequence) VALUES ($1, 1)
        ON CONFLICT (key) DO UPDATE SET sequence = outbox_sequences.sequence + 1
        RETURNING sequence
    )
    INSERT INTO outbox (lane, topic, key, sequence, header_names, header_values, value, traceparent)
    SELECT $2, $3, $4, sequence, $5, $6, $7, $8 FROM next
"""
# A look into the index for each lane: however much waits, it costs no more.
_OLDEST: Final = """
    SELECT max(now() - head.created_at) FROM generate_series(0, $1 - 1) AS lane(number), LATERAL (
        SELECT created_at FROM outbox WHERE sent_at IS NULL AND lane = lane.number ORDER BY id LIMIT 1
    ) AS head
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
    """Write an event in the present transaction; its sequence is given here.

    Raises:
        Invalid: it is larger than Kafka takes, and would stop its lane.
    """
    if len(event.data) > _LARGEST_EVENT_BYTES:
        raise Invalid(f"{event.type} has {len(event.data)} bytes; an event has at most {_LARGEST_EVENT_BYTES}")
    key = event.subject.encode()
    names, values = split(headers_of(event))
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
    headers: Headers,
    value: bytes | None,
) -> None:
    """Write bytes for a topic as they are, without a sequence: a dead letter."""
    names, values = split(headers)
    await connection.execute(_WRITE_RAW, lane_of(key), topic, key, names, values, value)


def split(headers: Headers) -> tuple[list[str], list[bytes]]:
    """Headers as two columns of a row."""
    # PostgreSQL's text holds no NUL; a name with one can't be kept as it was.
    return [name.replace("\x00", "�") for name, _ in headers], [value for _, value in headers]


class Relay:
    """Sends what the outbox holds, in order, until it is stopped.

    Args:
        database: Whose outbox.
        leases: Where the lanes' leases are.
        kafka: Where Kafka is, and as whom we come.
    """

    def __init__(self, database: Database[Any], leases: Leases, *, kafka: KafkaAccess) -> None:
        self._database = database
        self._leases = leases
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._held: list[Lease] = []
        self._renew_at = 0.0
        self._purge_at = 0.0
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Send for ever; a fault of Kafka or PostgreSQL costs time, never an event."""
        woken = Notifications(self._database, CHANNEL)
        beside = [asyncio.ensure_future(work) for work in (self._tell_age(), self._tell_others())]
        self._database.when_told(woken.wake)
        self._database.when_told(self._news.set)
        try:
            while True:
                try:
                    more = await self._round()
                except (KafkaError, GoldenpathError, OSError) as error:
                    _log.warning("the relay waits", reason=str(error))
                    await self._start_over()
                    continue
                if not more:
                    await woken.wait(at_most=_IDLE)
        finally:
            for task in beside:
                task.cancel()
            await to_the_end(self._close(woken))
            with suppress(GoldenpathError):
                await self._leases.release_all(self._held)

    async def ready(self) -> None:
        """Ask whether what was emitted is sent.

        Raises:
            Unavailable: something has waited for long.
        """
        oldest = await self.oldest()
        if oldest > _WAITS:
            raise Unavailable(f"events wait to be sent to Kafka, the oldest for {oldest.total_seconds():.0f} s")

    async def oldest(self) -> timedelta:
        """How long the oldest event has waited to be sent, for the gauge too; nothing where none waits."""
        async with self._database.read() as connection:
            oldest: timedelta = await connection.fetchval(_OLDEST, LANES) or timedelta()
        instruments.OUTBOX_AGE.set(oldest.total_seconds())
        return oldest

    async def _tell_age(self) -> None:
        while True:
            with suppress(GoldenpathError):  # while the database doesn't answer, the gauge stands still
                await self.oldest()
            await asyncio.sleep(_TELL_EVERY.total_seconds())

    async def _tell_others(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if len(self._held) < LANES:
                with suppress(GoldenpathError):  # they poll, should it get lost
                    async with self._database.read() as connection:
                        await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

    async def _start_over(self) -> None:
        self._renew_at = 0.0
        await to_the_end(self._drop_producer())
        await asyncio.sleep(_BACK_OFF.total_seconds())

    async def _round(self) -> bool:
        """Send one batch of the lanes that are ours; True where there may be more."""
        await self._renew()
        await self._purge()
        rows = await self._unsent([int(lease.name.removeprefix("outbox/")) for lease in self._held])
        if not rows:
            return False
        producer = await self._connected()
        sending = [await self._send(producer, row) for row in rows]
        for acknowledged in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(acknowledged, BaseException):
                raise acknowledged
        await self._mark(rows)
        instruments.OUTBOX_SENT.inc(len(rows))
        return len(rows) == _BATCH

    async def _renew(self) -> None:
        """Take or renew the lanes' leases, well before they run out."""
        now = asyncio.get_running_loop().time()
        if now >= self._renew_at:
            self._held = await self._leases.acquire_all([f"outbox/{lane}" for lane in range(LANES)])
            self._renew_at = now + self._leases.renew_every.total_seconds()

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

    async def _mark(self, rows: list[Row]) -> None:
        lanes = {f"outbox/{row['lane']}" for row in rows}
        async with self._database.begin() as uow:
            await check_all(uow.connection, [lease for lease in self._held if lease.name in lanes])
            await uow.connection.execute(
                "UPDATE outbox SET sent_at = now() WHERE id = ANY($1)", [row["id"] for row in rows]
            )

    async def _purge(self) -> None:
        """Delete what was sent long ago, now and then."""
        now = asyncio.get_running_loop().time()
        if now < self._purge_at:
            return
        self._purge_at = now + _PURGE_EVERY.total_seconds()
        async with self._database.read() as connection:
            await connection.execute(
                """DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE sent_at < now() - $1::interval
                                                   LIMIT $2 FOR UPDATE SKIP LOCKED)""",
                _KEPT,
                _PURGE_ROWS,
            )

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                **self._kafka.client(),
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_request_size=LARGEST_DEAD_LETTER_BYTES,
            )
            await self._producer.start()
        return self._producer

    async def _close(self, woken: Notifications) -> None:
        await woken.close()
        await self._drop_producer()

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(_PRODUCER_STOPS_WITHIN.total_seconds()):
                await producer.stop()
        except (TimeoutError, KafkaError):
            # What it hasn't sent is sent again, by the next one. Its connections end here all the same.
            await producer.client.close()
