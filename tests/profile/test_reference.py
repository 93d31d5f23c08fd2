"""The reference profile: bins, bytes, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.profile import CodedText, Column, Kind, ReferenceProfile, profile_of

RANDOM = np.random.default_rng(11)
ODD = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -0.0, 1.0, 2.0, 5e-324]))


def credit(rows: int = 2_000) -> dict[str, Column]:
    return {
        "age": RANDOM.integers(0, 90, rows),
        "gains": np.where(RANDOM.random(rows) < 0.04, RANDOM.integers(100, 99_999, rows), 0),
        "income": np.where(RANDOM.random(rows) < 0.05, np.nan, RANDOM.standard_cauchy(rows)),
        "education": RANDOM.choice(np.array(["school", "college", None], dtype=object), rows),
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(ODD, min_size=1, max_size=300))
def test_any_numbers_are_counted_once_each_in_at_most_64_bins(values: list[float]) -> None:
    feature = profile_of({"x": np.array(values)}).features[0]
    assert feature.counts.sum() == len(values)
    assert feature.counts[-1] == np.isnan(values).sum()
    assert feature.bins <= 64
    assert ReferenceProfile.from_bytes(profile_of({"x": np.array(values)}).to_bytes()).rows == len(values)


def test_equal_values_share_a_bin_with_an_inclusive_upper_edge() -> None:
    values = np.repeat(np.arange(100.0), RANDOM.integers(1, 50, 100))
    edges = profile_of({"x": values}).features[0].edges
    assert set(edges[1:]) <= set(values)
    assert edges[-1] == 99.0


def test_a_value_that_most_rows_hold_has_a_bin_of_its_own_and_leaves_the_others_fine_ones() -> None:
    gains = credit(20_000)["gains"]
    feature = profile_of({"gains": gains}).features[0]
    alone = int(np.searchsorted(feature.edges, 0.0, side="left"))
    assert feature.counts[alone] == np.sum(np.asarray(gains) == 0)
    assert feature.label(alone) == "up to 0"
    assert np.count_nonzero(feature.counts) > 50
    assert feature.counts[alone + 1 :].max() < 40


def test_nothing_in_the_reference_lies_outside_its_own_range() -> None:
    profile = profile_of(credit())
    outside = [feature.counts[place] for feature in profile.features for place in feature.never_seen()]
    assert not any(outside)


def test_a_constant_feature_has_its_value_below_it_above_it_and_missing() -> None:
    feature = profile_of({"x": np.full(10, 3.0)}).features[0]
    assert feature.counts.tolist() == [0, 10, 0, 0]
    assert [feature.label(place) for place in range(4)] == ["below 3", "up to 3", "above 3", "missing"]


def test_infinities_lie_outside_the_range_and_nan_is_missing() -> None:
    feature = profile_of({"x": np.array([-np.inf, 1.0, 2.0, np.inf, np.nan])}).features[0]
    assert feature.counts[[0, -2, -1]].tolist() == [1, 1, 1]


def test_more_categories_than_bins_go_into_other() -> None:
    names = np.array([f"c{place:03}" for place in range(100)] * 2 + ["c000"], dtype=object)
    feature = profile_of({"x": names}).features[0]
    assert feature.bins == 64
    assert feature.categories[0] == "c000"
    assert feature.counts[feature.bins - 2] == 2 * (100 - 62)


def test_coded_text_gives_the_same_profile_as_plain_text() -> None:
    coded = CodedText(np.array([0, 2, -1, 0], dtype=np.int32), ("a", "unused", "b"))
    plain = np.array(["a", "b", None, "a"], dtype=object)
    assert profile_of({"x": coded}).digest == profile_of({"x": plain}).digest


def test_row_order_changes_nothing_but_the_overdispersion() -> None:
    columns = credit()
    order = RANDOM.permutation(2_000)
    there = json.loads(profile_of(columns).to_bytes())
    back = json.loads(profile_of({name: np.asarray(column)[order] for name, column in columns.items()}).to_bytes())
    assert _without_dispersion(there) == _without_dispersion(back)


def test_independent_rows_are_hardly_overdispersed_and_a_trend_is() -> None:
    independent = RANDOM.normal(size=20_000)
    trending = independent + np.linspace(0, 2, 20_000)
    profile = profile_of({"independent": independent, "trending": trending})
    assert profile.feature("independent").overdispersion < 1.2
    assert profile.feature("trending").overdispersion > 3


def test_rows_that_depend_on_those_before_are_discounted_by_what_that_does_to_their_middle() -> None:
    """An autoregression x = x'/2 + e makes the mean of many rows vary three times as much."""
    shocks = np.random.default_rng(4).normal(size=50_000)
    weights = 0.5 ** np.arange(30)
    dependent = np.convolve(shocks, weights, mode="valid")
    profile = profile_of({"dependent": dependent, "shuffled": RANDOM.permutation(dependent)})
    assert 1.8 < profile.feature("dependent").overdispersion < 4.8
    assert profile.feature("shuffled").overdispersion < 1.2


