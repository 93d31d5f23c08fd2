"""Relations: what no feature alone shows is noticed, has a name, and costs no false alarm more than was promised."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy import special
from scipy import stats as untyped

from benchmarks.monitor_nulls import LOUD, alarms, batches, null_profile
from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Finding, Noticed
from services.monitor.domain.history import History, Stretch
from services.monitor.domain.judge import Judge
from services.monitor.domain.relations import Relations
from services.monitor.domain.state import State
from services.profile import Column, count, profile_of
from services.profile.relations import none

stats: Any = untyped  # its stubs lack the discrete distributions
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def people(random: np.random.Generator, rows: int, correlation: float = 0.0) -> dict[str, Column]:
    """Five features of which `age` and `income` may go together; each alone is always the same."""
    made: dict[str, Column] = {f"n{place}": random.normal(size=rows) for place in range(3)}
    age, other = random.normal(size=(2, rows))
    return made | {"age": age, "income": correlation * age + np.sqrt(1 - correlation**2) * other}


def noticed(judge: Judge, random: np.random.Generator, rows: int, correlation: float) -> tuple[State, list[Finding]]:
    state = judge.begin(NOON)
    findings: list[Finding] = []
    for _ in range(0, rows, 100):
        state, found = judge.observe(state, [count(judge.profile, people(random, 100, correlation))], NOON)
        findings += found
    return state, findings


@pytest.mark.parametrize(("before", "now"), [(0.0, 0.5), (0.9, 0.0), (0.5, -0.5)])
def test_a_changed_correlation_is_noticed_though_each_feature_is_as_it_was(before: float, now: float) -> None:
    random = np.random.default_rng(3)
    judge = Judge(profile_of(people(random, 20_000, before)), Settings())
    _, quiet = noticed(judge, random, 2_000, before)
    state, (found,) = noticed(judge, random, 2_000, now)
    assert quiet == []
    assert isinstance(found, Noticed)
    pair = found.relations[0]
    assert {pair.first, pair.second} == {"age", "income"}
    assert {effect.feature for effect in found.features} == {"age", "income"}
    assert pair.reference == pytest.approx(0.5 + np.arcsin(before) / np.pi, abs=0.02)
    assert "age (above " in found.sentence
    assert "go together otherwise" in found.sentence
    standing = judge.standing(state).relations[0]
    assert standing.now == pytest.approx(0.5 + np.arcsin(now) / np.pi, abs=0.04)


def test_without_relations_nobody_notices() -> None:
    """What the test above shows is theirs alone."""
    random = np.random.default_rng(3)
    profile = profile_of(people(random, 20_000))
    _, found = noticed(Judge(replace(profile, relations=none(5)), Settings()), random, 4_000, 0.9)
    assert found == []


def test_a_feature_that_moves_for_itself_is_told_for_itself() -> None:
    random = np.random.default_rng(3)
    judge = Judge(profile_of(people(random, 20_000, 0.9)), Settings(tolerance=9))
    moved = people(random, 3_000, 0.9)
    moved["age"] = np.asarray(moved["age"]) + 0.5
    _, (found,) = judge.observe(judge.begin(NOON), [count(judge.profile, moved)], NOON)
    assert found.features[0].feature == "age"
    assert found.relations == ()


def test_evidence_of_one_step_is_the_ratio_of_binomials_that_scipy_gives() -> None:
    random = np.random.default_rng(4)
    profile = profile_of(people(random, 5_000))
    relations = Relations(profile)
    together, rows = np.full(len(relations), 61), 100
    grown = relations.grown(relations.begin(), History(), together, rows, weight=1.0)
    held = float(profile.relations.together[0])
    hits, misses = held + 0.5, 5_000 - held + 0.5
    share = special.expit(np.log(hits / misses) + 0.4)
    expected = stats.binom.pmf(61, rows, share) / stats.betabinom.pmf(61, rows, hits, misses)
    assert grown[0, 2] == pytest.approx(expected, rel=1e-9)


def test_the_expectation_of_a_step_is_one_while_nothing_has_changed() -> None:
    """Over all that a batch can hold, by its chance averaged over what the reference leaves open, as the promise is."""
    relations = Relations(profile_of(people(np.random.default_rng(6), 300)))
    rows, held = 100, np.arange(101)
    chances = stats.betabinom.pmf(held, rows, relations.hits[0], relations.misses[0])
    steps = [
        relations.grown(relations.begin(), History(), np.full(len(relations), together), rows, weight=1.0)[0]
        for together in held.tolist()
    ]
    assert chances @ np.array(steps) == pytest.approx(1.0, rel=1e-9)


def test_the_moment_of_a_change_is_found() -> None:
    random = np.random.default_rng(7)
    profile = profile_of(people(random, 20_000))
    history = History()
    for step in range(40):
        window = count(profile, people(random, 100, 0.6 if step >= 24 else 0.0))
        history = history.add(Stretch(NOON, 100, np.zeros((1, 1), dtype=np.int64), window.together))
    pair = int(np.argmax(np.abs(history.together_since()[-3] / history.rows_since()[-3] - 0.5)))
    start = Relations(profile).likeliest_start(
        pair, history.together_since()[:, pair], history.rows_since(), np.zeros(len(history.stretches))
    )
    assert 1_200 <= history.rows_since()[start] <= 2_200  # of 1,600 since the change


def test_null_streams_alarm_no_more_often_through_relations_than_was_promised() -> None:
    found = 0
    for seed in range(60):
        random = np.random.default_rng([11, seed])
        profile = null_profile(random, 2_000, features=10)
        day = alarms(Judge(profile, LOUD), batches(random, profile, 20), expected=20_000)
        found += sum(bool(each.relations) for each in day)
    assert found <= stats.binom.ppf(0.999, 60, 0.5 * 0.1 * 2)  # the promise is a half a day; a tenth is theirs, doubled


def test_a_feature_that_drifts_takes_its_relations_out() -> None:
    random = np.random.default_rng(8)
    judge = Judge(profile_of(people(random, 20_000)), Settings())
    state = replace(judge.begin(NOON), drifting=("age",))
    found: list[Finding] = []
    for _ in range(30):
        state, more = judge.observe(
            state, [count(judge.profile, people(random, 100, 0.9) | {"age": np.full(100, 9.0)})], NOON
        )
        found += more
    assert not [each for each in found if each.relations]
