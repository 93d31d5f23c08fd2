"""Judging and proving: explain, approve, deny, revoke, waiting, audit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.governance.v1 import events_pb2 as events
from goldenpath.governance.v1 import governance_service_pb2 as pb
from services.chassis.errors import Denied
from services.governance.domain import merkle
from services.governance.domain.entries import Entry

VERDICT = events.Verdict(
    model="credit",
    version=2,
    state=events.VERDICT_STATE_REJECTED,
    artifact_digest="ab" * 32,
    policy="default",
    registered_by="ada",
    evidence=[
        events.Evidence(rule="owner-named", outcome=events.OUTCOME_PASSED, finding="ada"),
        events.Evidence(
            rule="dataset-documented",
            outcome=events.OUTCOME_FAILED,
            finding="no answer for [known gaps]",
            fix="write it in data/datasheet.md",
        ),
    ],
    approvals=[events.Approval(reviewer="grace", granted=False, comment="[why] so?")],
)
ENTRY = Entry("deployer.events", 0, 7, "e-1", "deployment.promoted", "model/credit", b"\x01" * 32)


def test_explain_shows_what_failed_and_what_to_do(platform: Any, golden: Any) -> None:
    platform.answers["Explain"] = pb.ExplainResponse(verdict=VERDICT, summary="1 of 2 rules failed")
    ended = golden("explain", "credit@2")
    assert "credit@2  refused  1 of 2 rules failed" in ended.out
    assert "no answer for [known gaps]" in ended.out
    assert "write it in data/datasheet.md" in ended.out
    assert "grace said no at -: [why] so?" in ended.out
    assert "owner-named" not in ended.out
    assert golden("explain", "credit@2", "--json").json["verdict"]["state"] == "VERDICT_STATE_REJECTED"


def test_explain_why_shows_every_rule_and_the_digests(platform: Any, golden: Any) -> None:
    platform.answers["Explain"] = pb.ExplainResponse(verdict=VERDICT)
    ended = golden("explain", "credit@2", "--why")
    assert "owner-named" in ended.out
    assert "ab" * 32 in ended.out


@pytest.mark.parametrize(
    ("method", "words", "field"),
    [
        ("Approve", ["approve", "credit@2", "-m", "fine"], "comment"),
        ("Deny", ["deny", "credit@2", "-m", "fine"], "comment"),
        ("Revoke", ["revoke", "credit@2", "-m", "fine"], "reason"),
    ],
)
def test_a_reviewer_s_word_reaches_governance(
    platform: Any, golden: Any, method: str, words: list[str], field: str
) -> None:
    platform.answers[method] = getattr(pb, f"{method}Response")(verdict=VERDICT)
    assert "credit@2  refused" in golden(*words).out
    assert getattr(platform.request(method), field) == "fine"
    assert golden(*words, "--json").json["version"] == 2


def test_who_may_not_approve_is_told(platform: Any, golden: Any) -> None:
    platform.answers["Approve"] = Denied("ada registered it", where="credit@2", fix="ask another reviewer")
    ended = golden("approve", "credit@2")
    assert (ended.status, ended.err) == (1, "✗ credit@2: ada registered it\n  to do: ask another reviewer\n")


def test_waiting_is_a_list_or_says_that_nothing_waits(platform: Any, golden: Any) -> None:
    platform.answers["ListWaiting"] = pb.ListWaitingResponse()
    assert golden("waiting").out == "Nothing waits.\n"
    platform.answers["ListWaiting"] = pb.ListWaitingResponse(verdicts=[VERDICT])
    assert "credit@2" in golden("waiting").out
    assert golden("waiting", "--json").json["verdicts"][0]["registered_by"] == "ada"


@pytest.fixture
def logged(platform: Any) -> Any:
    """A log of three entries, of which the middle one is what serves."""
    leaves = [merkle.leaf_hash(b"first"), ENTRY.leaf_hash, merkle.leaf_hash(b"last")]
    pair = merkle.node_hash(leaves[0], leaves[1])
    head = pb.LogHead(size=3, root=merkle.node_hash(pair, leaves[2]))
    since = Timestamp()
    since.FromDatetime(datetime(2026, 11, 23, 14, tzinfo=UTC))
    served = pb.Served(version=2, role="stable", weight=100, epoch=5, since=since, verdict=VERDICT, log_index=1)
    platform.answers["GetServedAt"] = pb.GetServedAtResponse(at=since, served=[served], head=head)
    entry = pb.LogEntry(
        index=1, topic=ENTRY.topic, offset=7, event_id="e-1", subject=ENTRY.subject, content_hash=ENTRY.content_hash
    )
    path = [leaves[0], leaves[2]]
    platform.answers["GetInclusionProof"] = pb.GetInclusionProofResponse(entry=entry, head=head, path=path)
    return platform


def test_an_audit_shows_what_served_and_checks_the_proof(logged: Any, golden: Any) -> None:
    ended = golden("audit", "credit", "--at", "2026-11-23T14:05:00+00:00", "--why")
    assert ended.status == 0, ended.err
    assert "credit@2   stable   100 %   epoch 5" in ended.out
    assert "proof ok" in ended.out
    assert "log entry 1 of 3" in ended.out
    assert logged.request("GetServedAt").at.ToDatetime(UTC) == datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
    assert golden("audit", "credit", "--json").json["proved"] is True


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda proof: proof.entry.MergeFrom(pb.LogEntry(event_id="e-2")), id="another event"),
        pytest.param(lambda proof: proof.entry.MergeFrom(pb.LogEntry(content_hash=b"x" * 32)), id="other content"),
        pytest.param(lambda proof: proof.path.reverse(), id="another path"),
        pytest.param(lambda proof: proof.head.MergeFrom(pb.LogHead(root=b"x" * 32)), id="another root"),
        pytest.param(lambda proof: proof.entry.MergeFrom(pb.LogEntry(index=2)), id="another entry's proof"),
    ],
)
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_tampered_proof_ends_with_status_1_and_proves_nothing(
    logged: Any, golden: Any, tamper: Any, words: list[str]
) -> None:
    tamper(logged.answers["GetInclusionProof"])
    ended = golden("audit", "credit", *words)
    assert (ended.status, ended.out) == (1, "")
    assert "the proof of log entry 1 doesn't hold" in ended.err


def test_an_audit_of_a_moment_when_nothing_served_says_so(platform: Any, golden: Any) -> None:
    platform.answers["GetServedAt"] = pb.GetServedAtResponse()
    ended = golden("audit", "credit")
    assert (ended.status, ended.out) == (0, "Nothing of credit served in production at -.\n")


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01", ""])
def test_a_moment_that_is_none_is_refused(platform: Any, golden: Any, at: str) -> None:
    ended = golden("audit", "credit", "--at", at)
    assert ended.status == 1
    assert f"{at!r} is no moment" in ended.err
    assert platform.asked == []
