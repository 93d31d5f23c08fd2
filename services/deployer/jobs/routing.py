"""Routing: the proxy sends the traffic where it was decided, and only when it says so is a change in effect."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from services.chassis import instruments, telemetry
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.leases import Lease, Leases
from services.deployer import events
from services.deployer.domain.deployment import Place
from services.deployer.domain.routing import Address, Routing, routing_of
from services.deployer.jobs import whenever_woken
from services.deployer.router import Router
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.history import Entry

_IDLE: Final = timedelta(seconds=1)
_BUSY: Final = timedelta(milliseconds=50)
_log = structlog.get_logger()


class RoutingJob:
    """Renders what was decided into one proxy.

    Args:
        database: What was decided.
        leases: One deployer at a time writes a proxy.
        router: The proxy.
        name: The proxy's name.
        clock: For the rows' time.
    """

    def __init__(
        self, database: Database[DeployerUnitOfWork], leases: Leases, router: Router, *, name: str, clock: Clock
    ) -> None:
        self._database = database
        self._leases = leases
        self._router = router
        self._name = name
        self._clock = clock

    async def run(self) -> None:
        """Work for ever, whenever the proxy's lease is ours."""
        work = whenever_woken(self._database, "routing", self.round, idle=_IDLE, busy=_BUSY)
        await self._leases.run(f"proxy/{self._name}", work)

    async def round(self, lease: Lease) -> bool:
        """Make it so once; True where something isn't in effect yet."""
        async with self._database.read() as connection:
            uow = DeployerUnitOfWork(connection, source="", clock=self._clock)
            # In this order: what is read later is at least as new as the changes that it is to put into effect.
            pending = await uow.history.pending()
            routing = await self._routing(uow)
        shown = await self._router.apply(routing, token=lease.token)
        nowhere = {entry.place for entry in pending} - {route.place for route in routing.routes}
        due = [entry for entry in pending if entry.place in shown | nowhere]
        await self._take_effect(due, lease)
        leaving = await self._router.prune(routing, token=lease.token)
        return len(due) < len(pending) or leaving

    async def _routing(self, uow: DeployerUnitOfWork) -> Routing:
        ready: dict[tuple[Place, int], list[Address]] = {}
        for endpoint in await uow.endpoints.all():
            if endpoint.ready:
                ready.setdefault((endpoint.place, endpoint.version), []).append(endpoint.address)
        return routing_of(await uow.deployments.all(), ready)

    async def _take_effect(self, due: Sequence[Entry], lease: Lease) -> None:
        for entry in due:
            with telemetry.span("make effective", parent=entry.traceparent, attributes={"event": entry.type}):
                async with self._database.begin(actor=entry.actor) as uow:
                    await lease.check(uow.connection)
                    await events.take_effect(uow, entry)
                took = uow.now - entry.decided_at
            instruments.DEPLOYER_EFFECT_SECONDS.labels(entry.type).observe(took.total_seconds())
            _log.info(
                entry.sentence, deployment=str(entry.place), effective_after=f"{took.total_seconds() * 1000:.0f} ms"
            )
