"""Rebuilding a read model: what a service only keeps of what others told is forgotten, and told to it again.

A subscription says whether it feeds a read model (`consumer.on(..., read_model=True)`). A rebuild begins in one
transaction, which holds every handler off, forgets the read model, and notes for each partition where its log ends.
Then the consumers go back to the beginning. Up to that end, an event that was had before goes again to what feeds the
read model and to nothing else, and nothing is emitted; one that wasn't had yet is handled as ever. So none is lost,
and none takes effect twice. Behind it everything is as before.

How far a partition has come is a row, which moves in the transaction of the effects, and only from where the replica
believes that it stands: whoever was killed, paused or rebalanced finds it elsewhere, and goes there.

An event that waits (parked or dead), or that an operator gave up, is passed over: it isn't forgotten, it has its
effect when it is tried again, and that waits for the end of the rebuild. An event that can't be applied now, though
it once could, is counted and named in the progress: mend the cause, and rebuild again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from services.chassis.cloudevents import CloudEvent
from services.chassis.errors import Conflict, Unavailable
from services.chassis.inbox import Inbox
from services.chassis.parking import Raw, reason_of
from services.chassis.topics import Topic

if TYPE_CHECKING:
    from services.chassis.database import Connection, Database, UnitOfWork

Place = tuple[str, int]  # a topic's name and a partition
Ends = Mapping[Place, tuple[int, int]]  # of each partition the oldest offset, and the one behind the newest

# Each looks for itself: a rebuild may begin at any time.
_TIDY: Final = (
    """DELETE FROM inbox_sequences WHERE consumer = $2
       AND NOT EXISTS (SELECT 1 FROM rebuild_places WHERE rebuild_places.consumer = $1 AND next < until)""",
    """DELETE FROM inbox_ids WHERE consumer = $2
       AND NOT EXISTS (SELECT 1 FROM rebuild_places WHERE rebuild_places.consumer = $1 AND next < until)""",
)
_log = structlog.get_logger()


class Moved(Unavailable):
    """A partition is being rebuilt, and stands elsewhere than this replica thought; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the newest rebuild of a consumer has come; `of` counts offsets, and so more or less events."""

    actor: str
    reason: str
    began_at: datetime
    done: int
    of: int
    under_way: bool
    failed: int
    problem: str


class Rebuilding:
    """A consumer's rebuilds, and where this replica believes that its partitions stand in one.

    Args:
        consumer: The consumer's name.
        forget: Takes the read model away, inside a rebuild's transaction; None: the service keeps none.
    """

    def __init__(self, consumer: str, forget: Callable[[Any], Awaitable[None]] | None) -> None:
        self.possible = forget is not None
        self._consumer = consumer
        self._forget = forget
        self._stands: dict[Place, int] = {}

    async def begin(self, uow: UnitOfWork, ends: Callable[[], Awaitable[Ends]], *, reason: str) -> None:
        """Begin a rebuild, or one that is under way anew.

        Args:
            uow: The transaction; its actor is who asked.
            ends: Asks Kafka for the partitions' ends, once nobody handles events.
            reason: Why; kept for good.

        Raises:
            Conflict: the service keeps no read model.
            Unavailable: Kafka doesn't answer, or a handler takes long.
        """
        if self._forget is None:
            raise Conflict(
                "it keeps no read model: what is in its database is its own word, and stands on no topic",
                fix="restore its database from a backup",
            )
        connection = uow.connection
        # Every handler holds one of them until its commit: what it did is forgotten here, and read again.
        await connection.execute("LOCK TABLE inbox_sequences, inbox_ids, parked IN EXCLUSIVE MODE")
        await self._forget(uow)
        await connection.execute("DELETE FROM rebuild_places WHERE consumer = $1", self._consumer)
        await Inbox(connection, consumer=_again(self._consumer)).clear()
        await self._note(connection, await ends())
        await connection.execute(
            "INSERT INTO rebuilds (consumer, actor, reason) VALUES ($1, $2, $3)", self._consumer, uow.actor, reason
        )
        _log.warning("a rebuild of the read model begins", consumer=self._consumer, actor=uow.actor, reason=reason)

    async def _note(self, connection: Connection, ends: Ends) -> None:
        await connection.executemany(
            """INSERT INTO rebuild_places (consumer, topic, partition, first, next, until)
               VALUES ($1, $2, $3, $4, $4, $5)""",
            [(self._consumer, *place, first, end) for place, (first, end) in ends.items()],
        )

    async def places(self, database: Database[Any]) -> dict[Place, tuple[int, int]]:
        """Of each partition that is being rebuilt, the next offset, and the one at which it is done."""
        async with database.read() as connection:
            rows = await connection.fetch(
                "SELECT * FROM rebuild_places WHERE consumer = $1 AND next < until", self._consumer
            )
        return {(row["topic"], row["partition"]): (row["next"], row["until"]) for row in rows}

    async def pass_on(self, database: Database[Any], place: Place, *, from_: int, to: int) -> None:
        """Move a partition on behind offsets that hold no event, unless another replica has."""
        async with database.read() as connection:
            await connection.execute(
                """UPDATE rebuild_places SET next = $5
                   WHERE consumer = $1 AND topic = $2 AND partition = $3 AND next = $4""",
                self._consumer,
                *place,
                from_,
                to,
            )

    async def tidy(self, database: Database[Any]) -> None:
        """Forget what a rebuild has had, once it is over."""
        async with database.read() as connection:
            for forget in _TIDY:
                await connection.execute(forget, self._consumer, _again(self._consumer))

    def stands(self, place: Place) -> int | None:
        """Where this replica believes that a partition stands in a rebuild; None where it doesn't know of any."""
        return self._stands.get(place)

    def stand(self, place: Place, next_: int) -> None:
        """A partition was brought to an offset."""
        self._stands[place] = next_

    def leave(self, places: Iterable[Place]) -> None:
        """Partitions change hands: whoever gets them looks."""
        for place in places:
            self._stands.pop(place, None)

    async def join(self, connection: Connection, raws: Sequence[Raw]) -> Replay:
        """The part of a transaction that handles these events in a rebuild, after the inbox has locked.

        Raises:
            Moved: a partition stands elsewhere than this replica thought.
        """
        replay = Replay(connection, self._consumer)
        if self.possible:
            await replay.open(raws, self._stands)
        return replay

    def committed(self, replay: Replay) -> None:
        """A transaction committed: its partitions stand behind what it handled."""
        self._stands.update(replay.reached)


