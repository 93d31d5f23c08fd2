"""Proof: what served at a moment, who allowed it, on what evidence, and that nobody changed the record since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from golden.commands.approvals import show_verdict
from golden.output import Json, as_dict, console, escape, moment, print_json
from golden.references import model_of
from golden.references import moment as read_moment
from golden.session import connect
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.errors import Conflict
from services.governance.domain import merkle
from services.governance.domain.entries import Entry

if TYPE_CHECKING:
    from goldenpath.governance.v1 import governance_service_pb2_grpc as governance_grpc

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
At = Annotated[str, typer.Option("--at", help="The moment: now, or ISO 8601 such as 2026-11-23T14:05:00.")]
Why = Annotated[bool, typer.Option("--why", help="Show digests, log indexes and the proof.")]


def audit(model: Model, *, at: At = "now", env: str = "production", why: Why = False, json: Json = False) -> None:
    """Show what served at a moment, who allowed it, on what evidence, and check the proof here."""
    stamp = Timestamp()
    stamp.FromDatetime(read_moment(at))
    asked = governance.GetServedAtRequest(model=model_of(model), environment=env, at=stamp)
    service = connect().governance
    answer = service.GetServedAt(asked)
    proofs = [_proved(service, served.log_index) for served in answer.served]
    if json:
        print_json(as_dict(answer) | {"proved": len(proofs) == len(answer.served)})
        return
    if not answer.served:
        console.print(f"Nothing of {model} served in {escape(env)} at {moment(answer.at)}.")
        return
    for served, proof in zip(answer.served, proofs, strict=True):
        console.print(
            f"[bold]{model}@{served.version}[/bold]   {served.role}   {served.weight} %   epoch {served.epoch}"
            f"   since {moment(served.since)}   [green]proof ok[/green]"
        )
        show_verdict(served.verdict, "", why=why)
        if why:
            console.print(
                f"  [dim]log entry {served.log_index} of {proof.head.size}, root {proof.head.root.hex()}[/dim]"
            )


def _proved(service: governance_grpc.GovernanceServiceStub, index: int) -> governance.GetInclusionProofResponse:
    """Fetch an entry's proof, and check it here: the service isn't taken at its word.

    Raises:
        Conflict: the proof doesn't hold; the log was changed, or the answer was.
    """
    proof = service.GetInclusionProof(governance.GetInclusionProofRequest(index=index))
    entry = proof.entry
    leaf = Entry(
        entry.topic,
        entry.partition,
        entry.offset,
        entry.event_id,
        entry.event_type,
        entry.subject,
        entry.content_hash,
    ).leaf_hash
    if entry.index != index or not merkle.is_included(
        leaf, entry.index, proof.head.size, list(proof.path), proof.head.root
    ):
        raise Conflict(
            f"the proof of log entry {index} doesn't hold", fix="keep the answer and call whoever runs the log"
        )
    return proof
