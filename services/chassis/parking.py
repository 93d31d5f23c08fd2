"""Events that wait: parked for their aggregate's sake, or dead until an operator looks.

An event whose aggregate is in trouble (NotFound, Conflict) is parked and retried with back-off, and later events of
its key park behind it; other keys go on. An event that can't be handled at all (Invalid, Denied, or unknown after
bounded retries) is dead: it goes to the topic's dead letters with why and where it stood, and on our own topics its
key waits behind it until an operator replays or drops it. On others' topics nothing waits behind a dead letter:
their events promise no order, and the publisher was told why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from services.chassis import outbox
from services.chassis.cloudevents import Headers
from services.chassis.errors import NotFound
from services.chassis.topics import DEAD_LETTERS

if TYPE_CHECKING:
    from services.chassis.database import Connection, Row

_FIRST_RETRY: Final = timedelta(milliseconds=200)  # a sibling's commit is usually visible by then
_LAST_RETRY: Final = timedelta(seconds=30)
_DOUBLINGS: Final = 10
_LONGEST_REASON: Final = 2000  # characters; a parser may quote the whole body in its error


class Raw(msgspec.Struct, frozen=True):
    """An event as it stood on its topic; a struct, as one is made of each event, at half of a data class's cost."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Headers
    value: bytes | None
    appended_ms: int = 0


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that waits, with how often it was tried, and how often that ended in an error nobody foresaw.

    `replayed`: it is a dead letter that an operator wants tried again.
    """

    id: int
    key: str
    raw: Raw
    attempts: int
    unknown_tries: int
    replayed: bool


def key_of(raw: Raw) -> str:
    """What an event waits behind: its topic and key; an event without a key waits behind nothing."""
    if raw.key is None:
        return _alone(raw)
    return f"{raw.topic}:{raw.key.hex()}"


def _alone(raw: Raw) -> str:
    return f"{raw.topic}@{raw.partition}/{raw.offset}"


def reason_of(error: Exception) -> str:
    """An error's sentence, as a row can hold it; the error's name where it has none."""
    # PostgreSQL's text holds neither a NUL nor half a surrogate pair, and a parser's error may quote both.
    said = str(error) or type(error).__name__
    return said[:_LONGEST_REASON].replace("\x00", "�").encode("utf-8", "replace").decode()


class Parking:
    """A consumer's events that wait, inside one transaction.

    Args:
        connection: The transaction's connection.
        consumer: The consumer's name.
    """

    def __init__(self, connection: Connection, *, consumer: str) -> None:
        self._connection = connection
        self._consumer = consumer

    async def blocked(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of these keys that something waits on."""
        rows = await self._connection.fetch(
            "SELECT DISTINCT key FROM parked WHERE consumer = $1 AND key = ANY($2)",
            self._consumer,
            list(keys),
        )
        return frozenset(row["key"] for row in rows)

    async def park(self, raw: Raw, error: Exception, *, dead: bool, blocks: bool = True, behind: bool = False) -> bool:
        """Put an event aside; a dead one also goes to the topic's dead letters.

        Args:
            raw: The event.
            error: Why.
            dead: True: it waits for an operator; False: it is retried.
            blocks: True: later events of its key wait behind it.
            behind: True: it wasn't tried itself, but waits for an earlier one, and is next as soon as that is gone.

        Returns:
            False where it was put aside already.
        """
        names, values = outbox.split(raw.headers)
        status = await self._connection.execute(
            """INSERT INTO parked (consumer, key, dead, topic, partition, "offset", header_names, header_values,
                                   raw_key, value, error, what, next_attempt_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13::interval)
               ON CONFLICT (consumer, topic, partition, "offset") DO NOTHING""",
            self._consumer,
            key_of(raw) if blocks else _alone(raw),
            dead,
            raw.topic,
            raw.partition,
            raw.offset,
            names,
            values,
            raw.key,
            raw.value,
            type(error).__name__,
            reason_of(error),
            timedelta() if behind else _FIRST_RETRY,
        )
        new = bool(status.endswith(" 1"))
        if new and dead:
            await self._publish(raw, error)
        return new

    async def next_due(self, *, replayed_only: bool = False) -> Parked | None:
        """The oldest event at the head of its key whose time has come, locked; None where there is none.

        A rebuild comes first: what waits happened after what is being told again.

        Args:
            replayed_only: True: only what an operator replays.
        """
        row = await self._connection.fetchrow(
            """SELECT head.*, replayed FROM parked AS head CROSS JOIN LATERAL (
                 SELECT EXISTS (SELECT 1 FROM dead_letter_actions AS had
                                WHERE had.parked = head.id AND had.action = 'replay') AS replayed) AS asked
               WHERE consumer = $1 AND NOT dead AND next_attempt_at <= now() AND (replayed OR NOT $2)
                 AND NOT EXISTS (SELECT 1 FROM rebuild_places AS going
                                 WHERE going.consumer = $1 AND going.next < going.until)
                 AND NOT EXISTS (SELECT 1 FROM parked AS earlier
                                 WHERE earlier.consumer = $1 AND earlier.key = head.key AND earlier.id < head.id)
               ORDER BY next_attempt_at LIMIT 1 FOR UPDATE OF head SKIP LOCKED""",
            self._consumer,
            replayed_only,
        )
        if row is None:
            return None
        same = ("id", "key", "attempts", "unknown_tries", "replayed")
        return Parked(raw=raw_of(row), **{name: row[name] for name in same})

    async def done(self, parked: Parked) -> None:
        """It was handled: what waits behind it is next."""
        await self._connection.execute("DELETE FROM parked WHERE id = $1", parked.id)

    async def postpone(self, parked: Parked, error: Exception, *, unknown: bool) -> None:
        """It failed again: later, and then later still."""
        wait = min(_FIRST_RETRY * 2 ** min(parked.attempts + 1, _DOUBLINGS), _LAST_RETRY)
        await self._connection.execute(
            """UPDATE parked SET attempts = attempts + 1, unknown_tries = unknown_tries + $2,
                                 next_attempt_at = now() + $3::interval, error = $4, what = $5
               WHERE id = $1""",
            parked.id,
            int(unknown),
            wait,
            type(error).__name__,
            reason_of(error),
        )

    async def bury(self, parked: Parked, error: Exception, *, blocks: bool) -> None:
        """It will never be handled as it is: it becomes a dead letter, before its key or (not `blocks`) alone."""
        await self._connection.execute(
            "UPDATE parked SET dead = true, key = $2, error = $3, what = $4 WHERE id = $1",
            parked.id,
            parked.key if blocks else _alone(parked.raw),
            type(error).__name__,
            reason_of(error),
        )
        await self._publish(parked.raw, error)

    async def count(self) -> tuple[int, int]:
        """How many events are parked, and how many are dead."""
        row = await self._connection.fetchrow(
            """SELECT count(*) FILTER (WHERE NOT dead) AS parked, count(*) FILTER (WHERE dead) AS dead
               FROM parked WHERE consumer = $1""",
            self._consumer,
        )
        return (row["parked"], row["dead"]) if row else (0, 0)

    async def _publish(self, raw: Raw, error: Exception) -> None:
        reason = {
            "dlq_consumer": self._consumer,
            "dlq_error": type(error).__name__,
            "dlq_what": reason_of(error),
            "dlq_topic": raw.topic,
            "dlq_partition": str(raw.partition),
            "dlq_offset": str(raw.offset),
        }
        headers = [*raw.headers, *((name, text.encode()) for name, text in reason.items())]
        # Kafka's client refuses to send a record without key and value, and nothing behind it would be sent either.
        value = b"" if raw.key is None and raw.value is None else raw.value
        await outbox.write_raw(self._connection, raw.topic + DEAD_LETTERS, raw.key, headers, value)