class Replay:
    """One transaction's view of a rebuild; most know of none.

    Args:
        connection: The transaction's connection.
        consumer: The consumer's name.
    """

    def __init__(self, connection: Connection, consumer: str) -> None:
        self._connection = connection
        self._consumer = consumer
        self._had = Inbox(connection, consumer=_again(consumer))
        self._until: dict[Place, int] = {}
        self._aside: frozenset[tuple[str, int, int]] = frozenset()
        self._failed: dict[Place, tuple[int, str]] = {}
        self.reached: dict[Place, int] = {}

    async def open(self, raws: Sequence[Raw], stands: Mapping[Place, int]) -> None:
        """Look whether these events are part of a rebuild."""
        reached = {_place(raw): raw.offset + 1 for raw in raws}  # the last one of each partition counts
        rows = await self._connection.fetch(
            """SELECT * FROM rebuild_places WHERE consumer = $1 AND next < until
               AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::int[]))
               ORDER BY topic, partition FOR UPDATE""",
            self._consumer,
            [topic for topic, _ in reached],
            [partition for _, partition in reached],
        )
        for row in rows:
            place = row["topic"], row["partition"]
            if stands.get(place) != row["next"]:
                raise Moved(f"{place[0]}/{place[1]} is being rebuilt from {row['next']} on")
            self._until[place], self.reached[place] = row["until"], reached[place]
        if self._until:
            self._aside = await self._those_aside([raw for raw in raws if self.covers(raw)])

    def covers(self, raw: Raw) -> bool:
        """True for an event that stood on its topic when the rebuild began."""
        return raw.offset < self._until.get(_place(raw), 0)

    def passes_over(self, raw: Raw) -> bool:
        """True for an event that waits, or was given up."""
        return (raw.topic, raw.partition, raw.offset) in self._aside

    async def load(self, events: Iterable[tuple[Topic, Raw, CloudEvent]]) -> None:
        """Take what the rebuild has had of these events."""
        if self._until:
            await self._had.load([(topic, event) for topic, raw, event in events if self.covers(raw)])

    def admit(self, topic: Topic, raw: Raw, event: CloudEvent) -> bool:
        """True for an event that the rebuild covers and hasn't had yet; from now on it has."""
        return self.covers(raw) and self._had.admit(topic, event) and not self.passes_over(raw)

    def fail(self, raw: Raw, error: Exception) -> None:
        """An event can't be applied; the rebuild goes on."""
        place = _place(raw)
        stood = f"{raw.topic}/{raw.partition}@{raw.offset}"
        self._failed[place] = self._failed.get(place, (0, ""))[0] + 1, f"{stood}: {reason_of(error)}"
        _log.error("a rebuild can't apply an event", consumer=self._consumer, stood=stood, exc_info=error)

    async def save(self) -> None:
        """Move the partitions on; part of the transaction."""
        if not self._until:
            return
        await self._had.save()
        for place, reached in self.reached.items():
            failed, problem = self._failed.get(place, (0, ""))
            await self._connection.execute(
                """UPDATE rebuild_places
                   SET next = $4, failed = failed + $5, problem = CASE WHEN $5 > 0 THEN $6 ELSE problem END
                   WHERE consumer = $1 AND topic = $2 AND partition = $3""",
                self._consumer,
                *place,
                reached,
                failed,
                problem,
            )

    async def _those_aside(self, raws: Sequence[Raw]) -> frozenset[tuple[str, int, int]]:
        rows = await self._connection.fetch(
            """SELECT topic, partition, "offset"
               FROM unnest($2::text[], $3::int[], $4::bigint[]) AS had(topic, partition, "offset")
               WHERE EXISTS (SELECT 1 FROM parked AS waits WHERE waits.consumer = $1 AND
                             (waits.topic, waits.partition, waits."offset") = (had.topic, had.partition, had."offset"))
                  OR EXISTS (SELECT 1 FROM dead_letter_actions WHERE action = 'drop' AND
                             starts_with(what, had.topic || '/' || had.partition || '@' || had."offset" || ': '))""",
            self._consumer,
            [raw.topic for raw in raws],
            [raw.partition for raw in raws],
            [raw.offset for raw in raws],
        )
        return frozenset((row["topic"], row["partition"], row["offset"]) for row in rows)


