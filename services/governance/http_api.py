"""The HTTP edge: the same questions and decisions as over gRPC, in the contract's JSON, under /v1."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pydantic import BaseModel, ConfigDict

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import Invalid
from services.chassis.http_server import signed_in
from services.chassis.identity import Caller, Role
from services.governance import handlers, queries
from services.governance.answers import (
    consistency_response,
    explain_response,
    head_message,
    inclusion_response,
    served_response,
)
from services.governance.domain.verdicts import Verdict
from services.governance.events import verdict_message
from services.governance.requests import environment_of, index_of, model_of, text_of, version_of
from services.governance.store import GovernanceUnitOfWork

SignedIn = Annotated[Caller, Depends(signed_in)]
PageSize = Annotated[int, Query(ge=1, le=1000)]


class Words(BaseModel):
    """A reviewer's words, and what they saw."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    comment: str = ""
    artifact_digest: str = ""


def router(database: Database[GovernanceUnitOfWork], clock: Clock) -> APIRouter:
    """Governance's routes."""
    routes = APIRouter(prefix="/v1", tags=["governance"])
    _add_verdicts(routes, database)
    _add_decisions(routes, database)
    _add_audit(routes, database, clock)
    return routes


def _add_verdicts(routes: APIRouter, database: Database[GovernanceUnitOfWork]) -> None:
    @routes.get("/verdicts/{model}/{version}")
    async def get_verdict(model: str, version: int, _: SignedIn) -> dict[str, Any]:
        """The verdict that stands, and in words what is missing. Version 0: the newest that was judged."""
        async with database.read() as connection:
            found = await queries.get_verdict(model_of(model), version_of(version), connection)
        return _json(explain_response(found))

    @routes.get("/waiting")
    async def list_waiting(_: SignedIn, page_size: PageSize = 100, page_token: str = "") -> dict[str, Any]:
        """Versions that wait for a person, oldest first."""
        async with database.read() as connection:
            found, token = await queries.list_waiting(page_token, page_size, connection)
        return {"verdicts": [_json(verdict_message(verdict)) for verdict in found], "next_page_token": token}

    @routes.get("/policies/{name}")
    async def get_policy(name: str, _: SignedIn) -> dict[str, str]:
        """The policy that stands."""
        async with database.read() as connection:
            found = await queries.get_policy(text_of(name, "name"), connection)
        return {"policy": found.name, "digest": found.digest, "yaml": found.source}


def _add_decisions(routes: APIRouter, database: Database[GovernanceUnitOfWork]) -> None:
    async def decide(model: str, version: int, words: Words, caller: Caller, *, granted: bool) -> Verdict:
        caller.require(Role.REVIEWER)
        async with database.begin(actor=caller.subject) as uow:
            return await handlers.decide(
                model_of(model),
                version_of(version),
                uow,
                granted=granted,
                comment=words.comment,
                artifact_digest=words.artifact_digest,
            )

    @routes.post("/verdicts/{model}/{version}/approve")
    async def approve(model: str, version: int, words: Words, caller: SignedIn) -> dict[str, Any]:
        """Says yes to a waiting version. Role: reviewer, and not who registered it."""
        return _json(verdict_message(await decide(model, version, words, caller, granted=True)))

    @routes.post("/verdicts/{model}/{version}/deny")
    async def deny(model: str, version: int, words: Words, caller: SignedIn) -> dict[str, Any]:
        """Says no to a waiting version, with a comment. Role: reviewer, and not who registered it."""
        return _json(verdict_message(await decide(model, version, words, caller, granted=False)))

    @routes.post("/verdicts/{model}/{version}/revoke")
    async def revoke(model: str, version: int, words: Words, caller: SignedIn) -> dict[str, Any]:
        """Takes an approval back, with a comment, for good. Role: reviewer."""
        caller.require(Role.REVIEWER)
        async with database.begin(actor=caller.subject) as uow:
            verdict = await handlers.revoke(model_of(model), version_of(version), uow, reason=words.comment)
        return _json(verdict_message(verdict))


def _add_audit(routes: APIRouter, database: Database[GovernanceUnitOfWork], clock: Clock) -> None:
    @routes.get("/served/{model}/{environment}")
    async def get_served(model: str, environment: str, _: SignedIn, at: datetime | None = None) -> dict[str, Any]:
        """What served at a moment (now, where none is named), who allowed it, on what evidence, and the proof."""
        moment = _utc(at or clock.now())
        async with database.read() as connection:
            found, head = await queries.served_at(model_of(model), environment_of(environment), moment, connection)
        return _json(served_response(moment, found, head))

    @routes.get("/log/head")
    async def get_head(_: SignedIn) -> dict[str, Any]:
        """The log's head: its size and root."""
        async with database.read() as connection:
            return _json(head_message(await queries.get_head(connection)))

    @routes.get("/log/entries/{index}")
    async def prove_inclusion(index: int, _: SignedIn) -> dict[str, Any]:
        """An entry, and the proof that it is in the log."""
        async with database.read() as connection:
            return _json(inclusion_response(await queries.prove_inclusion(connection, index=index_of(index, "index"))))

    @routes.get("/log/consistency")
    async def prove_consistency(_: SignedIn, first: int, second: int = 0) -> dict[str, Any]:
        """The proof that the log of one size is the beginning of the log of another."""
        sizes = index_of(first, "first"), index_of(second, "second")
        async with database.read() as connection:
            return _json(consistency_response(await queries.prove_consistency(*sizes, connection)))


def _json(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise Invalid("it has no time zone", where="at", fix="write it in UTC, with a Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Invalid("it is no moment between the years 1 and 9999", where="at") from None
