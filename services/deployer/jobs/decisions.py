"""Decisions: a signal is answered with the numbers that could be had in time.

About the candidate: it loses its traffic. About the stable: never beneath a rollout, so it waits for that to end, and
not while the deployment is held. Then the kept sample of affected records is replayed through the target's own warm
server and compared. The monitor and the target are asked outside of any transaction and with a deadline; without an
answer the model's policy decides.

A drift alarm can come after a hundred records, when hardly an outcome is known, and the scores' movement alone says
little about who is right. So a case stays open until losses tell, or its time (`answer_within`) is over. Losses are
looked at when the number of known outcomes has doubled, each look with half of the error that is left, so that looking
often doesn't decide (union bound).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from services.chassis import instruments, telemetry
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import GoldenpathError
from services.chassis.leases import Lease, Leases
from services.deployer.clients import Monitor, Servers
from services.deployer.domain.comparison import (
    Comparison,
    compare_costs,
    compare_losses,
    compare_shifts,
    confidence_of_look,
)
from services.deployer.domain.deployment import Arm, Deployment, Role
from services.deployer.domain.going_back import Outcome, Verb, decide
from services.deployer.handlers import going_back
from services.deployer.jobs import side_by_side, whenever_woken
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.decisions import Case
from services.deployer.store.versions import Known

_IDLE: Final = timedelta(seconds=1)
_LOOK_WITHIN: Final = timedelta(seconds=10)  # 2,000 records through a server of 6 ms a call, with room
_log = structlog.get_logger()


class DecisionsJob:
    """Answers signals.

    Args:
        database: Signals, and what is known of versions.
        leases: One deployer at a time decides.
        monitor: Has the sample of records.
        servers: Model servers, to replay it.
        clock: For the rows' time.
    """

    def __init__(
        self,
        database: Database[DeployerUnitOfWork],
        leases: Leases,
        *,
        monitor: Monitor,
        servers: Servers,
        clock: Clock,
    ) -> None:
        self._database = database
        self._leases = leases
        self._monitor = monitor
        self._servers = servers
        self._clock = clock
        self._looked: dict[UUID, int] = {}  # outcomes at the last look; a deployer that starts again may look once more

    async def run(self) -> None:
        """Work for ever, whenever the lease is ours."""
        work = whenever_woken(self._database, "decisions", self.round, idle=_IDLE, busy=_IDLE)
        await self._leases.run("decisions", work)

    async def round(self, lease: Lease) -> bool:
        """Answer every signal that can be answered now, side by side: one slow answer delays no other model."""
        async with self._database.read() as connection:
            cases = await DeployerUnitOfWork(connection, source="", clock=self._clock).decisions.waiting()
        await side_by_side(self._answer(case, lease) for case in cases)
        return bool(cases)

    async def _answer(self, case: Case, lease: Lease) -> None:
        async with self._database.read() as connection:
            uow = DeployerUnitOfWork(connection, source="", clock=self._clock)
            deployment = await uow.deployments.get(case.place)
        arm = deployment.arm_of(case.signal.version, case.signal.epoch)
        if arm is None:
            await self._settle(case, Outcome(Verb.IGNORE, "the version has left its role since"), deployment, lease)
        elif case.cleared:
            await self._settle(
                case, Outcome(Verb.IGNORE, "the signal cleared before it was decided"), deployment, lease
            )
        elif deployment.hold is not None:
            return  # it waits: nothing automatic happens
        elif arm is Arm.CANDIDATE:
            outcome = Outcome(Verb.ABORT, case.signal.sentence or "the monitor found trouble with the candidate")
            await self._settle(case, outcome, deployment, lease)
        elif deployment.candidate is None:
            await self._decide(case, deployment, lease)

    async def _decide(self, case: Case, deployment: Deployment, lease: Lease) -> None:
        with telemetry.continuing(case.traceparent):
            async with self._database.begin() as uow:
                target = await going_back.rollback_target(deployment, uow)
                known = await uow.versions.get(case.place, case.signal.version)
            comparison = None
            if target is not None and not deployment.went_back:
                in_time = self._clock.now() < case.received_at + known.policy.answer_within
                comparison = await self._compare(case, known, target, by_losses_only=in_time)
                if in_time and (comparison is None or not (comparison.helps or comparison.harms)):
                    return
        self._looked.pop(case.id, None)
        outcome = decide(case.signal, target, comparison, known.policy, went_back=deployment.went_back)
        with telemetry.span("decide", parent=case.traceparent, attributes={"signal": case.signal.id}) as span:
            telemetry.about(case.place.model, case.signal.version)
            span.set_attribute("verb", outcome.verb.value)
            await self._settle(case, outcome, deployment, lease)

    async def _settle(self, case: Case, outcome: Outcome, seen: Deployment, lease: Lease) -> None:
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            settled = await going_back.settle(case.id, outcome, seen, uow)
        if settled:
            waited = (uow.now - case.received_at).total_seconds()
            instruments.DEPLOYER_DECISION_SECONDS.labels(outcome.verb.value).observe(waited)
            _log.info(
                "decided",
                deployment=str(case.place),
                verb=outcome.verb.value,
                reason=outcome.reason,
                signal=case.signal.id,
            )

    async def _compare(self, case: Case, known: Known, target: Role, *, by_losses_only: bool) -> Comparison | None:
        """The numbers; None where they can't be had yet, or within a look's time."""
        try:
            async with asyncio.timeout(_LOOK_WITHIN.total_seconds()):
                return await self._numbers(case, known, target, by_losses_only=by_losses_only)
        except (GoldenpathError, TimeoutError) as error:
            _log.warning("nothing can be compared", signal=case.signal.id, reason=str(error) or "no answer in time")
            return None

    async def _numbers(self, case: Case, known: Known, target: Role, *, by_losses_only: bool) -> Comparison | None:
        async with self._database.begin() as uow:
            endpoints = [one for one in await uow.endpoints.of(case.place, target.version) if one.ready]
            other = await uow.versions.get(case.place, target.version)
        if not endpoints:
            return None
        sample = await self._monitor.sample(case.signal.id, within=_LOOK_WITHIN)
        outcomes = int((sample.outcomes == sample.outcomes).sum())  # NaN is not itself
        policy = known.policy
        enough = outcomes >= policy.minimum_outcomes
        if by_losses_only and not (enough and outcomes >= 2 * self._looked.get(case.id, 0)):
            return None
        self._looked[case.id] = outcomes
        scores = await self._servers.scores(case.place.model, endpoints[0].address, sample.columns)
        if enough:
            confidence = confidence_of_look(outcomes, policy.minimum_outcomes, policy.confidence)
            if sample.costs is not None:
                return compare_costs(sample.scores, scores, sample.costs, confidence=confidence)
            return compare_losses(sample.scores, scores, sample.outcomes, confidence=confidence)
        if known.reference is None or other.reference is None:
            return None
        return compare_shifts(sample.scores, scores, known.reference, other.reference, confidence=policy.confidence)
