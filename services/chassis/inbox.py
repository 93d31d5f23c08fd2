"""The inbox: which events a consumer has had, so that each takes effect once.

For our own topics it is one row per (consumer, source, key) with the highest sequence: what isn't above it is a
duplicate, a jump is a counted gap. For others' topics it is the ids that were seen; a sequence that another system
writes into its events counts for nothing, and ids are forgotten when their topic doesn't keep the events any more.
Both are taken in the transaction of the effects, before them: whoever comes second waits for the first one's commit,
so that a consumer that Kafka has already replaced finds its work done.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from services.chassis import instruments
from services.chassis.cloudevents import CloudEvent
from services.chassis.topics import Topic

if TYPE_CHECKING:
    from services.chassis.database import Connection

_Pair = tuple[str, str]


class Inbox:
    """One transaction's view of what a consumer has had.

    Args:
        connection: The transaction's connection.
        consumer: The consumer's name.
    """

    def __init__(self, connection: Connection, *, consumer: str) -> None:
        self._connection = connection
        self._consumer = consumer
        self._highest: dict[_Pair, int] = {}
        self._moved: set[_Pair] = set()
        self._new_ids: set[_Pair] = set()

    async def load(self, events: Iterable[tuple[Topic, CloudEvent]]) -> None:
        """Take what is known about these events, given with their topics, for the rest of the transaction."""
        counted: set[_Pair] = set()
        others: dict[_Pair, str] = {}
        for topic, event in events:
            if _counts(topic, event):
                counted.add(_place(topic, event))
            else:
                others[event.source, event.id] = topic.name
        # Sorted, so that two transactions never wait for each other's rows.
        if counted:
            await self._lock_sequences(sorted(counted))
        if others:
            await self._take_ids(sorted(others.items()))

    async def _lock_sequences(self, places: list[_Pair]) -> None:
        sources, keys = [source for source, _ in places], [key for _, key in places]
        await self._connection.execute(
            """INSERT INTO inbox_sequences
               SELECT $1, source, key, 0 FROM unnest($2::text[], $3::text[]) AS t(source, key)
               ON CONFLICT DO NOTHING""",
            self._consumer,
            sources,
            keys,
        )
        rows = await self._connection.fetch(
            """SELECT source, key, sequence FROM inbox_sequences
               WHERE consumer = $1 AND (source, key) IN (SELECT * FROM unnest($2::text[], $3::text[]))
               ORDER BY source, key FOR UPDATE""",
            self._consumer,
            sources,
            keys,
        )
        self._highest = {(row["source"], row["key"]): row["sequence"] for row in rows}

    async def _take_ids(self, ids: list[tuple[_Pair, str]]) -> None:
        rows = await self._connection.fetch(
            """INSERT INTO inbox_ids (consumer, source, id, topic)
               SELECT $1, source, id, topic FROM unnest($2::text[], $3::text[], $4::text[]) AS t(source, id, topic)
               ON CONFLICT DO NOTHING RETURNING source, id""",
            self._consumer,
            [source for (source, _), _ in ids],
            [id_ for (_, id_), _ in ids],
            [topic for _, topic in ids],
        )
        self._new_ids = {(row["source"], row["id"]) for row in rows}

    def admit(self, topic: Topic, event: CloudEvent) -> bool:
        """True for an event that wasn't had yet; from now on it was."""
        if not _counts(topic, event):
            new = (event.source, event.id) in self._new_ids
            self._new_ids.discard((event.source, event.id))
            return new
        place, sequence = _place(topic, event), event.sequence or 0
        before = self._highest.get(place, 0)
        if sequence <= before:
            return False
        if sequence > before + 1:
            instruments.SEQUENCE_GAPS.labels(self._consumer).inc(sequence - before - 1)
        self._highest[place] = sequence
        self._moved.add(place)
        return True

    async def save(self) -> None:
        """Write how far the sequences moved; part of the transaction."""
        if self._moved:
            await self._connection.execute(
                """UPDATE inbox_sequences AS had SET sequence = now.sequence
                   FROM unnest($2::text[], $3::text[], $4::bigint[]) AS now(source, key, sequence)
                   WHERE had.consumer = $1 AND had.source = now.source AND had.key = now.key""",
                self._consumer,
                [source for source, _ in self._moved],
                [key for _, key in self._moved],
                [self._highest[place] for place in self._moved],
            )

    async def clear(self) -> None:
        """Forget everything that the consumer has had."""
        await self._connection.execute("DELETE FROM inbox_sequences WHERE consumer = $1", self._consumer)
        await self._connection.execute("DELETE FROM inbox_ids WHERE consumer = $1", self._consumer)

    async def purge(self, topic: Topic, before: datetime) -> None:
        """Forget the ids of a topic's events that were seen before a moment."""
        await self._connection.execute(
            "DELETE FROM inbox_ids WHERE consumer = $1 AND topic = $2 AND seen_at < $3",
            self._consumer,
            topic.name,
            before,
        )


def _counts(topic: Topic, event: CloudEvent) -> bool:
    return topic.counted and event.sequence is not None


def _place(topic: Topic, event: CloudEvent) -> _Pair:
    # A service counts per topic and aggregate, so a replayed topic can't move another topic's row.
    return event.source, f"{topic.name}:{event.subject}"