def test_a_score_is_a_feature_of_its_own() -> None:
    profile = profile_of(credit(), scores={"score": RANDOM.random(2_000)})
    assert [feature.role for feature in profile.features] == ["input"] * 4 + ["score"]
    assert profile.feature("score").kind is Kind.NUMERIC


def test_bytes_and_profile_are_each_others_image() -> None:
    data = profile_of(credit(), scores={"score": RANDOM.random(2_000)}).to_bytes()
    assert ReferenceProfile.from_bytes(data).to_bytes() == data
    assert len(ReferenceProfile.from_bytes(data).digest) == 64


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({}, id="no columns"),
        pytest.param({"x": np.empty(0)}, id="no rows"),
        pytest.param({"x": np.zeros(2), "y": np.zeros(3)}, id="different lengths"),
        pytest.param({"x": np.zeros((2, 2, 2))}, id="three dimensions"),
        pytest.param({"x": np.array(["2026-01-01"], dtype="datetime64[D]")}, id="dates"),
        pytest.param({"x": np.array(["a", 1], dtype=object)}, id="text and numbers mixed"),
    ],
)
def test_what_is_no_reference_is_refused(columns: dict[str, Column]) -> None:
    with pytest.raises(Invalid):
        profile_of(columns)


def test_an_input_and_a_score_may_not_share_a_name() -> None:
    with pytest.raises(Invalid, match="same name"):
        profile_of({"x": np.zeros(3)}, scores={"x": np.zeros(3)})


GOOD = json.loads(profile_of({"a": np.arange(9.0), "b": np.array(["u", "v", "v"] * 3)}).to_bytes())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("format",), "other/1", id="another format"),
        pytest.param(("rows",), 8, id="rows that don't add up"),
        pytest.param(("rows",), "9", id="rows as text"),
        pytest.param(("features",), [], id="no features"),
        pytest.param(("features", 0, "name"), 7, id="a name that is no text"),
        pytest.param(("features", 0, "name"), "z", id="features out of order"),
        pytest.param(("features", 0, "kind"), "image", id="an unknown kind"),
        pytest.param(("features", 0, "counts"), [9], id="too few bins"),
        pytest.param(("features", 0, "edges"), [0.0] * 18, id="edges that don't rise"),
        pytest.param(("features", 0, "deviation"), -1.0, id="a deviation below zero"),
        pytest.param(("features", 0, "overdispersion"), 0.5, id="an overdispersion below one"),
        pytest.param(("features", 1, "categories"), ["u", "u"], id="a category twice"),
        pytest.param(("features", 1, "counts"), [10, -1, 0, 0], id="a count below zero"),
        pytest.param(("features", 1, "counts"), [1e400, 3, 0, 0], id="a count beyond all numbers"),
        pytest.param(("extra",), 1, id="a field too many"),
    ],
)
def test_malformed_bytes_are_refused(path: tuple[str | int, ...], value: object) -> None:
    document = json.loads(json.dumps(GOOD))
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(Invalid):
        ReferenceProfile.from_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"format":1}'])
def test_bytes_that_are_no_profile_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        ReferenceProfile.from_bytes(data)


def _without_dispersion(document: dict[str, Any]) -> dict[str, Any]:
    features = [{**feature, "overdispersion": None} for feature in document["features"]]
    return {**document, "features": features}
