"""The inbox: which events a consumer has had, so that each takes effect once.

For our own topics it is one row per (consumer, source, key) with the highest sequence: what isn't above it is a
duplicate, a jump is a counted gap. For others' topics it is the ids that were seen. Both are written in the
transaction of the effects, and read under a lock, so that a consumer that Kafka has already replaced finds its work
done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from services.chassis import instruments
from services.chassis.cloudevents import CloudEvent

if TYPE_CHECKING:
    from services.chassis.database import Connection


class Inbox:
    """One transaction's view of what a consumer has had.

    Args:
        connection: The transaction's connection.
        consumer: The consumer's name.
        counted: True for topics whose events carry sequences.
    """

    def __init__(self, connection: Connection, *, consumer: str) -> None:
        self._connection = connection
        self._consumer = consumer
        self._highest: dict[tuple[str, str], int] = {}
        self._seen: set[tuple[str, str]] = set()
        self._new_ids: list[tuple[str, str]] = []
        self._moved: set[tuple[str, str]] = set()

    async def load(self, events: Iterable[tuple[str, CloudEvent]]) -> None:
        """Read and lock what is known about these events, given with their topics."""
        counted = sorted({_place(topic, event) for topic, event in events if event.sequence is not None})
        others = sorted({(event.source, event.id) for _, event in events if event.sequence is None})
        if counted:
            await self._lock_sequences(counted)
        if others:
            rows = await self._connection.fetch(
                """SELECT source, id FROM inbox_ids
                   WHERE consumer = $1 AND (source, id) IN (SELECT * FROM unnest($2::text[], $3::text[]))""",
                self._consumer,
                [source for source, _ in others],
                [id_ for _, id_ in others],
            )
            self._seen = {(row["source"], row["id"]) for row in rows}

    async def _lock_sequences(self, places: list[tuple[str, str]]) -> None:
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

    def admit(self, topic: str, event: CloudEvent) -> bool:
        """True for an event that wasn't had yet; from now on it was."""
        if event.sequence is None:
            return self._admit_id((event.source, event.id))
        place = _place(topic, event)
        before = self._highest.get(place, 0)
        if event.sequence <= before:
            return False
        if event.sequence > before + 1:
            instruments.SEQUENCE_GAPS.labels(self._consumer).inc(event.sequence - before - 1)
        self._highest[place] = event.sequence
        self._moved.add(place)
        return True

    def _admit_id(self, identity: tuple[str, str]) -> bool:
        if identity in self._seen:
            return False
        self._seen.add(identity)
        self._new_ids.append(identity)
        return True

    async def save(self) -> None:
        """Write what was admitted; part of the transaction."""
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
        if self._new_ids:
            await self._connection.execute(
                "INSERT INTO inbox_ids SELECT $1, * FROM unnest($2::text[], $3::text[]) ON CONFLICT DO NOTHING",
                self._consumer,
                [source for source, _ in self._new_ids],
                [id_ for _, id_ in self._new_ids],
            )


def _place(topic: str, event: CloudEvent) -> tuple[str, str]:
    # A service counts per topic and aggregate, so a replayed topic can't move another topic's row.
    return event.source, f"{topic}:{event.subject}"
