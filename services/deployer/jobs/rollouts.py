"""Rollouts: each takes its next step once its server is ready, a judge is satisfied, and governance says yes.

Advancing fails closed. No answer means stay; a "no" takes the candidate's traffic away. A step that comes to no
answer in the policy's time is held, and a person is asked. While a candidate gets a copy of the traffic, the monitor is
asked how its answers compare; it, too, is asked outside of any transaction and with a deadline. Rollouts are looked at
side by side, so that one slow answer delays no other model.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from services.chassis import telemetry
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.leases import Lease, Leases
from services.deployer.clients import Governance, Monitor, Registry, Servers
from services.deployer.domain.canary import Judgement, Word, judge, out_of_time
from services.deployer.domain.deployment import Deployment, Place, Role
from services.deployer.domain.rollout import WITH_TRAFFIC, Rollout, State, next_of
from services.deployer.domain.shadow import Disagreement, Passed, judge_answers, judge_step
from services.deployer.domain.traffic import Traffic
from services.deployer.handlers import holds, rollouts
from services.deployer.jobs import side_by_side, whenever_woken
from services.deployer.router import Counted, Router
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.rollouts import Kept, Progress

_IDLE: Final = timedelta(seconds=2)
_BUSY: Final = timedelta(milliseconds=250)  # how often a step is looked at
_ANSWER_WITHIN: Final = timedelta(seconds=2)  # the monitor reads one row
_log = structlog.get_logger()


class RolloutsJob:
    """Moves every rollout on.

    Args:
        database: What was decided.
        leases: One deployer at a time decides.
        router: Counts what the requests came to.
        governance: Says who may serve.
        registry: Says what a version is.
        monitor: Compares a mirrored candidate's answers with the stable's.
        servers: Model servers, to let them predict their registered example.
        clock: Measures steps.
    """

    def __init__(
        self,
        database: Database[DeployerUnitOfWork],
        leases: Leases,
        router: Router,
        *,
        governance: Governance,
        registry: Registry,
        monitor: Monitor,
        servers: Servers,
        clock: Clock,
    ) -> None:
        self._database = database
        self._leases = leases
        self._router = router
        self._governance = governance
        self._registry = registry
        self._monitor = monitor
        self._servers = servers
        self._clock = clock

    async def run(self) -> None:
        """Work for ever, whenever the lease is ours."""
        work = whenever_woken(self._database, "rollouts", self.round, idle=_IDLE, busy=_BUSY)
        await self._leases.run("rollouts", work)

    async def round(self, lease: Lease) -> bool:
        """Look at every rollout once; True where one goes on."""
        async with self._database.read() as connection:
            places = await DeployerUnitOfWork(connection, source="", clock=self._clock).rollouts.places()
        counted = await self._router.traffic() if places else {}
        await side_by_side(self._look_at(place, counted, lease) for place in places)
        return bool(places)

    async def _look_at(self, place: Place, counted: Counted, lease: Lease) -> None:
        async with self._database.begin() as uow:
            deployment = await uow.deployments.lock(place)
            opened = await uow.rollouts.open(place)
            settled = not await uow.history.is_pending(place)
        if deployment.hold is not None:
            return
        active = next((kept for kept in opened if kept.rollout.state is not State.ADMITTED), None)
        waiting = [kept for kept in opened if kept.rollout.state is State.ADMITTED]
        if active is None or active.rollout.state is State.PROVISIONING:
            chosen, _ = next_of([kept.rollout for kept in waiting])
            if chosen is not None:
                await self._begin(next(kept for kept in waiting if kept.rollout.id == chosen.id), lease)
                return
        if active is None:
            return
        if active.rollout.state is State.PROVISIONING:
            await self._provision(active, lease)
        elif settled and active.rollout.state in WITH_TRAFFIC:
            await self._judge(active, deployment, counted, lease)

    async def _begin(self, kept: Kept, lease: Lease) -> None:
        rollout = kept.rollout
        with telemetry.span("begin rollout", parent=kept.traceparent, attributes={"version": rollout.version}):
            try:
                known = await self._registry.version(rollout.place, rollout.version)
                admission = await self._governance.check(rollout.place, rollout.version, known.digest)
            except Unavailable:
                return
            except NotFound as error:
                await self._fail_when_late(kept, str(error), lease)
                return
            except (Invalid, Denied, Conflict) as error:
                await self._fail(kept, error.what, lease, fix=error.fix)
                return
            async with self._database.begin() as uow:
                await lease.check(uow.connection)
                if admission.admitted:
                    await rollouts.begin_rollout(rollout.id, replace(known, verdict_id=admission.verdict_id), uow)
                else:
                    fix = f"golden explain {rollout.place.model}@{rollout.version}"
                    reason = f"governance doesn't admit it: {admission.reason}"
                    await rollouts.fail_rollout(rollout.id, rollout.place, reason, uow, fix=fix)

    async def _provision(self, kept: Kept, lease: Lease) -> None:
        rollout = kept.rollout
        async with self._database.begin() as uow:
            endpoints = [one for one in await uow.endpoints.of(rollout.place, rollout.version) if one.ready]
            known = await uow.versions.get(rollout.place, rollout.version)
        if not endpoints:
            await self._fail_when_late(kept, "its server wasn't ready in time", lease)
            return
        with telemetry.span("give traffic", parent=kept.traceparent, attributes={"version": rollout.version}):
            try:
                await self._servers.check(rollout.place.model, endpoints[0].address, known.input_example)
            except Conflict as error:
                await self._fail(kept, f"it can't predict its registered example: {error.what}", lease)
                return
            except Unavailable as error:
                await self._fail_when_late(kept, str(error), lease)
                return
            admitted = await self._still_admitted(kept, lease)
            if admitted is not None:
                async with self._database.begin() as uow:
                    await lease.check(uow.connection)
                    await rollouts.give_traffic(rollout.id, rollout.place, uow)

    async def _judge(self, kept: Kept, deployment: Deployment, counted: Counted, lease: Lease) -> None:
        rollout, progress = kept.rollout, kept.progress
        candidate = counted.get((rollout.place, rollout.version), Traffic())
        stable_version = deployment.stable.version if deployment.stable else 0
        stable = counted.get((rollout.place, stable_version), Traffic())
        if progress.since is None:
            await self._note(rollout, Progress(self._clock.now(), candidate, stable), lease)
            return
        sample = candidate.since(progress.candidate)
        judgement, passed = _judged(rollout, sample, stable.since(progress.stable), progress.judged_at), progress.passed
        if rollout.state is State.SHADOW and deployment.candidate is not None:
            judgement, passed = await self._with_answers(kept, deployment.candidate, judgement)
        judged_at = sample.requests if judgement.looked else progress.judged_at
        await self._act(kept, judgement, replace(progress, judged_at=judged_at, passed=passed), lease)

    async def _with_answers(self, kept: Kept, candidate: Role, traffic: Judgement) -> tuple[Judgement, Passed]:
        rollout, passed = kept.rollout, kept.progress.passed
        found, answers = Disagreement(), Judgement(Word.INCONCLUSIVE, "the monitor gives no answer")
        with suppress(GoldenpathError):
            found = await self._monitor.disagreement(rollout.place, candidate, within=_ANSWER_WITHIN)
            answers = judge_answers(found, rollout.policy, judged_at=passed.judged_at)
        return judge_step(traffic, answers, passed, pairs=found.pairs)

    async def _act(self, kept: Kept, judgement: Judgement, progress: Progress, lease: Lease) -> None:
        rollout = kept.rollout
        elapsed = self._clock.now() - (progress.since or self._clock.now())
        if judgement.word is Word.INCONCLUSIVE and not out_of_time(judgement, elapsed, rollout.policy):
            if (judgement.sentence, progress) != (rollout.judgement, kept.progress):
                await self._note(replace(rollout, judgement=judgement.sentence), progress, lease)
            return
        with telemetry.span("judge rollout", parent=kept.traceparent, attributes={"word": judgement.word.value}):
            if judgement.word is Word.PASS:
                await self._advance(kept, judgement.sentence, lease)
                return
            async with self._database.begin() as uow:
                await lease.check(uow.connection)
                if judgement.word is Word.FAIL:
                    await rollouts.abort_rollout(rollout.id, rollout.place, judgement.sentence, uow)
                else:
                    reason = f"version {rollout.version} can't be judged: {judgement.sentence}"
                    await holds.hold(rollout.place, reason, uow)

    async def _advance(self, kept: Kept, sentence: str, lease: Lease) -> None:
        verdict_id = await self._still_admitted(kept, lease)
        if verdict_id is None:
            return
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            rollout = kept.rollout
            await rollouts.advance(rollout.id, rollout.place, sentence, uow, verdict_id=verdict_id)

    async def _still_admitted(self, kept: Kept, lease: Lease) -> str | None:
        """The verdict that allows more traffic; None where governance doesn't answer, or says no."""
        rollout = kept.rollout
        try:
            admission = await self._governance.check(rollout.place, rollout.version, rollout.digest)
        except GoldenpathError as error:
            _log.info("governance gives no answer, so it stays", version=rollout.version, reason=str(error))
            return None
        if admission.admitted:
            return admission.verdict_id
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            reason = f"governance no longer admits it: {admission.reason}"
            await rollouts.abort_rollout(rollout.id, rollout.place, reason, uow)
        return None

    async def _note(self, rollout: Rollout, progress: Progress, lease: Lease) -> None:
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            await uow.deployments.lock(rollout.place)
            standing = (await uow.rollouts.get(rollout.id)).rollout
            if (standing.state, standing.step) == (rollout.state, rollout.step):
                await uow.rollouts.note(rollout, progress)

    async def _fail_when_late(self, kept: Kept, reason: str, lease: Lease) -> None:
        if self._clock.now() - kept.changed_at > kept.rollout.policy.provisioning:
            await self._fail(kept, reason, lease)

    async def _fail(self, kept: Kept, reason: str, lease: Lease, *, fix: str = "") -> None:
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            await rollouts.fail_rollout(kept.rollout.id, kept.rollout.place, reason, uow, fix=fix)


def _judged(rollout: Rollout, candidate: Traffic, stable: Traffic, judged_at: int) -> Judgement:
    """The judge's word; an error of the judge is no word, and is tried again."""
    try:
        return judge(candidate, stable, rollout.policy, judged_at=judged_at)
    except (GoldenpathError, ArithmeticError, ValueError) as error:
        return Judgement(Word.INCONCLUSIVE, f"the judge can't tell: {error}")
