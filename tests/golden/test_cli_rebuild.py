"""`golden rebuild`: asked for with a reason, and followed to its end."""

from __future__ import annotations

from typing import Any

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
