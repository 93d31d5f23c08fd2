"""The guard after a promotion: what a stable serves is counted, and compared with the version before it.

What it has served makes a version one to go back to. Where units stay with the version before, the two are compared for
as long as it serves. What is found acts on the stable, so it waits while the deployment is held, while a candidate is
under way, and until what was decided is in effect; then all that came meanwhile counts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from services.chassis import telemetry
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.leases import Lease, Leases
from services.deployer.domain.canary import Word
from services.deployer.domain.deployment import Deployment
from services.deployer.domain.guard import Watched, look_at
from services.deployer.domain.traffic import Traffic
from services.deployer.handlers import going_back
from services.deployer.jobs import now_and_then
from services.deployer.router import Counted, Router
from services.deployer.store import DeployerUnitOfWork

_EVERY: Final = timedelta(seconds=1)  # what a stay served in its last second isn't counted


class GuardJob:
    """Counts what every stable serves, and compares it with its holdback.

    Args:
        database: What was decided, and how far it was guarded.
        leases: One deployer at a time decides.
        router: Counts what the requests came to.
        clock: Paces it.
    """

    def __init__(self, database: Database[DeployerUnitOfWork], leases: Leases, router: Router, *, clock: Clock) -> None:
        self._database = database
        self._leases = leases
        self._router = router
        self._clock = clock

    async def run(self) -> None:
        """Work for ever, whenever the lease is ours."""
        await self._leases.run("guard", now_and_then("guard", self.round, every=_EVERY, clock=self._clock))

    async def round(self, lease: Lease) -> bool:
        """Count, and look at every promotion that has a holdback; there is always a next time."""
        counted = await self._router.traffic()
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            deployments = await uow.deployments.all()
            stables = [(one.place, one.stable) for one in deployments if one.stable is not None]
            await uow.stays.count(
                [(place, role, counted.get((place, role.version), Traffic()).requests) for place, role in stables]
            )
        for deployment in deployments:
            if deployment.held_back and deployment.hold is None and deployment.candidate is None:
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
