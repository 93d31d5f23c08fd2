"""The judge on streams: silent while nothing happens, and quick to name what broke."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType

import numpy as np
import pytest

from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Cleared, Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.profile import Column, count, profile_of
from tests.monitor.judged import MORNING, Watch, detected, stream, watch


def test_a_stuck_text_is_detected_within_a_few_hundred_records_and_named_alone() -> None:
    watched, random = watch()
    watched.see(stream(random, 5_000))
    stuck = {**stream(random, 500), "f04": np.full(500, "Rome", dtype=object)}
    found = detected(watched.see(stuck))
    assert [feature.feature for feature in found[0].features] == ["f04"]
    assert found[0].features[0].lower > 0.2
    assert 100 <= found[0].rows_since <= 900


def test_an_amount_in_cents_is_detected_though_most_rows_have_none() -> None:
    watched, random = watch(rows=20_000)
    watched.see(stream(random, 5_000))
    broken = stream(random, 3_000)
    found = detected(watched.see({**broken, "f03": np.asarray(broken["f03"]) * 100}))
    assert found[0].features[0].feature == "f03"
    assert found[0].features[0].part == "f03 apart from 0"
    assert "f03 drifted over the last" in found[0].sentence
    assert "at most 1 false alarm a year" in found[0].sentence


@pytest.mark.parametrize(
    ("feature", "broken"),
    [
        pytest.param("f00", np.full(3_000, np.nan), id="all missing"),
        pytest.param("f01", np.full(3_000, np.inf), id="infinite"),
        pytest.param("f02", np.full(3_000, 7.5), id="between all integers"),
        pytest.param("f04", np.full(3_000, "Neverland", dtype=object), id="a new category"),
    ],
)
def test_every_kind_of_break_is_detected(feature: str, broken: Column) -> None:
    watched, random = watch()
    found = detected(watched.see({**stream(random, 3_000), feature: broken}))
    assert [effect.feature for effect in found[0].features] == [feature]


def test_a_change_below_the_tolerance_is_noticed_and_never_detected() -> None:
    watched, random = watch(rows=20_000)
    moved = stream(random, 30_000)
    found = watched.see({**moved, "f00": np.asarray(moved["f00"]) + 0.2}, batch=500)
    assert [type(finding) for finding in found] == [Noticed]
    assert found[0].features[0].feature == "f00"


def test_a_tolerance_of_its_own_lets_a_feature_move() -> None:
    random = np.random.default_rng(2)
    lenient = Watch(stream(random, 5_000), Settings(tolerances=MappingProxyType({"f04": 20.0})))
    stuck = {**stream(random, 5_000), "f04": np.full(5_000, "Rome", dtype=object)}
    assert detected(lenient.see(stuck)) == []


@pytest.mark.parametrize("effect", ["psi", "js", "ks", "wasserstein"])
def test_whichever_effect_is_judged_a_feature_that_is_wholly_broken_is_detected_and_the_others_are_shown(
    effect: str,
) -> None:
    random = np.random.default_rng(6)
    watched = Watch(stream(random, 20_000), Settings(effect=effect))
    assert watched.see(stream(random, 5_000), batch=250) == []
    moved = stream(random, 2_000)
    found = detected(watched.see({**moved, "f00": np.asarray(moved["f00"]) + 2.0}))
    assert [feature.feature for feature in found[0].features] == ["f00"]
    assert found[0].effect == effect
    assert found[0].features[0].effects[effect] == found[0].features[0].effect
    assert set(found[0].features[0].effects) == {"psi", "js", "ks", "wasserstein"}


@pytest.mark.parametrize(("effect", "tolerance"), [("psi", 0.1), ("js", 0.12), ("ks", 0.12), ("wasserstein", 0.3)])
def test_the_same_shift_is_detected_below_its_effect_and_tolerated_above_it(effect: str, tolerance: float) -> None:
    """Half a deviation is 0.25 of psi, 0.21 of js, 0.20 of ks, 0.5 of wasserstein."""
    random = np.random.default_rng(6)
    reference, moved = stream(random, 50_000), stream(random, 20_000)
    moved["f00"] = np.asarray(moved["f00"]) + 0.5
    strict = Watch(reference, Settings(effect=effect, tolerance=tolerance))
    lenient = Watch(reference, Settings(effect=effect, tolerance=3 * tolerance))
    assert [each.feature for each in detected(strict.see(moved, batch=500))[0].features] == ["f00"]
    assert detected(lenient.see(moved, batch=500)) == []


def test_a_repaired_feed_is_cleared_and_then_watched_again() -> None:
    watched, random = watch(rows=20_000)
    stuck = {**stream(random, 1_000), "f04": np.full(1_000, "Rome", dtype=object)}
    watched.see(stuck)
    assert watched.state.drifting == ("f04",)
    repaired = watched.see(stream(random, 10_000))
    assert [type(finding) for finding in repaired] == [Cleared]
    assert repaired[0].features[0].upper < 0.2
    assert repaired[0].rows_since < 5_000
    assert len(detected(watched.see(stuck))) == 1


def test_what_drifts_is_detected_once_and_never_cleared_while_it_lasts() -> None:
    watched, random = watch()
    stuck = {**stream(random, 20_000), "f04": np.full(20_000, "Rome", dtype=object)}
    assert [type(finding) for finding in watched.see(stuck)].count(Detected) == 1
    assert watched.state.drifting == ("f04",)


def test_features_that_break_together_are_one_finding() -> None:
    watched, random = watch(rows=20_000)
    watched.see(stream(random, 2_000))
    broken = stream(random, 2_000)
    amounts = np.asarray(broken["f03"]) * 100
    found = detected(watched.see({**broken, "f00": np.asarray(broken["f00"]) + 2, "f03": amounts}, batch=500))
    assert {effect.feature for effect in found[0].features} == {"f00", "f03"}
    assert sum(effect.share for effect in found[0].features) == pytest.approx(1.0)
    assert len(found) == 1


def test_a_score_that_follows_a_broken_input_is_its_consequence() -> None:
    random = np.random.default_rng(4)
    judge = Judge(profile_of({"x": random.normal(size=9_000)}, scores={"score": random.random(9_000)}), Settings())
    state = judge.begin(MORNING)
    found: list[Finding] = []
    for second in range(20):
        window = count(judge.profile, {"x": np.full(100, 9.0), "score": random.beta(1, 9, 100)})
        state, findings = judge.observe(state, [window], MORNING + timedelta(seconds=second))
        found += findings
    assert {effect.feature for finding in detected(found) for effect in finding.features} == {"x"}
    assert state.drifting == ("x",)


def test_a_score_that_moves_by_itself_is_detected() -> None:
    random = np.random.default_rng(4)
    judge = Judge(profile_of({"x": random.normal(size=9_000)}, scores={"score": random.random(9_000)}), Settings())
    window = count(judge.profile, {"x": random.normal(size=1_000), "score": random.beta(1, 9, 1_000)})
    _, found = judge.observe(judge.begin(MORNING), [window], MORNING)
    assert [effect.feature for effect in detected(list(found))[0].features] == ["score"]


def test_another_feature_that_breaks_later_is_detected_too() -> None:
    watched, random = watch()
    stuck = {**stream(random, 1_000), "f04": np.full(1_000, "Rome", dtype=object)}
    watched.see(stuck)
    both = watched.see({**stuck, "f00": np.full(1_000, 9.0)})
    assert [effect.feature for finding in detected(both) for effect in finding.features] == ["f00"]


def test_the_change_is_dated_near_where_it_began_even_after_a_long_quiet() -> None:
    watched, random = watch(rows=20_000)
    watched.see(stream(random, 50_000), batch=250)
    began = watched.now
    shifted = stream(random, 4_000)
    found = detected(watched.see({**shifted, "f00": np.asarray(shifted["f00"]) + 1.5}, batch=250))
    assert abs(found[0].since - began) <= timedelta(seconds=8)


def test_whoever_asks_between_findings_sees_every_feature() -> None:
    watched, random = watch()
    watched.see(stream(random, 1_000))
    standing = watched.judge.standing(watched.state)
    assert {effect.feature for effect in standing.features} == {f"f{place:02}" for place in range(5)}
    assert all(effect.lower <= effect.effect <= effect.upper for effect in standing.features)
    assert sum(effect.share for effect in standing.features) == pytest.approx(1.0)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_feature_without_a_number_in_its_reference_silences_no_other(odd: float, share: float) -> None:
    random = np.random.default_rng(8)
    empty_one = np.where(np.arange(1_000) < share * 1_000, np.nan, odd)
    profile = profile_of({"empty": empty_one, "sound": random.normal(size=1_000)})
    judge = Judge(profile, Settings())
    quiet = count(profile, {"empty": empty_one, "sound": random.normal(size=1_000)})
    broken = count(profile, {"empty": empty_one, "sound": random.normal(5.0, size=1_000)})
    state, _ = judge.observe(judge.begin(MORNING), [quiet], MORNING)
    assert np.isfinite(judge.log_evidence(state))
    found = [finding for at in range(1, 4) for finding in judge.observe(state, [broken] * at, MORNING)[1]]
    assert {feature.feature for finding in found for feature in finding.features} == {"sound"}
