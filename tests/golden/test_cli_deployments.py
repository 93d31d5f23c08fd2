"""What serves, what comes, what was decided, and the hand on the lever."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from goldenpath.deployer.v1 import deployer_service_pb2 as pb
from goldenpath.deployer.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import Conflict, Denied, NotFound

POSITION = events.Position(
    model="credit", environment="production", epoch=5, stable_version=2, candidate_version=3, candidate_weight=25
)
DEPLOYMENT = pb.Deployment(
    position=POSITION,
    held=True,
    held_reason="education moved [by 0.3]",
    effective=True,
    rollout=pb.Rollout(version=3, state=pb.ROLLOUT_STATE_CANARY, judgement="412 of 500 requests"),
    url="http://127.0.0.1:9780/v2/models/credit/infer",
    warm_version=1,
    queued_version=4,
)
DECISION = events.Decision(
    verb=events.VERB_ROLL_BACK,
    reason="going back helps",
    comparison=events.Comparison(measure="log_loss", current_loss=0.167, target_loss=0.126, rows=4212),
)
VERBS = [
    pytest.param("Deploy", ["deploy", "credit@3"], {"version": 3}, id="deploy"),
    pytest.param("Promote", ["promote", "credit"], {}, id="promote"),
    pytest.param("Abort", ["abort", "credit", "-m", "slow"], {"reason": "slow"}, id="abort"),
    pytest.param("Hold", ["hold", "credit", "-m", "audit"], {"reason": "audit"}, id="hold"),
    pytest.param("Release", ["release", "credit", "--epoch", "5"], {"epoch": 5}, id="release"),
    pytest.param("Retire", ["retire", "credit", "--reason", "replaced"], {"reason": "replaced"}, id="retire"),
    pytest.param("RollBack", ["rollback", "credit@1", "-m", "bad"], {"version": 1, "reason": "bad"}, id="rollback"),
]


@pytest.mark.parametrize(("method", "words", "said"), VERBS)
def test_a_verb_reaches_the_deployer_and_shows_where_the_deployment_stands(
    platform: Any, golden: Any, method: str, words: list[str], said: dict[str, object]
) -> None:
    platform.answers[method] = getattr(pb, f"{method}Response")(deployment=DEPLOYMENT)

    ended = golden(*words, "--env", "staging")

    assert ended.status == 0, ended.err
    request = platform.request(method)
    assert (request.model, request.environment) == ("credit", "staging")
    assert {name: getattr(request, name) for name in said} == said
    assert "stable     version 2   75 %" in ended.out
    assert "candidate  version 3   25 %   canary   412 of 500 requests" in ended.out
    assert "warm       version 1" in ended.out
    assert "queued     version 4" in ended.out
    assert "held       education moved [by 0.3]" in ended.out


@pytest.mark.parametrize(("method", "words", "said"), VERBS)
def test_a_verb_prints_json_for_programs(
    platform: Any, golden: Any, method: str, words: list[str], said: dict[str, object]
) -> None:
    del said
    platform.answers[method] = getattr(pb, f"{method}Response")(deployment=DEPLOYMENT)
    document = golden(*words, "--json").json
    assert document.get("deployment", document)["position"]["stable_version"] == 2


@pytest.mark.parametrize("verb", [["promote"], ["abort", "-m", "x"], ["hold", "-m", "x"], ["release"], ["history"]])
def test_a_version_is_refused_where_it_would_be_passed_over(platform: Any, golden: Any, verb: list[str]) -> None:
    ended = golden(verb[0], "credit@3", *verb[1:])
    assert ended.status == 1
    assert "'credit@3' names a version" in ended.err
    assert "write credit" in ended.err
    assert platform.asked == []


def test_a_version_is_retired_by_its_number(platform: Any, golden: Any) -> None:
    platform.answers["RetireVersion"] = registry.RetireVersionResponse(version=registry.Version(retired=True))
    ended = golden("retire", "credit@2", "-m", "superseded")
    assert (ended.status, ended.out) == (0, "credit@2 is out of use. Its history stays:  golden trace credit@2\n")
    asked = platform.request("RetireVersion")
    assert (asked.model, asked.version, asked.reason) == ("credit", 2, "superseded")
    assert golden("retire", "credit@2", "-m", "superseded", "--json").json["version"]["retired"]


def test_a_version_has_no_epoch(platform: Any, golden: Any) -> None:
    ended = golden("retire", "credit@2", "-m", "superseded", "--epoch", "4")
    assert (ended.status, platform.asked) == (1, [])
    assert "a version has no epoch" in ended.err


def test_a_retired_deployment_shows_that_nothing_serves_and_what_to_do(platform: Any, golden: Any) -> None:
    gone = pb.Deployment(position=events.Position(model="credit", environment="production", epoch=6))
    platform.answers["Retire"] = pb.RetireResponse(deployment=gone)
    ended = golden("retire", "credit", "-m", "replaced")
    assert "nothing serves; deploy a version: golden deploy credit" in ended.out
    assert "stable" not in ended.out


def test_units_that_stayed_behind_are_shown(platform: Any, golden: Any) -> None:
    at = events.Position(model="credit", epoch=5, stable_version=2, holdback_version=1, holdback_weight=5)
    platform.answers["Release"] = pb.ReleaseResponse(deployment=pb.Deployment(position=at, warm_version=1))
    ended = golden("release", "credit")
    assert "stable     version 2   95 %" in ended.out
    assert "holdback   version 1   5 %" in ended.out


def test_a_rollback_shows_the_numbers_of_the_decision(platform: Any, golden: Any) -> None:
    platform.answers["RollBack"] = pb.RollBackResponse(deployment=DEPLOYMENT, decision=DECISION)
    ended = golden("rollback", "credit", "-m", "bad")
    assert "roll back: going back helps   log loss 0.167 → 0.126 on 4,212 records" in ended.out


def test_decisions_are_a_line_each(platform: Any, golden: Any) -> None:
    DECISION.decided_at.FromDatetime(datetime(2026, 11, 23, tzinfo=UTC))
    platform.answers["ListDecisions"] = pb.ListDecisionsResponse(decisions=[DECISION, DECISION])
    assert len(golden("decisions", "credit").out.splitlines()) == 2
    assert len(golden("decisions", "credit", "--json").json["decisions"]) == 2


def test_history_is_a_table_whose_lines_stay_whole(platform: Any, golden: Any) -> None:
    long = "governance admits it: " + "all rules pass, " * 20
    entry = pb.HistoryEntry(type="deployment.promoted", position=POSITION, sentence=long, trace_id="4bf92f3577b34da6")
    platform.answers["ListHistory"] = pb.ListHistoryResponse(entries=[entry])
    ended = golden("history", "credit")
    assert long in ended.out
    assert "4bf92f35" in ended.out
    assert golden("history", "credit", "--json").json["entries"][0]["sentence"] == long


@pytest.mark.parametrize(("command", "method"), [("history", "ListHistory"), ("decisions", "ListDecisions")])
def test_where_nothing_happened_it_says_so(platform: Any, golden: Any, command: str, method: str) -> None:
    platform.answers[method] = getattr(pb, f"{method}Response")()
    ended = golden(command, "credit")
    assert (ended.status, len(ended.out.splitlines())) == (0, 1)
    assert ended.out.startswith("Nothing has ")


def test_watch_shows_every_state_until_the_stream_ends(platform: Any, golden: Any) -> None:
    platform.answers["WatchDeployment"] = [pb.WatchDeploymentResponse(deployment=DEPLOYMENT)] * 2
    assert golden("watch", "credit").out.count("credit/production") == 2
    assert len(golden("watch", "credit", "--json").out.splitlines()) == 2


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        pytest.param(
            NotFound("there is no deployment of credit", fix="golden register"),
            ["✗ there is no deployment of credit", "to do: golden register"],
            id="unknown model",
        ),
        pytest.param(Denied("promote takes the role operator"), ["✗ promote takes the role operator"], id="denied"),
        pytest.param(
            Conflict("nothing to promote [yet]", where="credit/production"),
            ["✗ credit/production: nothing to promote [yet]"],
            id="wrong state, with brackets",
        ),
    ],
)
def test_an_error_says_what_where_and_what_to_do(platform: Any, golden: Any, error: Any, shown: list[str]) -> None:
    platform.answers["Promote"] = error
    ended = golden("promote", "credit")
    assert (ended.status, ended.out) == (1, "")
    assert [line.strip() for line in ended.err.splitlines()] == shown


@pytest.mark.parametrize("name", ["Credit", "credit@0", "credit@x", "", "a b", "credit@"])
def test_a_reference_that_is_none_is_refused_before_anybody_is_asked(platform: Any, golden: Any, name: str) -> None:
    ended = golden("deploy", name)
    assert ended.status == 1
    assert f"{name!r} names no model" in ended.err
    assert "write MODEL or MODEL@VERSION" in ended.err
    assert platform.asked == []
