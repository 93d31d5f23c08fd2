"""The statistics against scipy's, and against what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats as untyped
from scipy.spatial.distance import jensenshannon

from services.chassis.errors import Invalid
from services.deployer.domain.canary import Judgement, Word, judge, look_of, out_of_time, share_difference, wilson
from services.deployer.domain.comparison import (
    Costs,
    Reference,
    compare_costs,
    compare_losses,
    compare_shifts,
    jensen_shannon,
)
from services.deployer.domain.guard import look_at
from services.deployer.domain.losses import losses
from services.deployer.domain.policy import Policy
from services.deployer.domain.shadow import Disagreement, Passed, judge_answers, judge_step
from services.deployer.domain.traffic import Traffic

POLICY = Policy()
stats: Any = untyped  # it ships no types


def traffic(requests: int, failures: int = 0, *, milliseconds: float = 5.0, slow: int = 0) -> Traffic:
    return Traffic(requests, failures, {milliseconds: requests - slow, 400.0: slow})


@pytest.mark.parametrize(("bad", "of"), [(0, 80), (1, 80), (7, 300), (80, 80)])
def test_wilson_bounds_are_scipys(bad: int, of: int) -> None:
    expected = stats.binomtest(bad, of).proportion_ci(0.95, method="wilson")
    assert wilson(bad, of, stats.norm.ppf(0.975)) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_newcombes_published_example() -> None:
    # Newcombe (1998), table II, 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    interval = share_difference(56, 70, 48, 80, error=0.025)
    assert (interval.lower, interval.upper) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(("p", "q", "candidates"), [(0.02, 0.02, 200), (0.05, 0.01, 400), (0.0, 0.0, 100)])
def test_the_bounds_miss_the_truth_as_rarely_as_they_promise(p: float, q: float, candidates: int) -> None:
    rng = np.random.default_rng(7)
    rows = zip(rng.binomial(candidates, p, 2000), rng.binomial(4000, q, 2000), strict=True)
    bounds = [share_difference(int(bad), candidates, int(other), 4000, error=0.05) for bad, other in rows]
    # Newcombe's method may err a little more than promised at small shares: 5 % and at most 2 more.
    assert np.mean([bound.upper < p - q for bound in bounds]) < 0.07
    assert np.mean([bound.lower > p - q for bound in bounds]) < 0.07


@pytest.mark.parametrize("counts", [(5, 4, 0, 1), (-1, 4, 0, 1), (0, 0, 0, 1), (0, 1, 0, 0)])
def test_counts_that_are_no_shares_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(Invalid):
        share_difference(*counts, error=0.05)


def test_a_candidate_at_the_margin_passes_no_oftener_than_promised_however_often_it_is_looked_at() -> None:
    rng = np.random.default_rng(11)
    passed = 0
    for _ in range(400):
        failures, sample, looked, judgement = 0, 0, 0, Word.INCONCLUSIVE
        stable = traffic(20_000, 200)
        while judgement is Word.INCONCLUSIVE and sample < 1600:
            failures += int(rng.binomial(20, 0.01 + POLICY.error_margin))
            sample += 20
            made = judge(traffic(sample, failures), stable, POLICY, judged_at=looked)
            looked = sample if made.looked else looked
            judgement = made.word
        passed += judgement is Word.PASS
    # 5 % of 400 with a standard deviation of 4.4: two and a half of them on top.
    assert passed <= 31


def test_a_candidate_that_is_like_the_stable_passes_with_the_shipped_sample() -> None:
    assert judge(traffic(100), traffic(2000), POLICY).word is Word.PASS


@pytest.mark.parametrize(
    ("candidate", "stable"),
    [
        pytest.param(Traffic(), traffic(2000), id="nothing on the candidate"),
        pytest.param(traffic(99), traffic(2000), id="too little on the candidate"),
        pytest.param(traffic(100), Traffic(), id="nothing on the stable"),
        pytest.param(Traffic(100), Traffic(2000), id="no latencies"),
    ],
)
def test_no_data_is_not_success(candidate: Traffic, stable: Traffic) -> None:
    assert judge(candidate, stable, POLICY).word is Word.INCONCLUSIVE


def test_a_candidate_that_fails_everything_is_found_before_its_sample_is_full() -> None:
    assert judge(traffic(12, 12), traffic(200), POLICY).word is Word.FAIL


def test_a_slow_candidate_fails_and_one_whose_slowness_nobody_notices_does_not() -> None:
    slow = Traffic(200, 0, {500.0: 200})
    assert judge(slow, traffic(2000), POLICY).word is Word.FAIL
    assert judge(traffic(200, milliseconds=40.0), traffic(2000, milliseconds=2.0), POLICY).word is Word.PASS


def test_a_look_is_taken_once() -> None:
    candidate, stable = traffic(150, 4), traffic(2000)
    assert judge(candidate, stable, POLICY).looked
    assert not judge(candidate, stable, POLICY, judged_at=120).looked
    assert [look_of(n, 50) for n in (49, 50, 99, 100)] == [None, 0, 0, 1]


def test_a_step_ends_when_its_time_is_over_and_nothing_is_known() -> None:
    unknown = judge(traffic(3), traffic(40), POLICY)
    assert out_of_time(unknown, POLICY.maximum_step, POLICY)
    assert not out_of_time(unknown, POLICY.maximum_step / 2, POLICY)
    assert not out_of_time(judge(traffic(100), traffic(2000), POLICY), POLICY.maximum_step, POLICY)


def test_a_candidate_at_the_limit_of_disagreement_passes_no_oftener_than_promised() -> None:
    rng = np.random.default_rng(13)
    passed = 0
    for _ in range(400):
        pairs, differing, looked, word = 0, 0, 0, Word.INCONCLUSIVE
        while word is Word.INCONCLUSIVE and pairs < 3200:
            differing += int(rng.binomial(20, POLICY.disagreement_limit))
            pairs += 20
            made = judge_answers(Disagreement(pairs, differing), POLICY, judged_at=looked)
            looked = pairs if made.looked else looked
            word = made.word
        passed += word is Word.PASS
    # 5 % of 400 with a standard deviation of 4.4: two and a half of them on top.
    assert passed <= 31


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(Disagreement(), Word.INCONCLUSIVE, id="nothing"),
        pytest.param(Disagreement(199, 0), Word.INCONCLUSIVE, id="too few pairs"),
        pytest.param(Disagreement(200, 3), Word.PASS, id="three of two hundred"),
        pytest.param(Disagreement(200, 10), Word.INCONCLUSIVE, id="at the limit"),
        pytest.param(Disagreement(200, 40), Word.FAIL, id="a fifth"),
    ],
)
def test_answers_are_judged_by_the_share_that_differs(found: Disagreement, word: Word) -> None:
    assert judge_answers(found, POLICY).word is word


def test_what_has_passed_in_a_shadow_step_waits_for_the_rest_and_a_failure_is_still_heard() -> None:
    fine, unknown = Judgement(Word.PASS, "fine", looked=True), Judgement(Word.INCONCLUSIVE, "too few")
    judged, passed = judge_step(fine, unknown, Passed(), pairs=10)
    assert (judged.word, passed) == (Word.INCONCLUSIVE, Passed("fine"))
    judged, passed = judge_step(unknown, fine, passed, pairs=200)
    assert (judged.word, passed) == (Word.PASS, Passed("fine", "fine", 200))
    assert judge_step(Judgement(Word.FAIL, "bad"), unknown, passed, pairs=210)[0].word is Word.FAIL


def test_more_answers_cannot_differ_than_there_are() -> None:
    with pytest.raises(Invalid):
        judge_answers(Disagreement(3, 4), POLICY)


def test_a_stable_at_the_margin_is_taken_back_no_oftener_than_promised_however_long_it_serves() -> None:
    rng = np.random.default_rng(17)
    alarms = 0
    for _ in range(400):
        words = []
        for look in range(8):  # the last is at 25,500 requests on the holdback
            sample = POLICY.minimum_sample * 2**look
            failed, before = rng.binomial(20 * sample, 0.01 + POLICY.error_margin), rng.binomial(sample, 0.01)
            words.append(look_at(traffic(20 * sample, int(failed)), traffic(sample, int(before)), POLICY, look=look))
        alarms += any(word is not None and word.word is Word.FAIL for word in words)
    # 5 % of 400 with a standard deviation of 4.4: two and a half of them on top.
    assert alarms <= 31


@pytest.mark.parametrize(
    ("stable", "holdback", "word"),
    [
        pytest.param(traffic(2000), traffic(200), Word.PASS, id="alike"),
        pytest.param(traffic(2000, 400), traffic(200), Word.FAIL, id="fails more"),
        pytest.param(Traffic(2000, 0, {500.0: 2000}), traffic(200), Word.FAIL, id="is slower"),
        pytest.param(traffic(2000), traffic(200, 100), Word.PASS, id="is better"),
    ],
)
def test_the_guard_fails_a_stable_that_does_worse_than_the_version_before_it(
    stable: Traffic, holdback: Traffic, word: Word
) -> None:
    judged = look_at(stable, holdback, POLICY, look=1)
    assert judged is not None
    assert judged.word is word


def test_the_guard_waits_for_a_sample_that_doubles() -> None:
    assert look_at(traffic(2000, 2000), traffic(199), POLICY, look=1) is None
    assert look_at(traffic(199), traffic(2000), POLICY, look=1) is None


def test_quantiles_are_the_smallest_latency_that_the_share_did_not_exceed() -> None:
    made = Traffic(10, 0, {1.0: 5, 2.0: 4, 50.0: 1})
    assert [made.quantile(share) for share in (0.5, 0.9, 0.95)] == [1.0, 2.0, 50.0]
    assert np.isnan(Traffic().quantile(0.5))


def test_log_loss_is_the_usual_one_and_certainty_does_not_cost_infinity() -> None:
    scores, outcomes = np.array([0.9, 0.2, 0.0]), np.array([1.0, 0.0, 1.0])
    found = losses("log_loss", scores, outcomes)
    assert found[:2] == pytest.approx(stats.bernoulli.logpmf([1, 0], [0.9, 0.2]) * -1)
    assert np.isfinite(found).all()
    assert losses("squared_error", np.array([3.0]), np.array([1.0])) == pytest.approx([4.0])
    with pytest.raises(Invalid):
        losses("vibes", scores, outcomes)


def test_the_interval_of_a_loss_difference_is_the_paired_t_tests() -> None:
    rng = np.random.default_rng(3)
    outcomes = rng.integers(0, 2, 400).astype(float)
    current, target = rng.uniform(0.05, 0.95, 400), rng.uniform(0.05, 0.95, 400)
    found = compare_losses(current, target, outcomes, confidence=0.95)
    test = stats.ttest_rel(losses("log_loss", current, outcomes), losses("log_loss", target, outcomes))
    expected = test.confidence_interval(0.95)
    width = expected.high - expected.low
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=0.01 * width)


def test_records_without_an_outcome_are_left_out_of_the_losses() -> None:
    outcomes = np.array([1.0, np.nan, 0.0, np.nan])
    found = compare_losses(np.array([0.9, 0.0, 0.1, 1.0]), np.array([0.5] * 4), outcomes, confidence=0.95)
    assert (found.rows, found.rows_with_outcome) == (4, 2)
    assert found.current < found.target
    with pytest.raises(Invalid):
        compare_losses(np.array([0.5]), np.array([0.5]), np.array([np.nan]), confidence=0.95)


def test_noise_alone_says_neither_that_it_helps_nor_that_it_harms() -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        truth = rng.uniform(0.1, 0.9, 200)
        outcomes = (rng.uniform(size=200) < truth).astype(float)
        one, other = (np.clip(truth + rng.normal(0, 0.05, 200), 0.01, 0.99) for _ in range(2))
        found = compare_losses(one, other, outcomes, confidence=0.95)
        wrong += found.helps or found.harms
    # 5 % of 400 with a standard deviation of 4.4: three of them on top.
    assert wrong <= 33


def test_the_distance_of_score_distributions_is_scipys() -> None:
    p, q = np.array([5.0, 3.0, 0.0, 2.0]), np.array([1.0, 1.0, 4.0, 4.0])
    assert float(jensen_shannon(p, q)) == pytest.approx(jensenshannon(p, q, base=2))
    assert float(jensen_shannon(p, p)) == pytest.approx(0.0, abs=1e-7)


def test_the_version_whose_scores_moved_is_the_one_in_trouble() -> None:
    rng = np.random.default_rng(9)
    reference = Reference(np.linspace(0.1, 0.9, 9), np.full(10, 500.0))
    moved, steady = rng.beta(8, 2, 600), rng.uniform(0, 1, 600)
    found = compare_shifts(moved, steady, reference, reference, confidence=0.95)
    assert found.helps
    assert found.current > found.target
    assert compare_shifts(steady, moved, reference, reference, confidence=0.95).harms
    other = rng.uniform(0, 1, 600)
    same = compare_shifts(steady, other, reference, reference, confidence=0.95)
    assert not same.helps
    assert not same.harms


def test_costs_are_compared_by_what_each_versions_scores_would_have_decided() -> None:
    passed, flagged = np.array([0.0, 90.0, 60.0, np.nan]), np.array([2.0, 2.0, 2.0, np.nan])
    costs = Costs(passed, flagged, threshold=0.5, records_a_day=1_000.0)
    found = compare_costs(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.9, 0.9, 0.9, 0.1]), costs, confidence=0.95)
    assert (found.measure, found.rows, found.rows_with_outcome) == ("cost", 4, 3)
    assert (found.current, found.target) == pytest.approx((92 / 3, 2.0))
    differences = np.array([-2.0, 88.0, 0.0])
    half = 1.959964 * differences.std(ddof=1) / np.sqrt(3)
    assert (found.lower, found.upper) == pytest.approx((differences.mean() - half, differences.mean() + half))
    assert found.records_a_day == 1_000.0


def test_costs_of_one_known_outcome_compare_nothing() -> None:
    one = np.array([1.0, np.nan])
    with pytest.raises(Invalid, match="too few"):
        compare_costs(one, one, Costs(one, one, 0.5, 0.0), confidence=0.95)
