"""Judging: what is missing, and who says yes, no, or no longer."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from golden.output import Json, console, escape, moment, print_json, table
from golden.references import is_record, reference
from golden.session import connect
from goldenpath.governance.v1 import events_pb2 as events
from goldenpath.governance.v1 import governance_service_pb2 as governance

_MARKS: Final = {
    events.OUTCOME_PASSED: "[green]✓[/green]",
    events.OUTCOME_FAILED: "[red]✗[/red]",
    events.OUTCOME_WAITING: "[yellow]…[/yellow]",
}
_STATES: Final = {
    events.VERDICT_STATE_APPROVED: "[green]approved[/green]",
    events.VERDICT_STATE_REJECTED: "[red]refused[/red]",
    events.VERDICT_STATE_WAITING: "[yellow]waits for a reviewer[/yellow]",
    events.VERDICT_STATE_REVOKED: "[red]revoked[/red]",
}
Version = Annotated[str, typer.Argument(metavar="MODEL[@N]", help="A model, or one of its versions.")]
What = Annotated[
    str, typer.Argument(metavar="MODEL[@N]|RECORD", help="A model, one of its versions, or a record by its id.")
]
Why = Annotated[bool, typer.Option("--why", help="Show digests, policies and every rule.")]


def explain(what: What, *, why: Why = False, json: Json = False) -> None:
    """Say what governance thinks of a version, what is missing, and what to do; or why a record scored as it did."""
    if is_record(what):
        from golden.commands.records import explain_record

        explain_record(what, json=json)
        return
    asked = reference(what)
    answer = connect().governance.Explain(governance.ExplainRequest(model=asked.model, version=asked.version))
    if json:
        print_json(answer)
        return
    show_verdict(answer.verdict, answer.summary, why=why)


def show_verdict(verdict: events.Verdict, summary: str, *, why: bool = False) -> None:
    """Print a verdict: what failed and waits, or with `why` every rule and what it is bound to."""
    said = f"  {escape(summary)}" if summary else ""
    console.print(f"{verdict.model}@{verdict.version}  {_STATES.get(verdict.state, 'not judged')}{said}")
    shown = [row for row in verdict.evidence if why or row.outcome != events.OUTCOME_PASSED]
    if shown:
        console.print()
    for row in shown:
        console.print(f"  {_MARKS.get(row.outcome, '?')} [bold]{row.rule:<22}[/bold] {escape(row.finding)}")
        if row.fix:
            console.print(f"    {'':<22} [dim]{escape(row.fix)}[/dim]")
    for approval in verdict.approvals:
        word = "yes" if approval.granted else "no"
        why_so = escape(approval.comment or "-")
        console.print(f"\n  {escape(approval.reviewer)} said {word} at {moment(approval.at)}: {why_so}")
    if why:
        console.print(f"\n  [dim]bytes   {verdict.artifact_digest}[/dim]")
        console.print(f"  [dim]policy  {verdict.policy} {verdict.policy_digest}  facts {verdict.facts_revision}[/dim]")


def approve(
    version: Version,
    *,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why, in your words.")] = "",
    json: Json = False,
) -> None:
    """Say yes to a version that waits. Nobody approves what they registered."""
    asked = reference(version)
    request = governance.ApproveRequest(model=asked.model, version=asked.version, comment=comment)
    _answer(connect().governance.Approve(request).verdict, json=json)


def deny(
    version: Version,
    *,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why, in your words.")],
    json: Json = False,
) -> None:
    """Say no to a version that waits."""
    asked = reference(version)
    request = governance.DenyRequest(model=asked.model, version=asked.version, comment=comment)
    _answer(connect().governance.Deny(request).verdict, json=json)


def revoke(
    version: Version,
    *,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, in your words.")],
    json: Json = False,
) -> None:
    """Take an approval back: a candidate loses its traffic, a stable version is held or taken back."""
    asked = reference(version)
    request = governance.RevokeRequest(model=asked.model, version=asked.version, reason=reason)
    _answer(connect().governance.Revoke(request).verdict, json=json)


def waiting(*, json: Json = False) -> None:
    """List the versions that wait for a reviewer, oldest first."""
    answer = connect().governance.ListWaiting(governance.ListWaitingRequest())
    if json:
        print_json(answer)
        return
    if not answer.verdicts:
        console.print("Nothing waits.")
        return
    rows = [(f"{v.model}@{v.version}", v.registered_by, moment(v.requested_at)) for v in answer.verdicts]
    table("version", "registered by", "waits since", rows=rows)


def _answer(verdict: events.Verdict, *, json: bool) -> None:
    if json:
        print_json(verdict)
    else:
        show_verdict(verdict, "")
