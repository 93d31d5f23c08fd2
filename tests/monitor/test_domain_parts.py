"""What of a profile is judged."""

from __future__ import annotations

import numpy as np
import pytest

from services.monitor.domain.parts import Parts
from services.profile import Column, profile_of

RANDOM = np.random.default_rng(5)


def test_a_spread_feature_is_judged_on_tenths_and_what_was_never_seen() -> None:
    parts = Parts(profile_of({"x": RANDOM.normal(size=5_000)}))
    assert [part.name for part in parts.parts] == ["x"]
    assert parts.groups[0] in (12, 13)  # nine or ten of the reference's own, below, above, missing
    assert parts.parts[0].unseen == (0, parts.groups[0] - 2)
    assert parts.reference.sum() == pytest.approx(5_000 / parts.parts[0].feature.overdispersion)


def test_the_groups_of_numbers_are_in_their_order_and_so_are_their_values() -> None:
    part = Parts(profile_of({"x": RANDOM.standard_cauchy(5_000)})).parts[0]
    assert list(part.groups) == sorted(part.groups)
    assert np.all(np.diff(part.values()) >= 0)
    assert part.values().size == max(part.groups)


def test_a_feature_that_mostly_holds_one_value_is_judged_apart_from_it_too() -> None:
    gains = np.where(RANDOM.random(10_000) < 0.04, RANDOM.integers(1, 9_999, 10_000), 0)
    parts = Parts(profile_of({"gains": gains}))
    assert [part.name for part in parts.parts] == ["gains", "gains apart from 0"]
    assert parts.reference[1].sum() == pytest.approx(np.sum(gains > 0) / parts.parts[1].feature.overdispersion)
    assert parts.groups[1] >= 10


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(np.full(100, 3.0), id="a constant"),
        pytest.param(np.full(100, np.nan), id="wholly missing"),
        pytest.param(np.full(100, "a", dtype=object), id="one category"),
        pytest.param(np.array([f"c{place}" for place in range(1_000)], dtype=object), id="all different"),
        pytest.param(np.arange(1_000.0), id="all numbers different"),
        pytest.param(np.array([1.0]), id="one row"),
    ],
)
def test_any_feature_can_be_judged(column: Column) -> None:
    parts = Parts(profile_of({"x": column}))
    assert np.all(parts.groups >= 1)
    assert parts.reference[0].sum() * parts.parts[0].feature.overdispersion == pytest.approx(len(column))


def test_pooling_loses_no_row() -> None:
    profile = profile_of({"a": RANDOM.integers(0, 40, 3_000), "b": RANDOM.choice(list("abcdefgh"), 3_000)})
    parts = Parts(profile)
    assert parts.collect(profile.counts * 2).sum(axis=-1).tolist() == [6_000, 6_000]
