"""What changes governance's state. Each runs in a unit of work that its edge opened, and commits nothing itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from services.chassis import instruments, telemetry
from services.chassis.errors import Conflict, Invalid, NotFound
from services.governance import events
from services.governance.case_store import Judged
from services.governance.clients import FactSource
from services.governance.domain import policies, verdicts
from services.governance.domain.policies import Policy, policy_for
from services.governance.domain.served import Moment
from services.governance.domain.verdicts import Case, State, Verdict
from services.governance.store import GovernanceUnitOfWork

SHIPPED: Final = "goldenpath"  # who put a shipped policy there; one that a person changed is left alone
_LONGEST_WORDS: Final = 4_000  # characters of a reviewer's comment
_log = structlog.get_logger()


async def look_at_version(model: str, version: int, uow: GovernanceUnitOfWork, registry: FactSource) -> Verdict:
    """Ask for a version's facts as they are now, and judge them."""
    telemetry.about(model, version)
    uow.actor = ""  # rules judge here, nobody acts; what an event claims of its actor is not passed on
    before = await uow.cases.lock(model, version)
    facts = await registry.facts(model, version)
    case = verdicts.learn(before.case if before else None, facts, at=uow.now)
    return await _settle(case, before.verdict if before else None, uow)


async def look_again_at_users_of(dataset: str, version: int, uow: GovernanceUnitOfWork) -> None:
    """A dataset or its datasheet changed: whatever was made from it is looked at again, by the job."""
    await uow.cases.look_again_at_users_of(f"{dataset}@{version}")


async def decide(
    model: str, version: int, uow: GovernanceUnitOfWork, *, granted: bool, comment: str, artifact_digest: str = ""
) -> Verdict:
    """Take a reviewer's yes or no.

    Raises:
        NotFound: nobody asked for a verdict about that version.
        Denied: the reviewer registered it.
        Conflict: it waits for nobody, or its bytes aren't those that the reviewer saw.
    """
    telemetry.about(model, version)
    before = _known(await uow.cases.lock(model, version), model, version)
    if artifact_digest and artifact_digest != before.case.facts.artifact_digest:
        raise Conflict(f"{model}@{version} has other bytes", where="artifact_digest", fix="look at it again")
    said = _words(comment, "comment", required=not granted)
    case = verdicts.decide(before.case, before.verdict, reviewer=uow.actor, granted=granted, comment=said, at=uow.now)
    if case is not before.case:
        events.tell_decision(uow, model, version, case.decisions[-1])
    return await _settle(case, before.verdict, uow)


async def revoke(model: str, version: int, uow: GovernanceUnitOfWork, *, reason: str) -> Verdict:
    """Take an approval back, for good.

    Raises:
        NotFound: nobody asked for a verdict about that version.
        Conflict: it was never approved.
    """
    telemetry.about(model, version)
    before = _known(await uow.cases.lock(model, version), model, version)
    case = verdicts.revoke(before.case, by=uow.actor, reason=_words(reason, "reason", required=True), at=uow.now)
    verdict = await _settle(case, before.verdict, uow)
    if case is not before.case and case.revocation is not None:
        events.tell_revocation(uow, verdict, case.revocation)
    return verdict


async def apply_policy(text: str, uow: GovernanceUnitOfWork) -> tuple[Policy, bool]:
    """Let a policy stand from now on, and whether that changed anything; versions are judged anew by the job.

    Raises:
        Invalid: it isn't a policy, or an expression in it doesn't compile.
    """
    policy = policies.parse(text)
    await uow.policies.lock()
    standing = await uow.policies.get(policy.name)
    if standing and standing[0].digest == policy.digest:
        return standing[0], False
    await uow.policies.put(policy, by=uow.actor, at=uow.now)
    previous = standing[0].digest if standing else ""
    events.tell_policy(uow, policy, previous_digest=previous, by=uow.actor)
    return policy, True


async def ship_policy(text: str, uow: GovernanceUnitOfWork) -> None:
    """Put a shipped policy in place, unless a person has put another one of its name there."""
    standing = await uow.policies.get(policies.parse(text).name)
    if standing is None or standing[1] == SHIPPED:
        await apply_policy(text, uow)


async def note_moment(moment: Moment, uow: GovernanceUnitOfWork) -> None:
    """Remember what had traffic from a moment on."""
    telemetry.about(moment.model, moment.candidate_version or moment.stable_version)
    await uow.moments.add(moment)


async def forget_what_served(uow: GovernanceUnitOfWork) -> None:
    """Forget the read model, what served when: a rebuild tells it again. Verdicts and the log are governance's own."""
    await uow.moments.forget()


async def _settle(case: Case, before: Verdict | None, uow: GovernanceUnitOfWork) -> Verdict:
    revision, standing = await uow.policies.standing()
    verdict = verdicts.judge(case, policy_for(case.facts, standing), at=uow.now)
    if before is not None and before.id == verdict.id:
        verdict = before  # the same judgement as before was given when it was given
    case = replace(case, approved_once=case.approved_once or verdict.state is State.APPROVED)
    await uow.cases.save(case, verdict, policies_revision=revision)
    if verdicts.is_news(verdict, before):
        events.tell_verdict(uow, verdict)
        instruments.GOVERNANCE_VERDICTS.labels(verdict.state.value).inc()
        _log.info(verdicts.summary(verdict), findings=[row.finding for row in verdict.open_rows])
    return verdict


def _known(judged: Judged | None, model: str, version: int) -> Judged:
    if judged is None:
        raise NotFound(f"nobody has judged {model}@{version}", fix=f"golden register, then  golden explain {model}")
    return judged


def _words(text: str, where: str, *, required: bool) -> str:
    words = text.replace("\x00", "").strip()
    if required and not words:
        raise Invalid("say why", where=where)
    if len(words) > _LONGEST_WORDS:
        raise Invalid(f"longer than {_LONGEST_WORDS} characters", where=where)
    return words
