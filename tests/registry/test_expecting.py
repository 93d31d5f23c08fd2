"""What a reference's outcomes let one expect: scikit-learn's own answers, kept as plain numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from services.chassis.errors import Invalid
from services.profile import Column, ReferenceProfile, profile_of
from services.profile.columns import Numbers, coded
from services.profile.expected import MOST_KNOTS, Calibration, Expected, LossTree
from services.registry.clients.expecting import LEAST_OF_EACH, LEAST_ROWS, expected_of

TOWNS = np.array(["Bern", "Oslo", None], dtype=object)


def rows(seed: int, count: int) -> tuple[dict[str, Column], Numbers, Numbers]:
    """Inputs, predictions and what turned out; errors depend on a number that may be missing, and on a town."""
    random = np.random.default_rng(seed)
    distance = np.where(random.random(count) < 0.1, np.nan, random.normal(size=count))
    town = random.choice(TOWNS, count)
    scores = random.normal(size=count)
    wide = 0.5 + np.nan_to_num(distance, nan=3.0) ** 2 + 2 * (town == "Oslo")
    return {"distance": distance, "town": town}, scores, scores + wide * random.normal(size=count)


def made(inputs: dict[str, Column], scores: Numbers, labels: Numbers) -> Expected | None:
    return expected_of(profile_of(inputs, scores={"score": scores}), inputs, scores, labels)


def test_scores_are_calibrated_as_scikit_learn_does_it() -> None:
    random = np.random.default_rng(1)
    scores = random.beta(1, 6, 5_000)
    labels = (random.random(5_000) < scores).astype(float)
    found = made({}, scores, labels)
    assert isinstance(found, Calibration)
    isotonic = IsotonicRegression().fit(scores, labels)  # type: ignore[no-untyped-call]  # it ships no types
    np.testing.assert_allclose(found.of(scores), isotonic.predict(scores), atol=1e-12)


def test_however_many_scores_differ_the_knots_are_few() -> None:
    scores = np.linspace(0.0, 1.0, 20_000)
    found = made({}, scores, (np.random.default_rng(2).random(20_000) < scores**3).astype(float))
    assert isinstance(found, Calibration)
    assert found.scores.size <= MOST_KNOTS
    assert found.of(np.array([0.5, 0.9])) == pytest.approx([0.125, 0.729], abs=0.05)


def test_a_tree_tells_where_errors_are_large() -> None:
    found = made(*rows(1, 20_000))
    assert isinstance(found, LossTree)
    inputs, scores, labels = rows(2, 20_000)
    leaves = found.leaves({**inputs, "score": scores}, scores.size)
    errors = np.abs(scores - labels)
    missing, oslo = np.isnan(np.asarray(inputs["distance"], dtype=float)), inputs["town"] == TOWNS[1]
    for those in (missing, ~missing, oslo, ~oslo):
        assert found.absolute[leaves[those]].mean() == pytest.approx(errors[those].mean(), rel=0.05)
        assert found.square[leaves[those]].mean() == pytest.approx((errors[those] ** 2).mean(), rel=0.15)


def test_coded_texts_and_values_beyond_all_bounds_find_their_leaf() -> None:
    found = made(*rows(1, 2_000))
    assert isinstance(found, LossTree)
    far = np.array([1e300, -np.inf, np.inf])
    plain = {"distance": far, "town": np.array(["Oslo", None, "Rome"], dtype=object), "score": far}
    as_coded = plain | {"town": coded(["Oslo", None, "Rome"])}
    assert found.leaves(as_coded, 3).tolist() == found.leaves(plain, 3).tolist()


def test_it_goes_with_the_profile_to_the_byte() -> None:
    inputs, scores, labels = rows(1, 2_000)
    chances = np.random.default_rng(1).random(2_000)
    for given, turned_out in ((scores, labels), (chances, (chances > 0.5).astype(float))):
        path = profile_of(inputs, scores={"score": given})
        kept = with_expected(path, expected_of(path, inputs, given, turned_out))
        again = ReferenceProfile.from_bytes(kept)
        assert again.expected is not None
        assert again.to_bytes() == kept


def with_expected(profile: ReferenceProfile, expected: Expected | None) -> bytes:
    return replace(profile, expected=expected).to_bytes()


@pytest.mark.parametrize(
    ("was", "broken", "words"),
    [
        ('"likely":[0.0,', '"likely":[2.0,', "falls|probabilities"),
        ('"scores":[0.', '"scores":[1.', "falls|probabilities"),
    ],
)
def test_a_broken_calibration_is_refused(was: str, broken: str, words: str) -> None:
    scores = np.linspace(0.05, 0.95, 1_000)
    inputs: dict[str, Column] = {"x": scores}
    profile = profile_of(inputs, scores={"score": scores})
    kept = with_expected(profile, expected_of(profile, inputs, scores, (scores > 0.5).astype(float)))
    assert was.encode() in kept
    with pytest.raises(Invalid, match=words):
        ReferenceProfile.from_bytes(kept.replace(was.encode(), broken.encode()))


def test_a_tree_that_goes_round_is_refused() -> None:
    inputs, scores, labels = rows(1, 2_000)
    profile = profile_of(inputs, scores={"score": scores})
    document = json.loads(with_expected(profile, expected_of(profile, inputs, scores, labels)))
    document["expected"]["below"][0] = 0
    with pytest.raises(Invalid, match="goes back"):
        ReferenceProfile.from_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize(("known", "positives"), [(LEAST_ROWS - 1, 50), (1_000, LEAST_OF_EACH - 1), (1_000, 1_000)])
def test_of_too_few_outcomes_nothing_is_expected(known: int, positives: int) -> None:
    scores = np.linspace(0.05, 0.95, 1_000)
    labels = np.full(1_000, np.nan)
    labels[:known] = (np.arange(known) < positives).astype(float)
    assert made({"x": scores}, scores, labels) is None


def test_of_errors_beyond_all_reason_nothing_is_expected() -> None:
    inputs, scores, labels = rows(1, 2_000)
    labels[0] = 1e100
    assert made(inputs, scores, labels) is None


def test_what_stands_for_a_text_is_a_number() -> None:
    inputs, scores, labels = rows(1, 2_000)
    profile = profile_of(inputs, scores={"score": scores})
    document = json.loads(with_expected(profile, expected_of(profile, inputs, scores, labels)))
    document["expected"]["texts"]["town"]["Oslo"] = math.inf
    with pytest.raises(Invalid, match="isn't a reference profile"):
        ReferenceProfile.from_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
