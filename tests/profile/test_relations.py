"""Which features go together: counted exactly, bounded in number, and the same whatever the split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.chassis.errors import Invalid
from services.profile import CodedText, Column, ReferenceProfile, count, profile_of
from services.profile.relations import MOST_PAIRS, none

RANDOM = np.random.default_rng(5)


def correlated(rows: int, correlation: float) -> dict[str, Column]:
    a, b = RANDOM.normal(size=(2, rows))
    return {"a": a, "b": correlation * a + np.sqrt(1 - correlation**2) * b}


def test_halved_normal_features_go_together_as_sheppard_says() -> None:
    profile = profile_of(correlated(200_000, 0.5))
    assert profile.relations.together[0] / profile.rows == pytest.approx(0.5 + np.arcsin(0.5) / np.pi, abs=0.005)


def test_every_record_is_counted_on_the_side_it_lies_on() -> None:
    rows = 3_001  # no multiple of a word
    a = RANDOM.normal(size=rows)
    a[::7] = np.nan
    cities = RANDOM.choice(np.array(["Rome", "Rome", "Oslo", None], dtype=object), rows)
    profile = profile_of({"a": a, "city": cities})
    cut = profile.feature("a").edges[profile.relations.cuts[0]]
    assert profile.relations.together.tolist() == [int(np.sum((a > cut) == (cities == "Rome")))]


def test_coded_text_and_text_give_the_same() -> None:
    columns: dict[str, Column] = {
        "a": RANDOM.normal(size=500),
        "city": RANDOM.choice(np.array(["Rome", "Oslo"], dtype=object), 500),
    }
    profile = profile_of(columns)
    names = ("Paris", "Oslo", "Rome")
    coded = CodedText(np.array([names.index(city) for city in columns["city"]], dtype=np.int8), names)  # type: ignore[union-attr]
    assert count(profile, columns | {"city": coded}) == count(profile, columns)
    elsewhere = CodedText(np.zeros(500, dtype=np.int8), ("Paris",))
    above = int(np.sum(np.asarray(columns["a"]) > profile.feature("a").edges[profile.relations.cuts[0]]))
    assert count(profile, columns | {"city": elsewhere}).together.tolist() == [500 - above]


def test_of_many_features_those_pairs_are_kept_that_go_together_most() -> None:
    wide: dict[str, Column] = {f"n{place:02}": RANDOM.normal(size=2_000) for place in range(60)}
    wide["n59"] = np.asarray(wide["n00"]) + RANDOM.normal(size=2_000)
    relations = profile_of(wide).relations
    assert len(relations) == MOST_PAIRS
    assert (0, 59) in set(zip(relations.first.tolist(), relations.second.tolist(), strict=True))


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"a": np.arange(9.0)}, id="one feature"),
        pytest.param({"a": np.arange(9.0), "b": np.ones(9)}, id="one that is constant"),
        pytest.param({"a": np.arange(9.0), "b": np.full(9, np.nan)}, id="one that is missing"),
        pytest.param({"a": np.arange(9.0), "b": np.full(9, None, dtype=object)}, id="a text that is missing"),
    ],
)
def test_what_has_but_one_side_goes_together_with_nothing(columns: dict[str, Column]) -> None:
    profile = profile_of(columns)
    assert len(profile.relations) == 0
    assert count(profile, columns).counts.size == profile.bins


def test_a_profile_of_before_relations_were_kept_reads_and_writes_as_it_did() -> None:
    old = replace(profile_of(correlated(100, 0.5)), relations=none(2))
    assert b"relations" not in old.to_bytes()
    assert ReferenceProfile.from_bytes(old.to_bytes()).to_bytes() == old.to_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("cuts", [0], id="too few cuts"),
        pytest.param("cuts", [0, 99], id="a cut beyond the edges"),
        pytest.param("first", [1], id="a feature with itself"),
        pytest.param("second", [2], id="a feature too many"),
        pytest.param("together", [101], id="more rows than there are"),
        pytest.param("together", [-1], id="fewer than none"),
        pytest.param("second", [1, 1], id="of two lengths"),
    ],
)
def test_relations_that_make_no_sense_are_refused(name: str, value: list[int]) -> None:
    profile = profile_of(correlated(100, 0.5))
    wrong: Any = {name: np.array(value, dtype=np.int64)}
    broken = replace(profile, relations=replace(profile.relations, **wrong))
    with pytest.raises(Invalid, match="isn't a reference profile"):
        ReferenceProfile.from_bytes(broken.to_bytes())
