"""Looking after a platform: status and doctor."""

from __future__ import annotations

import os
from typing import Any

import pytest

from golden import checkup
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as positions
from goldenpath.governance.v1 import events_pb2 as judged
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.errors import Denied, Unavailable
from tests.golden.letters import LETTER, LETTERS, PARKED, REASON

SERVERS = [
    deployer.Servers(version=1, wanted=2, ready=1, deaths=1),
    deployer.Servers(version=2, wanted=1, ready=0, deaths=3, last_words="no module [x]"),
    deployer.Servers(version=3, wanted=1, ready=0),
]


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


def test_status_shows_the_pusher_where_there_is_one(healthy: Any, golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDEN_PUSHER_HTTP", os.environ["GOLDEN_REGISTRY_HTTP"].replace("/registry", "/pusher"))
    healthy.pages["GET /pusher/readyz"] = (503, {"kafka": "connection refused"})
    assert golden("status", "--json").json["services"]["pusher"] == "kafka: connection refused"


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


def test_doctor_names_the_version_whose_records_cant_be_counted(healthy: Any, golden: Any) -> None:
    word = "degraded: records that are due can't be counted of credit/production, version 1 as stable: a bug"
    healthy.pages["GET /monitor/readyz"] = (200, {"database": "ok", "outcomes": word})
    ended = golden("doctor")
    assert ended.status == 1
    assert f"monitor  outcomes: {word}" in ended.out
    assert "it is tried again by itself" in ended.out


def test_doctor_looks_at_the_pusher_where_there_is_one(
    healthy: Any, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDEN_PUSHER_HTTP", os.environ["GOLDEN_REGISTRY_HTTP"].replace("/registry", "/pusher"))
    healthy.pages["GET /pusher/readyz"] = (503, {"kafka": "connection refused"})
    healthy.pages["GET /pusher/v1/deadletters"] = (200, {"letters": [LETTER], "next_after": None})
    healthy.pages["GET /pusher/v1/parked"] = (200, [])

    ended = golden("doctor")

    assert "pusher      kafka: connection refused" in golden("status").out
    assert "pusher  kafka: connection refused" in ended.out
    assert "pusher  1 dead letters" in ended.out
    assert ended.status == 1


@pytest.mark.parametrize(
    ("dependency", "word", "fix"),
    [
        ("database", "all 8 connections to the database are in use", "set GOLDENPATH_DATABASE_CONNECTIONS higher"),
        ("database", "the database's disk is full", "make room on the disk"),
        ("outbox", "degraded: events wait to be sent to Kafka, the oldest for 40 s", "is Kafka up?"),
        ("events", "degraded: 1 partitions wait: the online store fails", "once what it says is mended"),
        ("records", "the stream of records waits: the registry hasn't answered", "once what it says is mended"),
        (
            "governance",
            "degraded: the governance hasn't answered 5 times in a row",
            "golden up starts what is dead again",
        ),
    ],
)
def test_doctor_says_what_to_do_about_each_dependency(
    healthy: Any, golden: Any, dependency: str, word: str, fix: str
) -> None:
    healthy.pages["GET /monitor/readyz"] = (503, {dependency: word})
    (finding,) = golden("doctor", "--json").json
    assert (finding["where"], finding["what"]) == ("monitor", f"{dependency}: {word}")
    assert fix in finding["fix"]


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
