"""The judge on streams: silent while nothing happens, and quick to name what broke."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import numpy as np
import pytest

from benchmarks.monitor_nulls import alarms, batches, null_profile
from services.chassis.errors import Invalid
from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Cleared, Detected, Finding, Noticed
from services.monitor.domain.judge import Judge
from services.monitor.domain.state import State
from services.profile import Column, count, profile_of

MORNING = datetime(2026, 3, 2, 9, tzinfo=UTC)
KINDS = 5


def stream(random: np.random.Generator, rows: int, features: int = 5) -> dict[str, Column]:
    """Records of independent features, of every kind in turn: normal, heavy-tailed, tied, mostly zero, text."""
    cities = np.array(["Rome", "Oslo", "Bern", "Riga"], dtype=object)
    makers: list[Callable[[], Column]] = [
        lambda: random.normal(size=rows),
        lambda: random.standard_cauchy(rows),
        lambda: random.poisson(2.0, rows),
        lambda: np.where(random.random(rows) < 0.05, random.lognormal(5, 1, rows), 0.0),
        lambda: cities[np.minimum(random.geometric(0.4, rows) - 1, 3)],
    ]
    return {f"f{place:02}": makers[place % KINDS]() for place in range(features)}


class Watch:
    """A judge, its state and what it found, a batch after the other."""

    def __init__(self, reference: dict[str, Column], settings: Settings | None = None) -> None:
        self.judge = Judge(profile_of(reference), settings or Settings())
        self.now = MORNING
        self.state = self.judge.begin(self.now)
        self.found: list[Finding] = []

    def see(self, columns: dict[str, Column], batch: int = 100) -> list[Finding]:
        """Judge the records in batches, and give what was found in them."""
        before = len(self.found)
        for start in range(0, len(columns["f00"]), batch):
            self.now += timedelta(seconds=1)
            piece = {name: np.asarray(column)[start : start + batch] for name, column in columns.items()}
            self.state, found = self.judge.observe(self.state, [count(self.judge.profile, piece)], self.now)
            self.found.extend(found)
        return self.found[before:]


def watch(seed: int = 1, rows: int = 5_000) -> tuple[Watch, np.random.Generator]:
    random = np.random.default_rng(seed)
    return Watch(stream(random, rows)), random


def detected(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if isinstance(finding, Detected)]


@pytest.mark.parametrize("established", [False, True], ids=["a first day", "a day like the one before"])
def test_null_streams_with_references_of_their_own_alarm_no_more_often_than_promised(*, established: bool) -> None:
    """A tenth of a day's alarms each, with next to no tolerance; with the reference taken for the truth, all alarm.

    Were the promise just kept, 200 days would have more than 43 alarms of a level with a chance of 5e-7 (binomial).
    """
    settings = Settings(tolerance=0.001, false_alarms_per_year=73.05)
    found: list[Finding] = []
    for seed in range(200):
        random = np.random.default_rng([1, seed])
        profile = null_profile(random, 2_000, features=5)
        day = alarms(Judge(profile, settings), batches(random, profile, 20), expected=20_000 * established)
        found += {type(finding): finding for finding in day}.values()
    assert sum(isinstance(finding, Noticed) for finding in found) <= 43
    assert sum(isinstance(finding, Detected) for finding in found) <= 43


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


def test_evidence_grows_batch_by_batch_however_many_are_looked_at_together() -> None:
    watched, random = watch()
    pieces = [count(watched.judge.profile, stream(random, 100)) for _ in range(30)]
    together, _ = watched.judge.observe(watched.state, pieces, watched.now)
    state = watched.state
    for piece in pieces:
        state, _ = watched.judge.observe(state, [piece], watched.now)
    assert state.evidence == pytest.approx(together.evidence, rel=1e-9, abs=1e-30)
    assert np.array_equal(state.history.since(), together.history.since())


def test_from_the_second_day_on_the_chance_of_an_alarm_is_shared_by_the_day_before() -> None:
    watched, random = watch()
    watched.see(stream(random, 2_000))
    watched.now += timedelta(days=1)
    watched.see(stream(random, 100))
    assert (watched.state.expected, watched.state.rows_before) == (2_000, 2_000)


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


def test_evidence_restarts_with_the_day_and_at_each_alarm() -> None:
    watched, random = watch()
    watched.see({**stream(random, 500), "f04": np.full(500, "Rome", dtype=object)})
    assert watched.state.restarts == 1
    watched.now += timedelta(days=1)
    watched.see(stream(random, 100))
    assert watched.state.restarts == 0
    assert watched.state.history.rows == 100
    assert watched.state.rows_seen == 600


def test_a_change_of_role_on_the_same_day_shares_the_days_budget() -> None:
    watched, random = watch()
    watched.see(stream(random, 200))
    fresh = watched.judge.begin(watched.now, restarts=watched.state.restarts + 1)
    assert (fresh.restarts, fresh.rows_seen) == (1, 0)


def test_a_clock_that_goes_back_restarts_nothing() -> None:
    watched, random = watch()
    watched.see(stream(random, 200))
    watched.now -= timedelta(days=2)
    watched.see(stream(random, 200))
    assert watched.state.history.rows == 400


def test_the_state_is_small_and_survives_as_bytes() -> None:
    watched, random = watch()
    watched.see(stream(random, 100_000), batch=500)
    data = watched.state.to_bytes()
    again = State.from_bytes(data)
    assert len(data) < 64_000
    assert again.to_bytes() == data
    columns = stream(random, 100)
    window = count(watched.judge.profile, columns)
    one, _ = watched.judge.observe(watched.state, [window], watched.now)
    two, _ = watched.judge.observe(again, [window], watched.now)
    assert one.to_bytes() == two.to_bytes()


@pytest.mark.parametrize("data", [b"", b"nonsense", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        State.from_bytes(data)


def test_a_window_of_another_profile_is_refused() -> None:
    watched, random = watch()
    other = profile_of(stream(random, 100))
    with pytest.raises(Invalid):
        watched.judge.observe(watched.state, [count(other, stream(random, 10))], watched.now)
    with pytest.raises(Invalid):
        watched.judge.observe(
            replace(watched.state, profile=other.digest), [count(watched.judge.profile, stream(random, 10))], MORNING
        )


def test_an_empty_batch_changes_nothing() -> None:
    watched, random = watch()
    window = count(watched.judge.profile, stream(random, 0))
    state, found = watched.judge.observe(watched.state, [window], watched.now)
    assert (state, found) == (watched.state, ())
    assert watched.judge.standing(state).features == ()


def test_whoever_asks_between_findings_sees_every_feature() -> None:
    watched, random = watch()
    watched.see(stream(random, 1_000))
    standing = watched.judge.standing(watched.state)
    assert {effect.feature for effect in standing.features} == {f"f{place:02}" for place in range(5)}
    assert all(effect.lower <= effect.effect <= effect.upper for effect in standing.features)
    assert sum(effect.share for effect in standing.features) == pytest.approx(1.0)
