"""Servers: every stable, candidate and warm version has the processes that it needs, and nothing else keeps one.

A process that died is replaced, with a growing pause. One whose candidate never got ready ends the rollout, with the
process's own last words. A warm version that doesn't start is given up, and the stable gets a second process instead.
A process that isn't needed any more leaves: nothing new is sent to it, and it is asked to end once the proxy has
forgotten it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog

from services.chassis import telemetry
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.leases import Lease, Leases
from services.deployer.domain.deployment import Role
from services.deployer.domain.rollout import State
from services.deployer.domain.servers import Needed, Version, servers_needed
from services.deployer.handlers import going_back, rollouts
from services.deployer.jobs import whenever_woken
from services.deployer.router import Router
from services.deployer.runtimes import Endpoint, Runtime
from services.deployer.store import DeployerUnitOfWork

_IDLE: Final = timedelta(milliseconds=500)  # the longest that a dead process goes unnoticed
_BUSY: Final = timedelta(milliseconds=100)
_PAUSE_FIRST: Final = timedelta(milliseconds=500)
_PAUSE_LAST: Final = timedelta(seconds=30)
_DOUBLINGS: Final = 6
_GIVES_UP: Final = 3  # deaths in a row before a version is nothing to go back to any more
_MAY_DRAIN: Final = timedelta(seconds=30)  # a model server takes at most two drains of ten seconds
_log = structlog.get_logger()


class ServersJob:
    """Keeps server processes as they should be.

    Args:
        database: What was decided, and which processes there are.
        leases: One deployer at a time starts processes.
        runtime: Where they run.
        router: Says which versions may still get requests.
        clock: Measures pauses.
    """

    def __init__(
        self,
        database: Database[DeployerUnitOfWork],
        leases: Leases,
        runtime: Runtime,
        router: Router,
        *,
        clock: Clock,
    ) -> None:
        self._database = database
        self._leases = leases
        self._runtime = runtime
        self._router = router
        self._clock = clock
        self._not_before: dict[Version, float] = {}
        self._asked_to_end: dict[UUID, float] = {}

    async def run(self) -> None:
        """Work for ever, whenever the lease is ours."""
        work = whenever_woken(self._database, "servers", self.round, idle=_IDLE, busy=_BUSY)
        await self._leases.run("servers", work)

    async def round(self, lease: Lease) -> bool:
        """Look at every process once; True where one isn't as it should be."""
        async with self._database.read() as connection:
            uow = DeployerUnitOfWork(connection, source="", clock=self._clock)
            lent = await uow.endpoints.lent(self._clock.now())
            needed = servers_needed(await uow.deployments.all(), lent)
            endpoints = await uow.endpoints.all()
            pending = {entry.place for entry in await uow.history.pending()}
        staying, surplus = sorted_out(endpoints, needed)
        unfinished = bool(surplus)
        for endpoint in surplus:
            await self._leave(endpoint, lease)
        for endpoint in (one for one in endpoints if one.leaving):
            unfinished |= await self._end(endpoint, lease)
        for endpoint in (one for group in staying.values() for one in group):
            unfinished |= await self._tend(endpoint, lease)
        for version, wanted in needed.items():
            missing = wanted.count - len(staying[version])
            unfinished |= missing > 0
            # What was decided takes effect first: a second server helps nobody then, and starting one takes seconds of
            # the machine.
            if missing and not (staying[version] and version[0] in pending):
                await self._begin(version, wanted.role, lease)
        return unfinished

    async def _leave(self, endpoint: Endpoint, lease: Lease) -> None:
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            await uow.endpoints.leave(endpoint.id)

    async def _begin(self, version: Version, role: Role, lease: Lease) -> None:
        if self._clock.monotonic() < self._not_before.get(version, 0.0):
            return
        place, number = version
        endpoint = Endpoint(uuid4(), place, number, role.digest, self._runtime.free_address())
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            await uow.endpoints.add(endpoint)
        await self._start(endpoint, lease)

    async def _take_up(self, endpoint: Endpoint, lease: Lease) -> None:
        """A start was interrupted: the process may be there."""
        process = await asyncio.to_thread(self._runtime.find, endpoint)
        if process is None:
            await self._start(endpoint, lease)
            return
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            await uow.endpoints.started(endpoint.id, process)

    async def _start(self, endpoint: Endpoint, lease: Lease) -> None:
        async with self._database.begin() as uow:
            known = await uow.versions.get(endpoint.place, endpoint.version)
            active = await uow.rollouts.active(endpoint.place)
        told = replace(endpoint, environment_digest=known.environment_digest, features=known.features)
        parent = active.traceparent if active is not None else ""
        with telemetry.span("start model server", parent=parent, attributes={"version": endpoint.version}):
            process = await asyncio.to_thread(self._runtime.start, told)
            async with self._database.begin() as uow:
                await lease.check(uow.connection)
                await uow.endpoints.started(endpoint.id, process)
        _log.info("started a model server", deployment=str(endpoint.place), version=endpoint.version, pid=process.pid)

    async def _tend(self, endpoint: Endpoint, lease: Lease) -> bool:
        if endpoint.process is None:
            await self._take_up(endpoint, lease)
            return True
        if not self._runtime.alive(endpoint):
            await self._replace(endpoint, lease)
            return True
        if endpoint.ready:
            return False
        if await self._runtime.answers_ready(endpoint):
            async with self._database.begin() as uow:
                await lease.check(uow.connection)
                await uow.endpoints.answers(endpoint)
        return True

    async def _replace(self, endpoint: Endpoint, lease: Lease) -> None:
        version = (endpoint.place, endpoint.version)
        words = self._runtime.last_words(endpoint)
        _log.warning("a model server died", deployment=str(endpoint.place), version=endpoint.version, reason=words)
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            deaths = await uow.endpoints.died(endpoint, words)
            pause = min(_PAUSE_FIRST * 2 ** min(deaths - 1, _DOUBLINGS), _PAUSE_LAST)
            self._not_before[version] = self._clock.monotonic() + pause.total_seconds()
            if deaths >= _GIVES_UP and not any(one.ready for one in await uow.endpoints.of(*version)):
                await going_back.give_up_version(*version, uow)
            active = await uow.rollouts.active(endpoint.place)
            if (
                active is not None
                and active.rollout.version == endpoint.version
                and active.rollout.state is State.PROVISIONING
            ):
                reason = words or "its server ended while it started"
                with telemetry.span("end rollout", parent=active.traceparent):
                    await rollouts.fail_rollout(active.rollout.id, endpoint.place, reason, uow)

    async def _end(self, endpoint: Endpoint, lease: Lease) -> bool:
        if {endpoint.address.http, endpoint.address.grpc} & await self._router.known():
            return True
        if endpoint.process is None:  # its start was interrupted
            endpoint = replace(endpoint, process=await asyncio.to_thread(self._runtime.find, endpoint))
        if self._runtime.alive(endpoint):
            self._ask_to_end(endpoint)
            return True
        self._asked_to_end.pop(endpoint.id, None)
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            await uow.endpoints.remove(endpoint.id)
        return False

    def _ask_to_end(self, endpoint: Endpoint) -> None:
        asked_at = self._asked_to_end.get(endpoint.id)
        if asked_at is None:
            self._asked_to_end[endpoint.id] = self._clock.monotonic()
            self._runtime.stop(endpoint)
        elif self._clock.monotonic() - asked_at > _MAY_DRAIN.total_seconds():
            self._runtime.kill(endpoint)


def sorted_out(
    endpoints: Sequence[Endpoint], needed: Mapping[Version, Needed]
) -> tuple[Mapping[Version, list[Endpoint]], list[Endpoint]]:
    """The endpoints that stay, by version, those that answer and are oldest first; and those that are too many."""
    staying: defaultdict[Version, list[Endpoint]] = defaultdict(list)
    surplus: list[Endpoint] = []
    for endpoint in sorted((one for one in endpoints if not one.leaving), key=lambda one: not one.ready):
        version = (endpoint.place, endpoint.version)
        enough = version not in needed or len(staying[version]) == needed[version].count
        (surplus if enough else staying[version]).append(endpoint)
    return staying, surplus
