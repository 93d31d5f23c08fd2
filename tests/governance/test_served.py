"""Who had traffic, told from the moments at which the proxy showed a change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from services.governance.domain.served import Moment, shares
from tests.governance.cases import NOW


def moment(minute: int, epoch: int, stable: int, candidate: int = 0, weight: int = 0) -> Moment:
    at = NOW + timedelta(minutes=minute)
    return Moment("m", "production", epoch, stable, candidate, weight, at, 0, "", "deployer.events", 0, minute)


def told(*moments: Moment) -> list[tuple[int, str, int, int]]:
    found = shares(sorted(moments, key=lambda one: one.offset, reverse=True))
    return [(share.version, share.role, share.weight, share.began.offset) for share in found]


def test_before_the_first_moment_nobody_served() -> None:
    assert shares([]) == ()


def test_a_first_version_has_all_the_traffic() -> None:
    assert told(moment(1, 1, 1)) == [(1, "stable", 100, 1)]


def test_a_canary_shares_the_traffic_since_its_weight_changed() -> None:
    canary = [moment(1, 1, 1), moment(2, 2, 1, 2, 5), moment(3, 2, 1, 2, 25)]
    assert told(*canary) == [(1, "stable", 75, 3), (2, "candidate", 25, 3)]


def test_a_candidate_without_weight_has_no_traffic() -> None:
    assert told(moment(1, 1, 1), moment(2, 2, 1, 2, 0)) == [(1, "stable", 100, 1)]


def test_a_share_that_lasts_is_dated_from_its_first_moment() -> None:
    assert told(moment(1, 1, 1), moment(2, 2, 2), moment(3, 3, 1), moment(4, 4, 1)) == [(1, "stable", 100, 3)]


def test_a_holdback_shares_the_traffic_with_the_stable_and_a_candidate() -> None:
    promoted = replace(moment(1, 4, 2), holdback_version=1, holdback_weight=5)
    canary = replace(moment(2, 5, 2, 3, 25), holdback_version=1, holdback_weight=5)
    assert told(promoted) == [(2, "stable", 95, 1), (1, "holdback", 5, 1)]
    assert told(promoted, canary) == [(2, "stable", 70, 2), (3, "candidate", 25, 2), (1, "holdback", 5, 1)]


def test_a_retired_deployment_serves_nobody() -> None:
    assert told(moment(1, 1, 1), moment(2, 2, 0)) == []
