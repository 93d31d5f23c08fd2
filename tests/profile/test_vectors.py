"""Vectors: as many numbers per record as the reference's, watched as their distance and eight directions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import distance

from services.chassis.errors import Invalid
from services.profile import Column, ReferenceProfile, Window, count, empty, profile_of
from services.profile.columns import Numbers
from services.profile.vectors import DIRECTIONS, Vector, with_numbers

RANDOM = np.random.default_rng(11)
WIDTH, ROWS = 12, 150
VECTORS = RANDOM.normal(size=(2_000, WIDTH)) + np.arange(WIDTH)
PROFILE = profile_of({"text": VECTORS, "age": RANDOM.normal(size=2_000)})
RECORDS: dict[str, Column] = {"text": VECTORS[:ROWS] + 0.5, "age": RANDOM.normal(size=ROWS)}


def apart(vectors: Numbers) -> dict[str, Column]:
    """Vectors as model servers tell of them: a column for each number."""
    return {f"text[{place}]": vectors[:, place] for place in range(vectors.shape[1])}


def standing(vectors: Numbers) -> Numbers:
    """The numbers that stand for vectors, shape (rows, features)."""
    made = with_numbers(PROFILE.vectors, {"text": vectors})
    return np.stack([np.asarray(made[name]) for name in PROFILE.vectors[0].features], axis=1)


def test_a_vector_is_watched_as_nine_features_beside_all_others() -> None:
    ours = [feature.name for feature in PROFILE.features]
    assert ours == ["age", *(f"text·{place}" for place in range(1, DIRECTIONS + 1)), "text·distance"]


def test_the_distance_is_that_of_scipy_to_the_references_mean() -> None:
    expected = distance.cdist(VECTORS[:ROWS], VECTORS.mean(axis=0)[np.newaxis])[:, 0]
    assert standing(VECTORS[:ROWS])[:, 0] == pytest.approx(expected)


def test_a_direction_is_a_sum_of_all_numbers_with_fixed_signs_and_keeps_lengths() -> None:
    mean = PROFILE.vectors[0].mean
    signs = standing(mean + np.eye(WIDTH))[:, 1:] * np.sqrt(WIDTH)
    assert np.abs(signs) == pytest.approx(1.0)
    assert standing(VECTORS[:ROWS])[:, 1:] == pytest.approx((VECTORS[:ROWS] - mean) @ signs / np.sqrt(WIDTH))


def test_directions_of_a_wide_vector_have_nothing_to_do_with_each_other() -> None:
    wide = Vector("wide", np.zeros(4_096))
    signs = np.stack(list(wide.numbers(list(np.eye(4_096))).values())[1:]) * 64
    together = signs @ signs.T / 4_096
    assert np.abs(together - np.eye(DIRECTIONS)).max() < 4 / 64  # four deviations of chance


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(ROWS)), st.lists(st.integers(0, ROWS), max_size=6))
def test_any_split_and_order_gives_the_same_bytes(order: list[int], cuts: list[int]) -> None:
    pieces = [counted({n: np.asarray(c)[order[a:b]] for n, c in RECORDS.items()}) for a, b in bounds_of(cuts)]
    assert sum(pieces, start=empty(PROFILE)).to_bytes() == counted(RECORDS).to_bytes()


def bounds_of(cuts: list[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *sorted(cuts), ROWS]))


def counted(columns: dict[str, Column]) -> Window:
    return count(PROFILE, with_numbers(PROFILE.vectors, columns))


def test_a_record_alone_has_the_very_numbers_that_it_has_among_others() -> None:
    alone = np.concatenate([standing(VECTORS[row : row + 1]) for row in range(ROWS)])
    assert np.array_equal(alone, standing(VECTORS[:ROWS]))


def test_the_reference_counted_again_is_the_reference() -> None:
    columns: dict[str, Column] = {"text": VECTORS}
    profile = profile_of(columns)
    assert np.array_equal(count(profile, with_numbers(profile.vectors, columns)).counts, profile.counts)


def test_numbers_that_come_as_columns_of_their_own_are_the_same_vector() -> None:
    made = with_numbers(PROFILE.vectors, apart(VECTORS[:ROWS]))
    numbers = np.stack([np.asarray(made[name]) for name in PROFILE.vectors[0].features], axis=1)
    assert np.array_equal(numbers, standing(VECTORS[:ROWS]))


def test_a_record_that_lacks_a_number_lacks_the_vector() -> None:
    broken = VECTORS[:3].copy()
    broken[1, 4] = np.nan
    assert np.isnan(standing(broken)).tolist() == [[False] * 9, [True] * 9, [False] * 9]


def test_rows_without_a_vector_are_missing_ones() -> None:
    some = VECTORS.copy()
    some[::4] = np.nan
    profile = profile_of({"text": some})
    assert [feature.counts[-1] for feature in profile.features] == [500] * 9
    assert profile.vectors[0].mean == pytest.approx(np.nanmean(some, axis=0))


def test_it_travels_as_bytes_and_row_order_changes_no_mean() -> None:
    again = ReferenceProfile.from_bytes(PROFILE.to_bytes())
    shuffled = profile_of({"text": RANDOM.permutation(VECTORS)})
    assert again.to_bytes() == PROFILE.to_bytes()
    assert np.array_equal(again.vectors[0].mean, shuffled.vectors[0].mean)


def test_whatever_numbers_a_vector_holds_nothing_breaks() -> None:
    wild = np.full((4, WIDTH), [[np.inf], [-np.inf], [1.7e308], [0.0]])
    assert np.isfinite(standing(wild)).all(axis=1).tolist() == [False, False, False, True]


with_nan, with_infinity = VECTORS.copy(), VECTORS.copy()
with_nan[7, 3], with_infinity[7, 3] = np.nan, np.inf


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        pytest.param(with_nan, "row 7 has a number that is missing or infinite", id="a missing number"),
        pytest.param(with_infinity, "row 7 has a number that is missing or infinite", id="an infinite number"),
        pytest.param(np.full((5, 3), np.nan), "no row has a vector", id="no vector at all"),
        pytest.param(np.zeros((5, 0)), "vectors have 1 to 4096 numbers", id="nothing in it"),
        pytest.param(np.zeros((5, 2, 2)), "vectors have 1 to 4096 numbers", id="matrices"),
        pytest.param(np.full((5, 2), "a", dtype=object), "they are of numbers", id="text"),
    ],
)
def test_a_reference_of_broken_vectors_is_refused(vectors: NDArray[np.generic], words: str) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        profile_of({"text": vectors})
    assert refused.value.where == "text"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        pytest.param({"text": VECTORS[:5, :11]}, "has 11 numbers, the reference's have 12", id="shorter"),
        pytest.param(apart(VECTORS[:5, :11]), "has 11 numbers, the reference's have 12", id="shorter, apart"),
        pytest.param(apart(np.zeros((5, 13))), "has 13 numbers, the reference's have 12", id="longer, apart"),
        pytest.param({"age": np.zeros(5)}, "has 0 numbers, the reference's have 12", id="none"),
        pytest.param(
            apart(np.zeros((5, 12))) | {"text[3]": np.array(["a"] * 5)}, "text where the reference has", id="text"
        ),
    ],
)
def test_records_whose_vectors_are_not_the_references_are_refused(columns: dict[str, Column], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        with_numbers(PROFILE.vectors, columns)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param(b'"vectors":{"text":', b'"vectors":{"other":', id="one that nothing stands for"),
        pytest.param(b'"vectors":{"text":[', b'"vectors":{"text":[1e999,', id="an infinite mean"),
    ],
)
def test_bytes_of_broken_vectors_are_refused(right: bytes, wrong: bytes) -> None:
    with pytest.raises(Invalid):
        ReferenceProfile.from_bytes(PROFILE.to_bytes().replace(right, wrong))
