"""`golden deadletters`: listed, shown, tried again and given up."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.golden.letters import LETTER, LETTERS, PARKED, REASON


def test_dead_letters_are_listed_with_the_name_that_the_other_commands_take(platform: Any, golden: Any) -> None:
    assert golden("deadletters", "list").out == "No dead letters.\n"
    platform.pages[f"GET {LETTERS}"] = (200, {"letters": [LETTER], "next_after": None})
    ended = golden("deadletters", "list")
    assert "deployer/12  monitor.events  Invalid  no [epoch]" in ended.out
    assert golden("deadletters", "list", "--json").json == [LETTER | {"id": "deployer/12", "service": "deployer"}]


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


def test_the_pushers_dead_letters_have_names_like_the_others(
    platform: Any, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDEN_PUSHER_HTTP", os.environ["GOLDEN_REGISTRY_HTTP"].replace("/registry", "/pusher"))
    platform.pages["GET /pusher/v1/deadletters"] = (200, {"letters": [LETTER], "next_after": None})
    platform.pages["GET /pusher/v1/deadletters/12"] = (200, LETTER)
    (listed,) = golden("deadletters", "list", "--json").json
    assert listed["id"] == "pusher/12"
    assert golden("deadletters", "show", listed["id"]).json == LETTER


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
