"""Records on their way to Kafka: nothing that a request does here can wait.

    request → Buffer.add       appends one tuple, or counts its rows as dropped when the buffer is full
    every flush interval       Shipper takes all that is there, and `batches` closes one batch per epoch and arm
    each batch → Sink.send     until it is acknowledged, however long the broker is away, while the buffer fills

The buffer's limit counts what is being sent, too, so memory is bounded whatever the broker does. A batch has its number
before it is sent for the first time, and keeps it when it is sent again: whoever reads a number twice has read a
repeat. What was dropped is told by the next batch.

At the end, `stop` closes and sends what is left, within a deadline; what isn't acknowledged by then is counted.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from typing import Protocol

import structlog
from opentelemetry.trace import SpanKind

from services.chassis import telemetry
from services.chassis.clock import Clock
from services.chassis.cloudevents import CloudEvent
from services.chassis.errors import Invalid, Unavailable
from services.modelserver import instruments
from services.modelserver.batches import Batch, Packer
from services.modelserver.columns import Entry

_FIRST_PAUSE = timedelta(milliseconds=100)
_LONGEST_PAUSE = timedelta(seconds=5)  # a broker that comes back is noticed within this
_log = structlog.get_logger()


class Sink(Protocol):
    """Where batches go."""

    async def send(self, event: CloudEvent) -> None:
        """Deliver a batch, and return once it is safe.

        Raises:
            Unavailable: it may not have arrived; send it again.
            Invalid: it can never arrive.
        """
        ...

    async def stop(self) -> None:
        """Let go of what it holds; never waits for long."""
        ...


class Buffer:
    """Records that wait, at most `limit` of them; with a limit of 0, every record is dropped and counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: list[Entry] = []
        self._dropped = 0
        self.held = 0

    def add(self, entry: Entry) -> None:
        """Keep a request's records, all of them or none."""
        rows = len(entry.ids)
        if self.held + rows > self._limit:
            self.drop(rows)
            return
        self.held += rows
        self._entries.append(entry)

    def drop(self, rows: int) -> None:
        """Count records that won't arrive."""
        self._dropped += rows
        instruments.RECORDS_DROPPED.inc(rows)

    def take(self) -> list[Entry]:
        """Everything that waits; it counts against the limit until it is released."""
        taken, self._entries = self._entries, []
        return taken

    def take_dropped(self) -> int:
        """How many were dropped since the last time that somebody asked."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def release(self, rows: int) -> None:
        """Make room again, after records arrived or were lost."""
        self.held -= rows


class Shipper:
    """Sends what the buffer holds, in the background.

    Args:
        buffer: What requests fill.
        packer: Closes batches.
        sink: Where they go.
        clock: Paces it.
        interval: How long a record may wait for company.
        drain: How long `stop` may take.
    """

    def __init__(
        self, buffer: Buffer, packer: Packer, sink: Sink, *, clock: Clock, interval: timedelta, drain: timedelta
    ) -> None:
        self._buffer = buffer
        self._packer = packer
        self._sink = sink
        self._clock = clock
        self._interval = interval
        self._drain = drain
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; the broker need not be there yet."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Send what is left, within the deadline; then count what isn't acknowledged."""
        self._stopping.set()
        try:
            async with asyncio.timeout(self._drain.total_seconds()):
                if self._task is not None:
                    await self._task
        except TimeoutError:
            _log.warning("records were lost at the end", records=self._buffer.held)
            self._buffer.drop(self._buffer.held)
        await self._sink.stop()

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            await self._pause()
            stopping = self._stopping.is_set()
            await self._ship()

    async def _pause(self) -> None:
        waits = {
            asyncio.ensure_future(self._clock.sleep(self._interval)),
            asyncio.ensure_future(self._stopping.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _ship(self) -> None:
        entries, now, buffer = self._buffer.take(), self._clock.now(), self._buffer
        for batch in self._packer.close(entries, now=now, dropped=buffer.take_dropped, lost=self._lose):
            await self._deliver(batch)

    async def _deliver(self, batch: Batch) -> None:
        name = f"record {self._packer.model}"
        with telemetry.span(name, kind=SpanKind.PRODUCER, links=batch.traces) if batch.traces else nullcontext():
            event = self._packer.event_of(batch, telemetry.current_traceparent())
            await self._send(event, batch.size)
        self._buffer.release(batch.size)

    def _lose(self, rows: int) -> None:
        _log.error("a record is larger than Kafka takes", records=rows)
        self._buffer.drop(rows)
        self._buffer.release(rows)

    async def _send(self, event: CloudEvent, size: int) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._sink.send(event)
            except Unavailable as error:
                _log.warning("records wait for the broker", reason=str(error), records=self._buffer.held)
            except Invalid as error:
                _log.error("a batch can't be sent", reason=str(error), records=size)
                self._buffer.drop(size)
                return
            else:
                instruments.RECORDS_SENT.inc(size)
                instruments.BATCHES_SENT.inc()
                return
            await self._clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
