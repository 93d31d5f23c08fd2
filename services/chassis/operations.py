"""What an operator does over HTTP: with what waits look, try again, give up; with a read model, rebuild it.

Every service has these routes. Looking takes the role operator or auditor; what changes something takes operator and
a reason, which goes into the audit entry beside who it was. Replay and drop work on the letter's key in its order
(parking.py); how a rebuild goes stands in rebuilding.py.
"""

from __future__ import annotations

import base64
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from pydantic import BaseModel, ConfigDict, Field

from services.chassis import cloudevents, parking, publishers, rebuilding
from services.chassis.database import Database, Row
from services.chassis.errors import Invalid, NotFound
from services.chassis.http_server import signed_in
from services.chassis.identity import Caller, Role
from services.chassis.kafka import Consumer
from services.chassis.schemas import message_class

_LARGEST_ID = 2**63 - 1

Signed = Annotated[Caller, Depends(signed_in)]
Number = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="The dead letter's, or parked event's, number.")]


class Summary(BaseModel):
    """A dead letter in a list."""

    id: int = Field(description="Its number within this service.")
    consumer: str = Field(description="Who gave it up.")
    topic: str = Field(description="Where it stood.")
    partition: int
    offset: int
    key: str = Field(description="Its Kafka key; empty where it had none.")
    error: str = Field(description="The error's kind.")
    what: str = Field(description="What is wrong, in a sentence.")
    since: datetime = Field(description="When it was put aside.")


class Letter(Summary):
    """A dead letter, readable."""

    headers: dict[str, str] = Field(description="Its headers as text; bytes that are none are replaced.")
    body: dict[str, Any] | None = Field(description="Its body as JSON; null where it can't be read as its schema.")
    body_base64: str = Field(description="Its body's bytes.")


class Page(BaseModel):
    """Dead letters, oldest first."""

    letters: list[Summary]
    next_after: int | None = Field(description="`after` of the next page; null where this was the last.")


class Reason(BaseModel):
    """Why events are parked: what the one at the head of their key says."""

    consumer: str = Field(description="Who parked them.")
    error: str = Field(description="The error's kind.")
    what: str = Field(description="What is wrong, in a sentence.")
    dead: bool = Field(description="True: they wait behind a dead letter; false: they are tried again by themselves.")
    id: int = Field(description="The number of the oldest event that says so: show, replay and drop take it.")
    since: datetime = Field(description="When that one was put aside.")
    events: int = Field(description="How many events are parked for this reason.")


class Order(BaseModel):
    """What an operator asks for."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2000, description="Why; kept for good.")


class Done(BaseModel):
    """What was done."""

    id: int
    action: str


class Rebuild(BaseModel):
    """How far the newest rebuild of the read model has come."""

    actor: str = Field(description="Who asked for it.")
    reason: str = Field(description="Why.")
    began_at: datetime
    done: int = Field(description="How many places of the topics were read again.")
    of: int = Field(description="How many there were when it began.")
    under_way: bool = Field(description="False: it is over.")
    failed: int = Field(description="How many events couldn't be applied.")
    problem: str = Field(description="The last of them, where it stood, and why; empty where there was none.")


def router(database: Database[Any], consumer: Consumer[Any]) -> APIRouter:
    """The routes of a service's operations."""
    routes = APIRouter(prefix="/v1", tags=["operations"])
    _add_letters(routes, database)
    _add_rebuild(routes, database, consumer)
    return routes


def _add_rebuild(routes: APIRouter, database: Database[Any], consumer: Consumer[Any]) -> None:
    async def progress() -> Rebuild:
        async with database.read() as connection:
            found = await rebuilding.progress_of(connection, consumer.name)
        if found is None:
            raise NotFound("its read model was never rebuilt")
        return Rebuild(**asdict(found))

    @routes.get("/rebuild", summary="How far the newest rebuild has come")
    async def get_rebuild(caller: Signed) -> Rebuild:
        caller.require(Role.OPERATOR, Role.AUDITOR)
        return await progress()

    @routes.post("/rebuild", summary="Forget the read model, and read it again from the events")
    async def rebuild(caller: Signed, order: Order) -> Rebuild:
        caller.require(Role.OPERATOR)
        await consumer.rebuild(actor=caller.subject, reason=order.reason)
        return await progress()


def _add_letters(routes: APIRouter, database: Database[Any]) -> None:
    @routes.get("/deadletters", summary="Dead letters, oldest first")
    async def list_(
        caller: Signed,
        after: Annotated[int, Query(ge=0, le=_LARGEST_ID)] = 0,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Page:
        caller.require(Role.OPERATOR, Role.AUDITOR)
        async with database.read() as connection:
            rows = await parking.list_dead(connection, after=after, limit=page_size + 1)
        page = [Summary(**_summary(row)) for row in rows[:page_size]]
        return Page(letters=page, next_after=page[-1].id if len(rows) > page_size else None)

    @routes.get("/parked", summary="Why events are parked, the commonest reason first")
    async def parked(caller: Signed, page_size: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[Reason]:
        caller.require(Role.OPERATOR, Role.AUDITOR)
        async with database.read() as connection:
            return [Reason(**row) for row in await parking.reasons(connection, limit=page_size)]

    @routes.get("/deadletters/{number}", summary="One dead letter, or parked event, readable")
    async def get(caller: Signed, number: Number) -> Letter:
        caller.require(Role.OPERATOR, Role.AUDITOR)
        async with database.read() as connection:
            return _letter(await parking.get(connection, number))

    @routes.post("/deadletters/{number}/replay", summary="Try it again, in its key's order")
    async def replay(caller: Signed, number: Number, order: Order) -> Done:
        caller.require(Role.OPERATOR)
        async with database.begin(actor=caller.subject) as uow:
            await parking.replay(uow.connection, number, actor=caller.subject, reason=order.reason)
        return Done(id=number, action="replay")

    @routes.post("/deadletters/{number}/drop", summary="Give it up, so that its key goes on")
    async def drop(caller: Signed, number: Number, order: Order) -> Done:
        caller.require(Role.OPERATOR)
        async with database.begin(actor=caller.subject) as uow:
            row = await parking.drop(uow.connection, number, actor=caller.subject, reason=order.reason)
            await publishers.forget(uow.connection, parking.raw_of(row), consumer=row["consumer"])
        return Done(id=number, action="drop")


def _summary(row: Row) -> dict[str, Any]:
    same = ("id", "consumer", "topic", "partition", "offset", "error", "what")
    return {name: row[name] for name in same} | {"key": _text(row["raw_key"]), "since": row["parked_at"]}


def _letter(row: Row) -> Letter:
    raw = parking.raw_of(row)
    return Letter(
        **_summary(row),
        headers={name: _text(value) for name, value in raw.headers},
        body=_readable(raw),
        body_base64=base64.b64encode(raw.value or b"").decode(),
    )


def _readable(raw: parking.Raw) -> dict[str, Any] | None:
    try:
        event = cloudevents.read(raw.headers, raw.value)
        schema = message_class(event.dataschema.rpartition("/")[2])
        if schema is None:
            return None
        message = cloudevents.body(event, schema)
        shown: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    except (Invalid, DecodeError):
        return None
    return shown


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
