"""What governance emits, and how its words turn into the contract's."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.governance.v1 import events_pb2 as pb
from services.chassis.database import UnitOfWork
from services.chassis.topics import GOVERNANCE
from services.governance.domain.policies import Evidence, Outcome, Policy
from services.governance.domain.verdicts import Decision, Revocation, State, Verdict

_STATES: Final = {
    State.APPROVED: pb.VERDICT_STATE_APPROVED,
    State.REJECTED: pb.VERDICT_STATE_REJECTED,
    State.WAITING: pb.VERDICT_STATE_WAITING,
    State.REVOKED: pb.VERDICT_STATE_REVOKED,
}
_OUTCOMES: Final = {
    Outcome.PASSED: pb.OUTCOME_PASSED,
    Outcome.FAILED: pb.OUTCOME_FAILED,
    Outcome.UNKNOWN: pb.OUTCOME_FAILED,  # its finding says that it can't be judged
    Outcome.WAITING: pb.OUTCOME_WAITING,
}


def tell_verdict(uow: UnitOfWork, verdict: Verdict) -> None:
    """Tell a verdict; that of a revoked version is told by `tell_revocation` alone."""
    subject, body = f"model/{verdict.model}", verdict_message(verdict)
    match verdict.state:
        case State.APPROVED:
            uow.emit(GOVERNANCE, "model.approved", subject, pb.ModelApproved(verdict=body))
        case State.REJECTED:
            uow.emit(GOVERNANCE, "model.rejected", subject, pb.ModelRejected(verdict=body))
        case State.WAITING:
            asked = pb.ApprovalRequested(verdict=body, reviewers_needed=verdict.reviewers_needed)
            uow.emit(GOVERNANCE, "approval.requested", subject, asked)
        case State.REVOKED:
            return


def tell_decision(uow: UnitOfWork, model: str, version: int, said: Decision) -> None:
    """Tell a reviewer's yes or no."""
    subject, approval = f"model/{model}", approval_message(said)
    if said.granted:
        body = pb.ApprovalGranted(model=model, version=version, approval=approval)
        uow.emit(GOVERNANCE, "approval.granted", subject, body)
    else:
        denied = pb.ApprovalDenied(model=model, version=version, approval=approval)
        uow.emit(GOVERNANCE, "approval.denied", subject, denied)


def tell_revocation(uow: UnitOfWork, verdict: Verdict, revocation: Revocation) -> None:
    """Tell that an approved version may not serve any longer."""
    body = pb.ApprovalRevoked(
        model=verdict.model,
        version=verdict.version,
        artifact_digest=verdict.artifact_digest,
        revoked_by=revocation.by,
        reason=revocation.reason,
        at=timestamp_of(revocation.at),
    )
    uow.emit(GOVERNANCE, "approval.revoked", f"model/{verdict.model}", body)


def tell_policy(uow: UnitOfWork, policy: Policy, *, previous_digest: str, by: str) -> None:
    """Tell that versions are judged by another policy from now on."""
    body = pb.PolicyChanged(policy=policy.name, digest=policy.digest, previous_digest=previous_digest, changed_by=by)
    uow.emit(GOVERNANCE, "policy.changed", f"policy/{policy.name}", body)


def verdict_message(verdict: Verdict) -> pb.Verdict:
    """A verdict, as the contract has it."""
    return pb.Verdict(
        id=verdict.id,
        model=verdict.model,
        version=verdict.version,
        state=_STATES[verdict.state],
        artifact_digest=verdict.artifact_digest,
        policy=verdict.policy,
        policy_digest=verdict.policy_digest,
        facts_revision=verdict.facts_revision,
        evidence=[_evidence_message(row) for row in verdict.evidence],
        approvals=[approval_message(said) for said in verdict.approvals],
        requested_at=timestamp_of(verdict.requested_at),
        decided_at=timestamp_of(verdict.decided_at),
        registered_by=verdict.registered_by,
        registered_by_verified=verdict.registered_by_verified,
    )


def approval_message(said: Decision) -> pb.Approval:
    """A reviewer's word, as the contract has it."""
    return pb.Approval(reviewer=said.reviewer, granted=said.granted, comment=said.comment, at=timestamp_of(said.at))


def timestamp_of(moment: datetime) -> Timestamp:
    """A moment, as the contract has it."""
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def _evidence_message(row: Evidence) -> pb.Evidence:
    return pb.Evidence(
        rule=row.rule, outcome=_OUTCOMES[row.outcome], finding=row.finding, fix=row.fix, missing=row.missing
    )
