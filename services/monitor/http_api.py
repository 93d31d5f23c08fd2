"""The HTTP edge: the same reads as over gRPC, in the contract's JSON, under /v1."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from services.chassis.database import Database
from services.chassis.http_server import signed_in
from services.chassis.identity import Caller
from services.monitor import events, queries
from services.monitor.clients import Judges
from services.monitor.signal_store import Signals
from services.monitor.store import MonitorUnitOfWork

SignedIn = Annotated[Caller, Depends(signed_in)]
Version = Annotated[int, Query(ge=0, le=2**31 - 1)]


def router(database: Database[MonitorUnitOfWork], judges: Judges) -> APIRouter:
    """The monitor's routes."""
    routes = APIRouter(prefix="/v1", tags=["monitor"])

    @routes.get("/reports/{model}/{environment}")
    async def get_report(model: str, environment: str, _: SignedIn, version: Version = 0) -> dict[str, Any]:
        """How a deployment stands now. Version 0: the stable one."""
        async with database.read() as connection:
            watch = await queries.find_watch(model, environment, version, connection)
        judge = await judges.of(watch.model, watch.version)
        async with database.read() as connection:
            return _json(await queries.report(watch, judge, connection))

    @routes.get("/signals")
    async def list_signals(
        _: SignedIn,
        model: str = "",
        environment: str = "",
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
        page_token: str = "",
    ) -> dict[str, Any]:
        """Signals, newest first."""
        async with database.read() as connection:
            return _json(await queries.list_signals(model, environment, page_token, page_size, connection))

    @routes.get("/signals/{signal_id}")
    async def get_signal(signal_id: str, _: SignedIn) -> dict[str, Any]:
        """One signal."""
        async with database.read() as connection:
            return _json(events.record_of(await Signals(connection).get(signal_id)))

    return routes


def _json(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
