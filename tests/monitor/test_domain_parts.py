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
    assert parts.groups[0] in (11, 12)  # nine or ten of the reference's own, never seen, missing
    assert parts.reference.sum() == pytest.approx(5_000 / parts.overdispersion[0])


def test_a_feature_that_mostly_holds_one_value_is_judged_apart_from_it_too() -> None:
    gains = np.where(RANDOM.random(10_000) < 0.04, RANDOM.integers(1, 9_999, 10_000), 0)
    parts = Parts(profile_of({"gains": gains}))
    assert [part.name for part in parts.parts] == ["gains", "gains apart from 0"]
    assert parts.reference[1].sum() == pytest.approx(np.sum(gains > 0) / parts.overdispersion[1])
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
    assert parts.reference[0].sum() * parts.overdispersion[0] == pytest.approx(len(column))


def test_pooling_loses_no_row() -> None:
    profile = profile_of({"a": RANDOM.integers(0, 40, 3_000), "b": RANDOM.choice(list("abcdefgh"), 3_000)})
    parts = Parts(profile)
    many = np.stack([profile.counts, profile.counts * 2])
    assert (parts.collect(many) * parts.overdispersion[:, np.newaxis]).sum(axis=-1) == pytest.approx(
        np.array([[3_000, 3_000], [6_000, 6_000]])
    )
