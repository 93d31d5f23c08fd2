"""Why a row scored as it did: parts against what a linear score's Shapley values are by their definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from golden.reasons import Value, background, reasons_of
from services.chassis.errors import Invalid
from services.profile import profile_of

CHANCE = np.random.default_rng(5)
AGES = CHANCE.integers(18, 90, 4_000).astype(float)
SCHOOLS = CHANCE.choice(np.array(["school", "college"], dtype=object), 4_000, p=[0.75, 0.25])
GAINS = np.where(CHANCE.random(4_000) < 0.5, np.nan, 10.0)
PROFILE = profile_of({"age": AGES, "education": SCHOOLS, "gains": GAINS}, scores={"score": AGES / 100})


def added(columns: Mapping[str, Sequence[Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A score that adds what each input says."""
    ages = np.array(columns["age"], dtype=float)
    schooled = np.array([value == "college" for value in columns["education"]], dtype=float)
    gained = np.array([value is not None for value in columns["gains"]], dtype=float)
    return np.asarray(0.01 * ages + 0.5 * schooled - 0.25 * gained)


def together(columns: Mapping[str, Sequence[Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A score to which two inputs only add together."""
    ages = np.array(columns["age"], dtype=float)
    schooled = np.array([value == "college" for value in columns["education"]], dtype=float)
    return np.asarray(0.01 * ages * schooled)


ROW: dict[str, Value] = {"age": 80.0, "education": "college", "gains": None}


def test_rows_that_stand_for_the_reference_look_like_it() -> None:
    usual = background(PROFILE, ["age", "education", "gains"], rows=2_000)
    ages = np.array(usual["age"], dtype=float)
    assert ages.mean() == pytest.approx(AGES.mean(), abs=1.5)
    assert usual["education"].count("college") / 2_000 == pytest.approx(0.25, abs=0.03)
    assert usual["gains"].count(None) / 2_000 == pytest.approx(0.5, abs=0.04)
    assert background(PROFILE, ["age"], rows=10) == background(PROFILE, ["age"], rows=10)


def test_an_input_that_the_reference_does_not_have_is_named() -> None:
    with pytest.raises(Invalid, match="height"):
        background(PROFILE, ["age", "height"])


def test_parts_of_an_additive_score_are_what_each_input_adds_beside_the_usual() -> None:
    usual = background(PROFILE, list(ROW))
    found = reasons_of(ROW, usual, added)
    parts = {one.input: one.part for one in found.parts}
    assert found.score == pytest.approx(1.3)
    assert found.baseline == pytest.approx(float(added(usual).mean()))
    assert parts["age"] == pytest.approx(0.01 * (80 - np.mean(np.array(usual["age"], dtype=float))))
    assert parts["education"] == pytest.approx(0.5 * (1 - usual["education"].count("college") / 64))
    assert parts["gains"] == pytest.approx(0.25 * (1 - usual["gains"].count(None) / 64))
    assert max(one.error for one in found.parts) < 1e-9


def test_parts_and_baseline_sum_to_the_score_also_where_inputs_work_together() -> None:
    found = reasons_of(ROW, background(PROFILE, list(ROW)), together)
    assert found.score == pytest.approx(0.8)
    assert found.baseline + sum(one.part for one in found.parts) == pytest.approx(0.8)
    assert [one.input for one in found.parts][-1] == "gains"
    assert found.parts[-1].part == pytest.approx(0, abs=1e-12)


def test_the_largest_part_comes_first_whatever_its_sign() -> None:
    found = reasons_of(ROW, background(PROFILE, list(ROW)), lambda columns: -added(columns))
    sizes = [abs(one.part) for one in found.parts]
    assert sizes == sorted(sizes, reverse=True)
    assert found.parts[0].part < 0
