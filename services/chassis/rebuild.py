"""Rebuilding: a service's copies of others' facts are emptied, and made again from the topics that are kept forever.

The order is one transaction. It empties the tables, and turns each inbox row of their topics back to 0, with how far
it had been in `told`: up to there an event takes effect again, but what its handler emits was told long ago and isn't
told twice. Beyond it events are news, and are told. So nothing needs a moment at which the rebuild is over, and a
restart in the middle goes on.

Who reads a partition goes back to its beginning; until it has, none of its events is taken (`check`), else a newer
one would make the inbox take the older ones for duplicates. A batch holds its partition's row shared, and the order
takes it for itself: a batch that runs ends first.

While events of these topics are parked or dead, the order is refused: their effects are still to come. What an
operator once dropped dies again, and has to be dropped again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.chassis.database import UnitOfWork
from services.chassis.errors import Conflict, Unavailable
from services.chassis.topics import Topic

if TYPE_CHECKING:
    from services.chassis.database import Connection

Place = tuple[str, int]


@dataclass(frozen=True)
class Copies:
    """What a service can rebuild.

    Args:
        consumer: The name of the consumer that makes the copies.
        topics: What they are made from: topics whose owner counts their events, kept forever, on which this
            consumer's handlers change nothing but these tables.
        tables: The tables that are made from these topics alone.
    """

    consumer: str
    topics: tuple[Topic, ...]
    tables: tuple[str, ...]


async def order(copies: Copies, reason: str, uow: UnitOfWork) -> None:
    """Empty the copies and have them made again.

    Raises:
        Conflict: events wait whose effects are still to come.
    """
    names = [topic.name for topic in copies.topics]
    await _turn_back(copies, uow.connection)
    waiting = await uow.connection.fetchval(
        "SELECT count(*) FROM parked WHERE consumer = $1 AND topic = ANY($2)", copies.consumer, names
    )
    if waiting:
        raise Conflict(f"{waiting} events of {', '.join(names)} are parked or dead", fix="golden deadletters list")
    await uow.connection.execute(
        """UPDATE inbox_sequences SET told = greatest(told, sequence), sequence = 0
           WHERE consumer = $1 AND split_part(key, ':', 1) = ANY($2)""",
        copies.consumer,
        names,
    )
    for table in copies.tables:
        await uow.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the service's own literal
    await uow.connection.execute(
        "INSERT INTO rebuild_orders (consumer, actor, reason, tables, at) VALUES ($1, $2, $3, $4, $5)",
        copies.consumer,
        uow.actor,
        reason,
        list(copies.tables),
        uow.now,
    )


async def _turn_back(copies: Copies, connection: Connection) -> None:
    places = [(topic.name, partition) for topic in copies.topics for partition in range(topic.partitions)]
    await connection.execute(
        """INSERT INTO rebuild_places SELECT $1, topic, partition, false
           FROM unnest($2::text[], $3::integer[]) AS t(topic, partition)
           ON CONFLICT (consumer, topic, partition) DO UPDATE SET rewound = false""",
        copies.consumer,
        [topic for topic, _ in places],
        [partition for _, partition in places],
    )


async def check(copies: Copies, places: Collection[Place], connection: Connection) -> None:
    """Keep a rebuild from beginning during this transaction.

    Raises:
        Unavailable: one was ordered, and a partition's reader hasn't gone back to the beginning yet.
    """
    rebuilt = {topic.name for topic in copies.topics}
    wanted = sorted(place for place in places if place[0] in rebuilt)
    if not wanted:
        return
    arguments = (copies.consumer, [topic for topic, _ in wanted], [partition for _, partition in wanted])
    # The first time they aren't there; whoever waits here for an order's rows sees them below.
    await connection.execute(
        """INSERT INTO rebuild_places SELECT $1, topic, partition, true
           FROM unnest($2::text[], $3::integer[]) AS t(topic, partition) ON CONFLICT DO NOTHING""",
        *arguments,
    )
    rows = await connection.fetch(
        """SELECT rewound FROM rebuild_places
           WHERE consumer = $1 AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::integer[]))
           ORDER BY topic, partition FOR SHARE""",
        *arguments,
    )
    if not all(row["rewound"] for row in rows):
        raise Unavailable("a rebuild was ordered, and the partition goes back to its beginning first")


async def to_rewind(copies: Copies, connection: Connection) -> set[Place]:
    """The partitions whose readers have to go back to the beginning."""
    rows = await connection.fetch(
        "SELECT topic, partition FROM rebuild_places WHERE consumer = $1 AND NOT rewound", copies.consumer
    )
    return {(row["topic"], row["partition"]) for row in rows}


async def rewound(copies: Copies, place: Place, connection: Connection) -> None:
    """The reader of a partition stands at its beginning, and will after a restart."""
    await connection.execute(
        "UPDATE rebuild_places SET rewound = true WHERE consumer = $1 AND topic = $2 AND partition = $3",
        copies.consumer,
        *place,
    )
