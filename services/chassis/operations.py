"""What an operator does with dead letters, over HTTP: look at them, try them again, give them up.

Every service has these routes. Looking takes the role operator or auditor; replay and drop take operator and a
reason, which goes into the audit entry beside who it was. Both work on the letter's key in its order (parking.py).
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from pydantic import BaseModel, ConfigDict, Field

from services.chassis import cloudevents, parking
from services.chassis.database import Database, Row
from services.chassis.errors import Invalid
from services.chassis.http_server import signed_in
from services.chassis.identity import Caller, Role
from services.chassis.schemas import message_class

_LARGEST_ID = 2**63 - 1

Signed = Annotated[Caller, Depends(signed_in)]
Number = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="The dead letter's number.")]


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


class Order(BaseModel):
    """What an operator asks for."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2000, description="Why; kept for good.")


class Done(BaseModel):
    """What was done."""

    id: int
    action: str


def router(database: Database[Any]) -> APIRouter:
    """The routes of a service's dead letters."""
    routes = APIRouter(prefix="/v1/deadletters", tags=["operations"])

    @routes.get("", summary="Dead letters, oldest first")
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

    @routes.get("/{number}", summary="One dead letter, readable")
    async def get(caller: Signed, number: Number) -> Letter:
        caller.require(Role.OPERATOR, Role.AUDITOR)
        async with database.read() as connection:
            return _letter(await parking.get_dead(connection, number))

    @routes.post("/{number}/replay", summary="Try it again, in its key's order")
    async def replay(caller: Signed, number: Number, order: Order) -> Done:
        caller.require(Role.OPERATOR)
        async with database.begin(actor=caller.subject) as uow:
            await parking.replay(uow.connection, number, actor=caller.subject, reason=order.reason)
        return Done(id=number, action="replay")

    @routes.post("/{number}/drop", summary="Give it up, so that its key goes on")
    async def drop(caller: Signed, number: Number, order: Order) -> Done:
        caller.require(Role.OPERATOR)
        async with database.begin(actor=caller.subject) as uow:
            await parking.drop(uow.connection, number, actor=caller.subject, reason=order.reason)
        return Done(id=number, action="drop")

    return routes


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