async def list_dead(connection: Connection, *, after: int, limit: int) -> list[Row]:
    """Dead letters of every consumer of this service, oldest first."""
    return await connection.fetch("SELECT * FROM parked WHERE dead AND id > $1 ORDER BY id LIMIT $2", after, limit)


async def reasons(connection: Connection, *, limit: int) -> list[Row]:
    """Why events are parked, in every consumer of this service, the commonest reason first.

    A row per consumer and reason of the event at a key's head: consumer, error, what, dead (that event is a dead
    letter), id (of the oldest such event), since (when that one was put aside), events (how many are parked for it).
    """
    return await connection.fetch(
        """WITH waits AS (SELECT dead, min(id) OVER (PARTITION BY consumer, key) AS head FROM parked)
           SELECT head.consumer, head.error, head.what, head.dead, min(head.id) AS id, min(head.parked_at) AS since,
                  count(*) FILTER (WHERE NOT waits.dead) AS events
           FROM waits JOIN parked AS head ON head.id = waits.head
           GROUP BY head.consumer, head.error, head.what, head.dead
           HAVING count(*) FILTER (WHERE NOT waits.dead) > 0
           ORDER BY events DESC, id LIMIT $1""",
        limit,
    )


async def get(connection: Connection, number: int) -> Row:
    """One event that waits, dead or parked, locked for the present transaction.

    Raises:
        NotFound: there is none of that number.
    """
    row = await connection.fetchrow("SELECT * FROM parked WHERE id = $1 FOR UPDATE", number)
    if row is None:
        raise NotFound(f"there is no dead letter {number}, and no parked event", fix="golden deadletters list")
    return row


async def replay(connection: Connection, letter: int, *, actor: str, reason: str) -> None:
    """Try an event again, at once and in its key's order; an audit entry says who asked."""
    await _audit(connection, await get(connection, letter), "replay", actor, reason)
    await connection.execute(
        "UPDATE parked SET dead = false, attempts = 0, unknown_tries = 0, next_attempt_at = now() WHERE id = $1",
        letter,
    )


async def drop(connection: Connection, letter: int, *, actor: str, reason: str) -> Row:
    """Give an event up, so that its key goes on; an audit entry says who and which, and its topic keeps it."""
    row = await get(connection, letter)
    await _audit(connection, row, "drop", actor, reason)
    await connection.execute("DELETE FROM parked WHERE id = $1", letter)
    return row


async def _audit(connection: Connection, row: Row, action: str, actor: str, reason: str) -> None:
    what = f"{row['topic']}/{row['partition']}@{row['offset']}: {row['error']}: {row['what']}"
    await connection.execute(
        "INSERT INTO dead_letter_actions (parked, action, actor, reason, what) VALUES ($1, $2, $3, $4, $5)",
        row["id"],
        action,
        actor,
        reason,
        what,
    )


def raw_of(row: Row) -> Raw:
    """The event that a row of `parked` holds."""
    headers = list(zip(row["header_names"], row["header_values"], strict=True))
    return Raw(row["topic"], row["partition"], row["offset"], row["raw_key"], headers, row["value"])
