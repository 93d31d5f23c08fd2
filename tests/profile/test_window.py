"""A window: the same records give the same bytes, however they came."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.profile import CodedText, Column, Window, count, empty, profile_of

RANDOM = np.random.default_rng(3)
ROWS = 200


def columns_of(rows: int) -> dict[str, Column]:
    return {
        "amount": np.where(RANDOM.random(rows) < 0.8, 0.0, RANDOM.lognormal(size=rows)),
        "city": RANDOM.choice(np.array(["Rome", "Oslo", "Bern", None], dtype=object), rows),
    }


PROFILE = profile_of(columns_of(1_000))
RECORDS = columns_of(ROWS) | {"unrelated": np.zeros(3)}


def picked(rows: list[int]) -> dict[str, Column]:
    return {name: np.asarray(RECORDS[name])[rows] for name in ("amount", "city")}


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(ROWS)), st.lists(st.integers(0, ROWS), max_size=8), st.randoms())
def test_any_split_order_and_merge_gives_the_same_bytes(order: list[int], cuts: list[int], random: object) -> None:
    bounds = [0, *sorted(cuts), ROWS]
    parts = [count(PROFILE, picked(order[a:b])) for a, b in pairwise(bounds)]
    random.shuffle(parts)  # type: ignore[attr-defined]  # hypothesis types its random as object
    merged = sum(parts, start=empty(PROFILE))
    assert merged.to_bytes() == count(PROFILE, RECORDS).to_bytes()


def test_the_reference_counted_again_is_the_reference() -> None:
    columns = columns_of(500)
    profile = profile_of(columns)
    assert np.array_equal(count(profile, columns).counts, profile.counts)


def test_a_dictionary_that_differs_from_batch_to_batch_makes_no_difference() -> None:
    one = CodedText(np.array([0, 1, -1], dtype=np.int32), ("Rome", "Paris"))
    two = CodedText(np.array([2, 0, -1], dtype=np.int8), ("Paris", "Oslo", "Rome"))
    amount = np.zeros(3)
    assert count(PROFILE, {"amount": amount, "city": one}) == count(PROFILE, {"amount": amount, "city": two})


def test_a_text_that_stands_twice_in_a_dictionary_is_one_text() -> None:
    commonest = PROFILE.feature("city").categories[0]
    once = CodedText(np.array([0, 0, 1], dtype=np.int8), (commonest, "Paris"))
    twice = CodedText(np.array([0, 2, 1], dtype=np.int8), (commonest, "Paris", commonest))
    amount = np.arange(3.0)
    assert len(PROFILE.relations) == 1
    assert count(PROFILE, {"amount": amount, "city": twice}) == count(PROFILE, {"amount": amount, "city": once})


def test_bytes_and_window_are_each_others_image() -> None:
    window = count(PROFILE, RECORDS)
    assert Window.from_bytes(window.to_bytes(), PROFILE) == window


def test_its_size_depends_on_the_profile_alone() -> None:
    assert len(count(PROFILE, RECORDS).to_bytes()) == len(empty(PROFILE).to_bytes()) == 44 + 8 * PROFILE.size


def test_windows_of_different_profiles_do_not_add_up() -> None:
    with pytest.raises(Invalid, match="different profiles"):
        empty(PROFILE) + empty(profile_of(columns_of(10)))


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param({"amount": np.zeros(2)}, id="a column is missing"),
        pytest.param({"amount": np.zeros(2), "city": np.zeros(2)}, id="numbers for text"),
        pytest.param({"amount": np.array(["a", "b"]), "city": np.array(["a", "b"])}, id="text for numbers"),
        pytest.param({"amount": np.zeros(2), "city": np.array(["a"])}, id="different lengths"),
    ],
)
def test_a_batch_that_does_not_fit_the_profile_is_refused(batch: dict[str, Column]) -> None:
    with pytest.raises(Invalid):
        count(PROFILE, batch)


@pytest.mark.parametrize("codes", [[-2], [1], [[0]], [0.0]])
def test_codes_outside_their_dictionary_are_refused(codes: list[object]) -> None:
    with pytest.raises(Invalid):
        CodedText(np.array(codes), ("only",))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(count(PROFILE, RECORDS).to_bytes()[:-8], id="cut off"),
        pytest.param(b"GPW2" + count(PROFILE, RECORDS).to_bytes()[4:], id="another format"),
        pytest.param(count(PROFILE, RECORDS).to_bytes()[:-8] + b"\xff" * 8, id="a count below zero"),
        pytest.param(count(PROFILE, RECORDS).to_bytes()[:-8] + b"\x01" * 8, id="counts that don't add up"),
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        Window.from_bytes(data, PROFILE)
