"""Routes: an event's way to its handler, with its body read as its schema, and its actor as far as it is proven."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from services.chassis import cloudevents
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import UnitOfWork
from services.chassis.errors import GoldenpathError
from services.chassis.parking import Raw
from services.chassis.signatures import Signers
from services.chassis.topics import Topic

U = TypeVar("U", bound=UnitOfWork)
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """An event for a handler.

    Args:
        event: Its attributes.
        body: Its body.
        raw: How it stood on its topic.
        proven: True where its actor is who it says: only its owner writes the topic, or a signature proves it.
    """

    event: CloudEvent
    body: M
    raw: Raw
    proven: bool


@dataclass(frozen=True)
class _Route:
    schema: type[Message]
    handle: Callable[[Any, Any], Awaitable[None]]
    read_model: bool


class Routes(Generic[U]):
    """What a consumer handles.

    Args:
        topics: What it reads.
        signers: Whose signatures count on others' topics.
    """

    def __init__(self, topics: Sequence[Topic], signers: Signers) -> None:
        self._topics = {topic.name: topic for topic in topics}
        self._signers = signers
        self._routes: dict[str, _Route] = {}

    def add(
        self, type_name: str, schema: type[M], handle: Callable[[Received[M], U], Awaitable[None]], *, read_model: bool
    ) -> None:
        """Handle a type of event."""
        self._routes[type_name] = _Route(schema, handle, read_model)

    def __contains__(self, event: CloudEvent) -> bool:
        return event.type in self._routes

    def handles(self, type_name: str) -> bool:
        """True for a type of event that has a handler."""
        return type_name in self._routes

    def feeds_read_model(self, event: CloudEvent) -> bool:
        """True for an event of a type that only keeps what was told."""
        return event in self and self._routes[event.type].read_model

    def replayed(self) -> list[Topic]:
        """The topics that a rebuild reads again: those with a type that feeds the read model."""
        fed = {name for name, route in self._routes.items() if route.read_model}
        return [topic for topic in self._topics.values() if fed.intersection(one.name for one in topic.types)]

    def topic(self, raw: Raw) -> Topic:
        """The topic that an event stands on."""
        return self._topics[raw.topic]

    def is_others(self, raw: Raw) -> bool:
        """True for an event on a topic that anybody may write."""
        return self.topic(raw).owner == "others"

    def can_be_read(self, raw: Raw, event: CloudEvent) -> bool:
        """True for an event that we handle, whose body is what its type says, and whose signature holds."""
        try:
            self._body(raw, event)
            self._signers.proves(event)
        except (GoldenpathError, KeyError):
            return False
        return True

    async def run(self, raw: Raw, event: CloudEvent, uow: U, *, again: bool = False) -> None:
        """Give an event to its handler; `again` one that was let in before, since its signer's key may have gone.

        Raises:
            Invalid: its body isn't what its type says.
            Denied: it carries a signature that doesn't prove its actor.
        """
        body = self._body(raw, event)
        proven = not self.is_others(raw) or (not again and self._signers.proves(event))
        # Where anybody writes, an actor is a claim: what the handler tells of it must not make it a fact.
        uow.actor = event.actor if proven else ""
        await self._routes[event.type].handle(Received(event, body, raw, proven), uow)

    def _body(self, raw: Raw, event: CloudEvent) -> Message:
        body = cloudevents.body(event, self._routes[event.type].schema)
        if self.is_others(raw):
            cloudevents.check_finite(body)
        return body
