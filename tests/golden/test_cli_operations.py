"""Looking after a platform: status, doctor, dead letters, tokens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jwt
import pytest

from golden import checkup, session
from golden.embedded.tokens import DevelopmentIdentity
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as positions
from goldenpath.governance.v1 import events_pb2 as judged
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.errors import Denied, Unavailable

LETTERS = "/deployer/v1/deadletters"
LETTER = {
    "id": 12,
    "topic": "monitor.events",
    "error": "Invalid",
    "what": "no [epoch]",
    "since": "2026-11-23T14:00:00Z",
}


PARKED = "/registry/v1/parked"
SERVERS = [
    deployer.Servers(version=1, wanted=2, ready=1, deaths=1),
    deployer.Servers(version=2, wanted=1, ready=0, deaths=3, last_words="no module [x]"),
    deployer.Servers(version=3, wanted=1, ready=0),
]
REASON = {
    "consumer": "registry",
    "error": "NotFound",
    "what": "there is no [version] 3",
    "dead": False,
    "id": 7,
    "since": "2026-11-23T14:00:00.123Z",
    "events": 5,
}


@pytest.fixture
def healthy(platform: Any) -> Any:
    platform.answers["ListDeployments"] = deployer.ListDeploymentsResponse()
    platform.answers["ListWaiting"] = governance.ListWaitingResponse()
    return platform


def test_status_shows_each_service_and_that_nothing_serves(healthy: Any, golden: Any) -> None:
    healthy.pages["GET /monitor/readyz"] = (503, {"kafka": "it [doesn't] answer", "database": "ok"})
    ended = golden("status")
    assert ended.status == 0, ended.err
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["registry", "ready"] in lines
    assert "monitor     kafka: it [doesn't] answer" in ended.out
    assert "Nothing is deployed yet" in ended.out
    assert golden("status", "--json").json["deployments"] == []


def test_status_shows_the_siblings_where_the_deployer_is_silent(healthy: Any, golden: Any) -> None:
    healthy.answers["ListDeployments"] = Unavailable("the database is down")
    ended = golden("status")
    assert ended.status == 0
    assert "What serves isn't known" in ended.out
    assert golden("status", "--json").json["deployments"] is None


def test_a_healthy_platform_has_no_findings(healthy: Any, golden: Any) -> None:
    assert golden("doctor").out == "✓ Nothing is wrong.\n"
    assert golden("doctor", "--json").json == []
    assert ("ListWaiting", governance.ListWaitingRequest(page_size=1000)) in healthy.asked


def test_doctor_names_what_is_wrong_and_what_to_do_and_ends_with_status_1(healthy: Any, golden: Any) -> None:
    at = positions.Position(model="credit", environment="production")
    failed = deployer.Rollout(version=3, state=deployer.ROLLOUT_STATE_FAILED, judgement="too slow")
    healthy.answers["ListDeployments"] = deployer.ListDeploymentsResponse(
        deployments=[
            deployer.Deployment(
                position=at,
                held=True,
                held_reason="drift",
                training=positions.TrainingRequested(id="9f0c", reason="both versions are beaten"),
                rollout=failed,
                servers=SERVERS,
            )
        ]
    )
    verdict = judged.Verdict(model="credit", version=4)
    healthy.answers["ListWaiting"] = governance.ListWaitingResponse(verdicts=[verdict])
    healthy.pages[f"GET {LETTERS}"] = (200, {"letters": [LETTER], "next_after": None})
    healthy.pages["GET /registry/readyz"] = (503, {"database": "its disk is full"})
    healthy.pages["GET /monitor/readyz"] = (200, b"")

    ended = golden("doctor")

    assert ended.status == 1
    for said in [
        "registry  database: its disk is full",
        "monitor  doesn't answer",
        "deployer  1 dead letters; the oldest: Invalid: no [epoch]",
        "golden deadletters show deployer/12",
        "credit/production  held: drift",
        "credit/production  a new version is asked for: both versions are beaten",
        "golden release credit",
        "the proxy doesn't show yet what was decided",
        "the rollout of version 3 failed: too slow",
        "1 of 2 servers of version 1 answer: one died",
        "0 of 1 servers of version 2 answer: the last 3 died, and said last: no module [x]",
        "credit@4  waits for a reviewer",
        "golden approve credit@4",
    ]:
        assert said in ended.out
    found = golden("doctor", "--json")
    assert (found.status, len(found.json)) == (1, 10)


def test_doctor_looks_at_the_pusher_where_there_is_one(
    healthy: Any, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDEN_PUSHER_HTTP", os.environ["GOLDEN_REGISTRY_HTTP"].replace("/registry", "/pusher"))
    healthy.pages["GET /pusher/readyz"] = (503, {"kafka": "connection refused"})
    healthy.pages["GET /pusher/v1/deadletters"] = (200, {"letters": [LETTER], "next_after": None})
    healthy.pages["GET /pusher/v1/parked"] = (200, [])

    ended = golden("doctor")

    assert "pusher  kafka: connection refused" in ended.out
    assert "pusher  1 dead letters" in ended.out
    assert ended.status == 1


def test_doctor_looks_at_every_page() -> None:
    pages = {"": ("first", "more"), "more": ("last", "")}
    asked = []

    def ask_for(request: deployer.ListDeploymentsRequest) -> deployer.ListDeploymentsResponse:
        asked.append(request.page_token)
        model, token = pages[request.page_token]
        found = deployer.Deployment(position=positions.Position(model=model))
        return deployer.ListDeploymentsResponse(deployments=[found], next_page_token=token)

    found = [
        one.position.model
        for page in checkup.pages(ask_for, deployer.ListDeploymentsRequest)
        for one in page.deployments
    ]

    assert (found, asked) == (["first", "last"], ["", "more"])


def test_doctor_never_calls_healthy_what_it_could_not_see(healthy: Any, golden: Any) -> None:
    healthy.answers["ListDeployments"] = Denied("this takes the role operator")
    healthy.pages[f"GET {LETTERS}"] = (403, {"detail": "this takes the role auditor"})
    ended = golden("doctor")
    assert ended.status == 1
    assert "deployer  this takes the role operator" in ended.out
    assert "its dead letters can't be seen: this takes the role auditor" in ended.out


def test_doctor_says_where_it_was_not_told_to_look(healthy: Any, golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del healthy
    for service in ("REGISTRY", "GOVERNANCE", "DEPLOYER", "MONITOR"):
        monkeypatch.delenv(f"GOLDEN_{service}_HTTP")
    ended = golden("doctor")
    assert ended.status == 1
    assert "set GOLDEN_REGISTRY_HTTP" in ended.out
    assert golden("deadletters", "list").status == 1


def test_dead_letters_are_listed_with_the_name_that_the_other_commands_take(platform: Any, golden: Any) -> None:
    assert golden("deadletters", "list").out == "No dead letters.\n"
    platform.pages[f"GET {LETTERS}"] = (200, {"letters": [LETTER], "next_after": None})
    ended = golden("deadletters", "list")
    assert "deployer/12  monitor.events  Invalid  no [epoch]" in ended.out
    assert golden("deadletters", "list", "--json").json == [LETTER | {"id": "deployer/12", "service": "deployer"}]


def test_doctor_says_why_events_are_parked_and_what_to_do(healthy: Any, golden: Any) -> None:
    behind = REASON | {"error": "Invalid", "what": "no epoch", "dead": True, "id": 8, "events": 2}
    others = [REASON | {"events": 1, "what": f"there is no version {number}"} for number in range(3)]
    healthy.pages[f"GET {PARKED}"] = (200, [REASON, behind, *others])
    ended = golden("doctor")
    for said in [
        "registry  5 events are parked since 2026-11-23T14:00Z: NotFound: there is no [version] 3",
        "if it can't be, golden deadletters drop registry/7",
        "registry  2 events are parked behind the dead letter registry/8 of their key: Invalid: no epoch",
        "golden deadletters show registry/8, then replay or drop it",
        "registry  2 events are parked for other reasons",
    ]:
        assert said in ended.out
    assert len(golden("doctor", "--json").json) == 4


def test_reasons_for_which_events_are_parked_are_listed(platform: Any, golden: Any) -> None:
    assert golden("deadletters", "parked").out == "Nothing is parked.\n"
    platform.pages[f"GET {PARKED}"] = (200, [REASON])
    assert "registry/7  5       NotFound  there is no [version] 3" in golden("deadletters", "parked").out
    assert golden("deadletters", "parked", "--json").json == [REASON | {"id": "registry/7"}]


def test_a_name_among_several_that_is_no_dead_letter_lets_nothing_be_given_up(platform: Any, golden: Any) -> None:
    assert "'12' names no dead letter" in golden("deadletters", "drop", "deployer/12", "12", "-m", "old").err
    assert platform.asked == []


def test_a_dead_letter_is_shown_tried_again_and_given_up(platform: Any, golden: Any) -> None:
    platform.pages[f"GET {LETTERS}/12"] = (200, LETTER)
    platform.pages[f"POST {LETTERS}/12/replay"] = (200, {})
    platform.pages[f"POST {LETTERS}/12/drop"] = (200, {})
    assert golden("deadletters", "show", "deployer/12").json == LETTER
    platform.pages[f"POST {LETTERS}/13/replay"] = (200, {})
    replayed = golden("deadletters", "replay", "deployer/12", "deployer/13", "-m", "fixed")
    assert replayed.out == "deployer/12 is tried again.\ndeployer/13 is tried again.\n"
    assert "is given up" in golden("deadletters", "drop", "deployer/12", "-m", "old").out
    assert platform.request(f"POST {LETTERS}/12/replay") == {"reason": "fixed"}
    assert platform.request(f"POST {LETTERS}/12/drop") == {"reason": "old"}


@pytest.mark.parametrize("name", ["12", "nobody/12", "deployer/x", "deployer/"])
def test_a_name_that_is_no_dead_letter_is_refused(platform: Any, golden: Any, name: str) -> None:
    assert f"{name!r} names no dead letter" in golden("deadletters", "show", name).err
    assert platform.asked == []


@pytest.mark.parametrize(
    ("status", "page", "said"),
    [
        pytest.param(404, {"detail": "there is no letter 12"}, "✗ there is no letter 12", id="gone"),
        pytest.param(409, {"detail": "it waits", "fix": "wait"}, "to do: wait", id="wrong state"),
        pytest.param(502, b"<html>", "✗ the deployer answered 502 Bad Gateway", id="no problem document"),
        pytest.param(200, b"<html>", "✗ the deployer answered 200 OK", id="no JSON at all"),
    ],
)
def test_an_error_of_the_service_is_said_in_words(
    platform: Any, golden: Any, status: int, page: Any, said: str
) -> None:
    platform.pages[f"GET {LETTERS}/12"] = (status, page)
    ended = golden("deadletters", "show", "deployer/12")
    assert (ended.status, ended.out) == (1, "")
    assert said in ended.err


REBUILD = {
    "actor": "olga",
    "reason": "truncated",
    "began_at": "2026-03-01T12:00:00Z",
    "done": 12,
    "of": 12,
    "under_way": False,
    "failed": 0,
    "problem": "",
}


def test_a_rebuild_is_asked_for_with_a_reason_and_followed_to_its_end(platform: Any, golden: Any) -> None:
    platform.pages["POST /registry/v1/rebuild"] = (200, REBUILD | {"done": 3, "under_way": True})
    platform.pages["GET /registry/v1/rebuild"] = (200, REBUILD)
    ended = golden("rebuild", "registry", "-m", "truncated")
    assert (ended.status, ended.out) == (0, "✓ the registry's read model is whole again: 12 events were read\n")
    assert platform.request("POST /registry/v1/rebuild") == {"reason": "truncated"}
    assert golden("rebuild", "registry", "-m", "truncated", "--json").json == REBUILD | {"service": "registry"}


def test_a_rebuild_that_could_not_apply_an_event_names_it_and_fails(platform: Any, golden: Any) -> None:
    problem = {"failed": 1, "problem": "deployer.events/3@17: no [model]"}
    platform.pages["POST /registry/v1/rebuild"] = (200, REBUILD | problem)
    ended = golden("rebuild", "registry", "-m", "truncated")
    assert ended.status == 1
    assert "1 of 12 events couldn't be applied" in ended.err
    assert "deployer.events/3@17: no [model]" in ended.err
    assert golden("rebuild", "registry", "-m", "truncated", "--json").status == 1


def test_a_service_that_keeps_no_read_model_says_so(platform: Any, golden: Any) -> None:
    said = {"detail": "it keeps no read model", "fix": "restore its database from a backup"}
    platform.pages["POST /deployer/v1/rebuild"] = (409, said)
    ended = golden("rebuild", "deployer", "-m", "to see")
    assert (ended.status, "✗ it keeps no read model" in ended.err) == (1, True)
    assert "there is no service 'billing'" in golden("rebuild", "billing", "-m", "to see").err


class Running:
    """This machine's platform, as far as tokens go."""

    def __init__(self, folder: Path) -> None:
        self._identity = DevelopmentIdentity(folder)

    def token(self, *asked: Any) -> str:
        return self._identity.issue(*asked)


