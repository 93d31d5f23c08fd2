"""The guard after a promotion: where units stay with the version before, the two are compared for as long as it serves.

It acts on the stable, so it waits while the deployment is held, while a candidate is under way, and until what was
decided is in effect. What it finds then counts all that came meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from services.chassis import telemetry
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.leases import Lease, Leases
from services.deployer.domain.canary import Word
from services.deployer.domain.deployment import Deployment, Place
from services.deployer.domain.guard import Watched, look_at
from services.deployer.domain.traffic import Traffic
from services.deployer.handlers import going_back
from services.deployer.jobs import whenever_woken
from services.deployer.router import Router
from services.deployer.store import DeployerUnitOfWork

_IDLE: Final = timedelta(seconds=2)
Counted = Mapping[tuple[Place, int], Traffic]


class GuardJob:
    """Compares every stable with its holdback.

    Args:
        database: What was decided, and how far it was guarded.
        leases: One deployer at a time decides.
        router: Counts what the requests came to.
        clock: For the rows' time.
    """

    def __init__(self, database: Database[DeployerUnitOfWork], leases: Leases, router: Router, *, clock: Clock) -> None:
        self._database = database
        self._leases = leases
        self._router = router
        self._clock = clock

    async def run(self) -> None:
        """Work for ever, whenever the lease is ours."""
        work = whenever_woken(self._database, "guard", self.round, idle=_IDLE, busy=_IDLE)
        await self._leases.run("guard", work)

    async def round(self, lease: Lease) -> bool:
        """Look at every promotion that has a holdback; there is always a next time."""
        async with self._database.read() as connection:
            deployments = await DeployerUnitOfWork(connection, source="", clock=self._clock).deployments.all()
        held_back = [one for one in deployments if one.held_back and one.hold is None and one.candidate is None]
        counted = await self._router.traffic() if held_back else {}
        for deployment in held_back:
            await self._look_at(deployment, counted, lease)
        return False

    async def _look_at(self, seen: Deployment, counted: Counted, lease: Lease) -> None:
        place, stable, warm = seen.place, seen.stable, seen.warm
        if stable is None or warm is None:
            return
        now, before = (counted.get((place, role.version), Traffic()) for role in (stable, warm))
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            if await uow.history.is_pending(place):
                return
            watched = await uow.guards.get(place, stable.epoch)
            if watched is None:
                await uow.guards.put(place, Watched(stable.epoch, 0, now, before))
                return
            policy = (await uow.versions.get(place, stable.version)).policy
            word = look_at(now.since(watched.stable), before.since(watched.holdback), policy, look=watched.look)
            if word is None:
                return
            if word.word is not Word.FAIL:
                await uow.guards.put(place, Watched(stable.epoch, watched.look + 1, now, before))
                return
            with telemetry.span("guard", attributes={"version": stable.version}):
                telemetry.about(place.model, stable.version)
                await going_back.leave_for_holdback(seen, word.sentence, uow)
