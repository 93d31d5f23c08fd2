"""The log's tables: entries, the tree's complete subtrees, the head, and how far each partition was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.chassis.database import Connection, Row
from services.chassis.errors import Unavailable
from services.governance.domain import merkle
from services.governance.domain.entries import Entry
from services.governance.domain.merkle import Frontier, Node, Span


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry that is in the log."""

    index: int
    entry: Entry
    leaf_hash: bytes
    appended_at: datetime


class Log:
    """The append-only log, inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def size(self) -> int:
        """How many entries it has."""
        return int(await self._connection.fetchval("SELECT size FROM log_head"))

    async def nodes(self, spans: Iterable[Span]) -> Mapping[Node, bytes]:
        """The stored hashes that these spans are folded from."""
        wanted = [node for span in spans for node in merkle.nodes_of(span)]
        rows = await self._connection.fetch(
            "SELECT * FROM log_nodes WHERE (level, index) IN (SELECT * FROM unnest($1::smallint[], $2::bigint[]))",
            [node.level for node in wanted],
            [node.index for node in wanted],
        )
        return {Node(row["level"], row["index"]): row["hash"] for row in rows}

    async def frontier(self, size: int) -> Frontier:
        """The log at a size, up to the present one."""
        return merkle.frontier_of(size, await self.nodes([Span(0, size)]))

    async def entry(self, index: int) -> Logged | None:
        """An entry by its index."""
        return _logged(await self._connection.fetchrow("SELECT * FROM log_entries WHERE index = $1", index))

    async def entry_of_event(self, event_id: str) -> Logged | None:
        """The first entry of an event; a repeated event has several."""
        return _logged(
            await self._connection.fetchrow(
                "SELECT * FROM log_entries WHERE event_id = $1 ORDER BY index LIMIT 1", event_id
            )
        )

    async def entry_at(self, topic: str, partition: int, offset: int) -> Logged | None:
        """The entry of what stood at a place."""
        return _logged(
            await self._connection.fetchrow(
                'SELECT * FROM log_entries WHERE topic = $1 AND partition = $2 AND "offset" = $3',
                topic,
                partition,
                offset,
            )
        )

    async def places(self) -> dict[tuple[str, int], int]:
        """The next offset to read, by topic and partition."""
        rows = await self._connection.fetch("SELECT * FROM log_places")
        return {(row["topic"], row["partition"]): row["next"] for row in rows}

    async def append(self, entries: Sequence[Entry], *, at: datetime) -> int:
        """Append entries, and move the places behind them; the log's size after it.

        Raises:
            Unavailable: another writer was here first; nothing of this may stay.
        """
        size = int(await self._connection.fetchval("SELECT size FROM log_head FOR UPDATE"))
        frontier, made = await self.frontier(size), dict[Node, bytes]()
        for entry in entries:
            frontier, nodes = frontier.append(entry.leaf_hash)
            made |= nodes
        await self._move_places(entries)
        await self._write_entries(entries, first=size, at=at)
        await self._write_nodes(made)
        await self._connection.execute("UPDATE log_head SET size = $1", frontier.size)
        return frontier.size

    async def _move_places(self, entries: Sequence[Entry]) -> None:
        first: dict[tuple[str, int], int] = {}
        last: dict[tuple[str, int], int] = {}
        for entry in entries:
            place = entry.topic, entry.partition
            first.setdefault(place, entry.offset)
            last[place] = entry.offset
        for (topic, partition), offset in first.items():
            moved = await self._connection.execute(
                """INSERT INTO log_places AS had (topic, partition, next) VALUES ($1, $2, $4)
                   ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next WHERE had.next <= $3""",
                topic,
                partition,
                offset,
                last[topic, partition] + 1,
            )
            if moved != "INSERT 0 1":
                raise Unavailable(f"another writer has logged {topic}/{partition} beyond {offset} already")

    async def _write_entries(self, entries: Sequence[Entry], *, first: int, at: datetime) -> None:
        await self._connection.executemany(
            """INSERT INTO log_entries (index, topic, partition, "offset", event_id, event_type, subject,
                                        content_hash, leaf_hash, appended_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)""",
            [
                (
                    first + place,
                    entry.topic,
                    entry.partition,
                    entry.offset,
                    entry.event_id,
                    entry.event_type,
                    entry.subject,
                    entry.content_hash,
                    entry.leaf_hash,
                    at,
                )
                for place, entry in enumerate(entries)
            ],
        )

    async def _write_nodes(self, made: Mapping[Node, bytes]) -> None:
        await self._connection.execute(
            "INSERT INTO log_nodes SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])",
            [node.level for node in made],
            [node.index for node in made],
            list(made.values()),
        )


def _logged(row: Row | None) -> Logged | None:
    if row is None:
        return None
    entry = Entry(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        subject=row["subject"],
        content_hash=row["content_hash"],
    )
    return Logged(row["index"], entry, row["leaf_hash"], row["appended_at"])