@pytest.mark.parametrize(
    ("words", "subject", "roles"),
    [
        pytest.param(["token", "--as", "ada:reviewer"], "ada", ["reviewer"], id="its own option"),
        pytest.param(["--as", "ada:reviewer,operator", "token"], "ada", ["reviewer", "operator"], id="the root's"),
    ],
)
def test_a_token_is_for_whom_it_is_asked_for(
    golden: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], subject: str, roles: list[str]
) -> None:
    monkeypatch.setattr("golden.embedded.platform.attach_quietly", lambda: Running(tmp_path))
    ended = golden(*words, "--hours", "2")
    claims = jwt.decode(ended.out.strip(), options={"verify_signature": False})
    assert (claims["sub"], claims["roles"]) == (subject, roles)
    assert claims["exp"] - claims["iat"] == 7200
    assert golden(*words, "--json").json["subject"] == subject


def test_a_role_that_there_is_not_is_refused_with_those_that_there_are(golden: Any) -> None:
    ended = golden("token", "--as", "ada:king")
    assert ended.status == 1
    assert "✗ --as: there is no role 'king'" in ended.err
    assert "reviewer" in ended.err


def test_nobody_else_acts_on_a_platform_that_makes_no_tokens_here(platform: Any, golden: Any) -> None:
    ended = golden("--as", "grace:reviewer", "approve", "credit@2")
    assert ended.status == 1
    assert "set GOLDEN_TOKEN" in ended.err
    assert platform.asked == []


def test_without_a_name_everybody_may_do_everything_but_be_a_service() -> None:
    assert "service" not in session.identity("ada")[1]
    assert session.identity("ada:")[0] == "ada"
