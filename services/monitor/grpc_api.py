"""The gRPC edge: checks what is asked, opens a read, delegates, and answers in the contract's words.

Whoever has a valid token may ask; for one record, which may be about a person, it takes a role.
"""

# ruff: noqa: N802 - the methods' names are the contract's

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from goldenpath.monitor.v1.monitor_service_pb2_grpc import MonitorServiceServicer
from services.chassis.database import Database
from services.chassis.grpc_server import page_size
from services.chassis.identity import Role, caller
from services.chassis.watching import Changes
from services.monitor import events, pairing, queries
from services.monitor.clients import Judges, settings_of
from services.monitor.finding import Finder
from services.monitor.handlers import PRODUCTION
from services.monitor.signal_store import Signals
from services.monitor.store import MonitorUnitOfWork

NAME: Final = "goldenpath.monitor.v1.MonitorService"
_WATCH_BATCH: Final = 100  # signals a round; a watcher that is behind catches up round by round

Context = grpc.aio.ServicerContext[Any, Any]


class MonitorApi(MonitorServiceServicer):
    """The monitor over gRPC.

    Args:
        database: The monitor's database.
        judges: Gives the judge of a version.
        changes: Wakes watchers.
        finder: Looks for records.
    """

    def __init__(self, database: Database[MonitorUnitOfWork], judges: Judges, changes: Changes, finder: Finder) -> None:
        self._database = database
        self._judges = judges
        self._changes = changes
        self._finder = finder

    async def GetReport(self, request: pb.GetReportRequest, _: Context) -> pb.GetReportResponse:
        """How a deployment stands now."""
        environment = request.environment or PRODUCTION
        async with self._database.read() as connection:
            watch = await queries.find_watch(request.model, environment, request.version, connection)
        judge = await self._judges.of(watch.model, watch.version)
        async with self._database.read() as connection:
            return await queries.report(watch, judge, connection)

    async def GetHistory(self, request: pb.GetHistoryRequest, _: Context) -> pb.GetHistoryResponse:
        """What a version saw, pane by pane, and what its own or other settings find in it."""
        environment = request.environment or PRODUCTION
        async with self._database.read() as connection:
            watch = await queries.find_watch(request.model, environment, request.version, connection)
        judge = await self._judges.of(watch.model, watch.version)
        if judge is None:
            return pb.GetHistoryResponse(version=watch.version)  # without a reference there is nothing to hold it to
        settings = settings_of(request.settings, alone=request.settings_alone)
        async with self._database.read() as connection:
            return await queries.history(watch, judge.by(**settings), connection)

    async def GetSignal(self, request: pb.GetSignalRequest, _: Context) -> pb.GetSignalResponse:
        """One signal."""
        async with self._database.read() as connection:
            return pb.GetSignalResponse(record=events.record_of(await Signals(connection).get(request.signal_id)))

    async def ListSignals(self, request: pb.ListSignalsRequest, _: Context) -> pb.ListSignalsResponse:
        """Signals, newest first."""
        size = page_size(request.page_size)
        async with self._database.read() as connection:
            return await queries.list_signals(request.model, request.environment, request.page_token, size, connection)

    async def GetSample(self, request: pb.GetSampleRequest, _: Context) -> pb.GetSampleResponse:
        """The kept sample of records that a signal speaks of."""
        queries.check_limit(request.limit)
        async with self._database.read() as connection:
            watch = await queries.watch_of_signal(request.signal_id, connection)
        judge = await self._judges.of(watch.model, watch.version)
        async with self._database.read() as connection:
            return await queries.sample(request.signal_id, request.limit, connection, judge.promise if judge else None)

    async def GetDisagreement(self, request: pb.GetDisagreementRequest, _: Context) -> pb.GetDisagreementResponse:
        """How often a mirrored candidate answered otherwise than the stable version did."""
        environment = request.environment or PRODUCTION
        async with self._database.read() as connection:
            return await pairing.disagreement(request.model, environment, request.version, request.epoch, connection)

    async def GetRecord(self, request: pb.GetRecordRequest, _: Context) -> pb.GetRecordResponse:
        """One record as it was served."""
        caller().require(Role.AUDITOR, Role.REVIEWER, Role.OPERATOR, Role.SCIENTIST)
        found = await self._finder.find(queries.record_id(request.record_id))
        async with self._database.read() as connection:
            return await queries.record(found, connection)

    async def WatchSignals(self, request: pb.WatchSignalsRequest, _: Context) -> AsyncIterator[pb.WatchSignalsResponse]:
        """Signals as they are raised and cleared, from now on."""
        async with self._database.read() as connection:
            had = await Signals(connection).newest_change()
        while True:
            woken = self._changes.begin()
            async with self._database.read() as connection:
                changed = await Signals(connection).changed_after(request.model, had, _WATCH_BATCH)
            for signal in changed:
                had = signal.changed
                yield pb.WatchSignalsResponse(record=events.record_of(signal))
            if not changed:
                await woken.wait()
