"""Rows of feature values that stream in, late, out of order and some of them twice; and what became of them.

A row is a customer's from a minute on, and its value is that minute: so whoever looks at a value knows its moment.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

import asyncpg

from goldenpath.ingest.v1.events_pb2 import FeatureRow, FeaturesComputed
from services.chassis.topics import FEATURES
from tests.faults.bus import Bus
from tests.faults.lives import Told
from tests.faults.patience import persist
from tests.faults.poison import Record
from tests.faults.publishing import event
from tests.faults.world import PUSHER, World

VIEW: Final = "customer_windows"
ONLINE: Final = f"goldenpath_{VIEW}"  # Feast's table of what is served: the project and the view
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
Row = tuple[str, int]
_CUSTOMERS: Final = [f"customer-{number}" for number in range(10)]
_MINUTES: Final = 20  # by so many a row may be late
_ROWS: Final = 5  # of an event
_EVENTS: Final = 4  # written together, the first of them twice
_EVERY: Final = timedelta(seconds=1)
_NOTE: Final = f"""
CREATE TABLE went_back (entity bytea, feature text, stood timestamptz, became timestamptz);
CREATE FUNCTION note_going_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO went_back VALUES (old.entity_key, old.feature_name, old.event_ts, new.event_ts);
    RETURN NULL;
END $$;
CREATE TRIGGER an_older_value AFTER UPDATE ON {ONLINE} FOR EACH ROW
    WHEN (new.event_ts < old.event_ts) EXECUTE FUNCTION note_going_back();
CREATE TRIGGER no_value AFTER DELETE ON {ONLINE} FOR EACH ROW EXECUTE FUNCTION note_going_back();
"""


class Rows:
    """A stream of rows.

    Args:
        world: The platform.
        bus: Its topics.
        told: Where it is noted what was told.
        seed: Of every choice.
    """

    def __init__(self, world: World, bus: Bus, told: Told, *, seed: int) -> None:
        self._world = world
        self._bus = bus
        self._told = told
        self._random = random.Random(f"{seed}/rows")
        self._ended = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Let the database note whatever goes back, and let rows stream in from now on."""
        connection = await asyncpg.connect(self._world.dsn(PUSHER))
        try:
            await connection.execute(_NOTE)
        finally:
            await connection.close()
        self._sending = asyncio.create_task(self._send())

    async def finish(self) -> None:
        """End the stream once Kafka has what was begun."""
        self._ended.set()
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        for rows in self._shuffled():
            if self._ended.is_set():
                return
            self._told.rows_tried |= set(rows)
            events = [_event(rows[first : first + _ROWS]) for first in range(0, len(rows), _ROWS)]
            # The same events again where nobody knows whether they arrived: their ids make that harmless.
            await persist(lambda events=events: self._bus.write([*events, events[0]]))  # type: ignore[misc] # mypy can't infer a lambda with a default
            self._told.rows |= set(rows)
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY.total_seconds()):
                    await self._ended.wait()

    def _shuffled(self) -> Iterator[list[Row]]:
        together = _ROWS * _EVENTS
        for first in count(0, _MINUTES):
            rows = [(name, minute) for name in _CUSTOMERS for minute in range(first, first + _MINUTES)]
            self._random.shuffle(rows)
            yield from (rows[place : place + together] for place in range(0, len(rows), together))


def _event(rows: Sequence[Row]) -> Record:
    body = FeaturesComputed(view=VIEW)
    for name, minute in rows:
        row = FeatureRow(keys={"customer": name}, numbers={"count_7d": minute, "mean_7d": -minute})
        row.event_time.FromDatetime(NOON + timedelta(minutes=minute))
        body.rows.append(row)
    return event(FEATURES.name, "features.computed", f"features/{VIEW}", body, source="stream")
