"""Whose fault it is that an event on others' topics can't be read: its publisher's, or our release's.

What anybody writes must not stop a consumer, and a release that can't read anything must not bury a topic among the
dead letters. So it is kept for good whose events were read. One that can't be read speaks against our release where
events of its source were read before, and this process has read none of its type yet, whoever's. A source that nobody
ever heard of says nothing about us; and once this process has read the type, the publisher has changed, and not we.

An event that can't be read says who sent it in its raw headers, or in its JSON: a claim, as good as any here. Where it
wronged us (a publisher that went wrong while we were starting), an operator drops its letters: then its source is
heard of no more, and the next process goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from services.chassis.cloudevents import LONGEST_ATTRIBUTE, NO_TEXT, STRUCTURED, CloudEvent
from services.chassis.parking import Raw

if TYPE_CHECKING:
    from services.chassis.database import Connection

_MOST: Final = 10_000  # sources that a process remembers, a megabyte; anybody may invent them


def claimed(raw: Raw) -> tuple[str, str]:
    """The source and the type that an event claims, whether it can be read or not; empty where it claims none."""
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in raw.headers}
    if texts.get("content-type", "").startswith(STRUCTURED):
        return _claimed_in_json(raw.value or b"")
    return _sane(texts.get("ce_source")), _sane(texts.get("ce_type"))


def _claimed_in_json(value: bytes) -> tuple[str, str]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return "", ""
    return (_sane(document.get("source")), _sane(document.get("type"))) if isinstance(document, dict) else ("", "")


def _sane(text: object) -> str:
    """A text that PostgreSQL takes, and that an event could carry."""
    fits = isinstance(text, str) and len(text) <= LONGEST_ATTRIBUTE and not NO_TEXT.search(text)
    return str(text) if fits else ""


class Publishers:
    """A consumer's memory of whose events could be read.

    Args:
        consumer: The consumer's name.
    """

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer
        self._sources: set[str] = set()
        self._types: set[str] = set()

    async def note(self, connection: Connection, events: Iterable[CloudEvent]) -> None:
        """These were read; part of the transaction of their effects."""
        new = {event.source for event in events} - self._sources
        if new:  # sorted, so that two transactions never wait for each other's rows
            await connection.execute(
                "INSERT INTO publishers SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING",
                self._consumer,
                sorted(new),
            )

    def noted(self, events: Iterable[CloudEvent]) -> None:
        """That transaction has committed."""
        if len(self._sources) > _MOST:
            self._sources.clear()
        for event in events:
            self._sources.add(event.source)
            self._types.add(event.type)

    async def were_read(self, connection: Connection, *, source: str, type_name: str) -> bool:
        """True where a source's events were read before, and this process has read none of this type yet."""
        if type_name in self._types:
            return False
        query = "SELECT true FROM publishers WHERE consumer = $1 AND source = $2"
        return bool(await connection.fetchval(query, self._consumer, source))


async def forget(connection: Connection, raw: Raw, *, consumer: str) -> None:
    """An operator drops this event: its source is heard of no more, until it is read again."""
    query = "DELETE FROM publishers WHERE consumer = $1 AND source = $2"
    await connection.execute(query, consumer, claimed(raw)[0])