async def progress_of(connection: Connection, consumer: str) -> Progress | None:
    """How far a consumer's newest rebuild has come; None where there never was one."""
    row = await connection.fetchrow(
        """SELECT actor, reason, began_at, coalesce(sum(least(next, until) - first), 0)::bigint AS done,
                  coalesce(sum(until - first), 0)::bigint AS of, coalesce(bool_or(next < until), false) AS under_way,
                  coalesce(sum(failed), 0)::bigint AS failed, coalesce(max(problem), '') AS problem
           FROM (SELECT * FROM rebuilds WHERE consumer = $1 ORDER BY id DESC LIMIT 1) AS newest
           LEFT JOIN rebuild_places USING (consumer) GROUP BY actor, reason, began_at""",
        consumer,
    )
    return Progress(**dict(row)) if row else None


async def check_whole(connection: Connection) -> None:
    """Make sure that no read model of this service is being rebuilt: a question about half of one has no answer.

    Raises:
        Unavailable: one is.
    """
    if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM rebuild_places WHERE next < until)"):
        raise Unavailable("what is asked for is being rebuilt from the events", fix="ask again in a moment")


def _again(consumer: str) -> str:
    """The name under which a rebuild's own inbox stands: what a topic holds twice has its effect once."""
    return f"{consumer}/rebuild"


def _place(raw: Raw) -> Place:
    return raw.topic, raw.partition
