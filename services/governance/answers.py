"""How both edges answer: governance's words turned into the contract's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from goldenpath.governance.v1 import governance_service_pb2 as pb
from services.governance.domain import verdicts
from services.governance.domain.merkle import Frontier
from services.governance.domain.verdicts import Verdict
from services.governance.events import timestamp_of, verdict_message
from services.governance.log_store import Logged
from services.governance.queries import Consistency, Inclusion, ServedShare


def explain_response(verdict: Verdict) -> pb.ExplainResponse:
    """A verdict, in words."""
    steps = [f"{row.rule}: {row.fix or row.finding}" for row in verdict.open_rows]
    return pb.ExplainResponse(verdict=verdict_message(verdict), summary=verdicts.summary(verdict), next_steps=steps)


def served_response(at: datetime, found: Sequence[ServedShare], head: Frontier) -> pb.GetServedAtResponse:
    """What served at a moment."""
    return pb.GetServedAtResponse(at=timestamp_of(at), served=map(_served_message, found), head=head_message(head))


def head_message(head: Frontier) -> pb.LogHead:
    """The log at a size."""
    return pb.LogHead(size=head.size, root=head.root)


def inclusion_response(proof: Inclusion) -> pb.GetInclusionProofResponse:
    """An entry with its proof."""
    return pb.GetInclusionProofResponse(
        entry=_entry_message(proof.logged), head=head_message(proof.head), path=proof.path
    )


def consistency_response(proof: Consistency) -> pb.GetConsistencyProofResponse:
    """Two heads with their proof."""
    return pb.GetConsistencyProofResponse(
        first=head_message(proof.first), second=head_message(proof.second), path=proof.path
    )


def _served_message(found: ServedShare) -> pb.Served:
    share = found.share
    return pb.Served(
        version=share.version,
        role=share.role,
        weight=share.weight,
        epoch=share.epoch,
        since=timestamp_of(share.began.effective_at),
        verdict=verdict_message(found.verdict) if found.verdict else None,
        log_index=found.log_index,
    )


def _entry_message(logged: Logged) -> pb.LogEntry:
    entry = logged.entry
    return pb.LogEntry(
        index=logged.index,
        topic=entry.topic,
        partition=entry.partition,
        offset=entry.offset,
        event_id=entry.event_id,
        event_type=entry.event_type,
        subject=entry.subject,
        content_hash=entry.content_hash,
        leaf_hash=logged.leaf_hash,
        appended_at=timestamp_of(logged.appended_at),
    )
