"""Embeddings under the judge: what moved them is noticed, what didn't isn't, and they are told of by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Finding, Noticed
from services.monitor.domain.judge import Judge
from services.monitor.domain.panes import cut
from services.monitor.predictions import Predictions, Served, gathered, random_ids
from services.profile import Column, profile_of
from services.profile.columns import Numbers
from services.profile.vectors import component_of

WIDTH = 64
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RANDOM = np.random.default_rng(5)
MIXING = RANDOM.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)


def embeddings(rows: int) -> Numbers:
    """Numbers that depend on each other, as an embedding's do."""
    return np.asarray(RANDOM.normal(size=(rows, WIDTH)) @ MIXING)


JUDGE = Judge(profile_of({"text": embeddings(20_000), "length": RANDOM.poisson(9, 20_000)}), Settings())


def findings(changed: Numbers, rows: int) -> list[Finding]:
    """What the judge finds where so much is added to each embedding."""
    state = JUDGE.begin(NOON)
    found: list[Finding] = []
    for _ in range(rows // 200):
        columns: Mapping[str, Column] = {"text": embeddings(200) + changed, "length": RANDOM.poisson(9, 200)}
        panes = cut(JUDGE.profile, columns, np.full(200, int(NOON.timestamp() * 1e6)))
        state, more = JUDGE.observe(state, [pane.window for pane in panes], NOON + timedelta(minutes=1))
        found += more
    return found


def test_embeddings_that_stay_are_not_found_to_have_moved() -> None:
    assert findings(np.zeros(WIDTH), 20_000) == []


@pytest.mark.parametrize("length", [1.0, 2.0])
def test_a_move_into_any_direction_is_noticed_and_the_vector_is_named(length: float) -> None:
    whither = RANDOM.normal(size=WIDTH)
    found = findings(whither * length / np.linalg.norm(whither), 4_000)
    assert isinstance(found[0], Noticed)
    assert found[0].features[0].feature.startswith("text·")


def test_single_predictions_bring_their_numbers_by_name_and_count_as_the_same_vectors() -> None:
    vectors, length = embeddings(50), RANDOM.poisson(9, 50).astype(float)
    numbers = {component_of("text", place): vectors[:, place] for place in range(WIDTH)}
    times = np.full(50, int(NOON.timestamp() * 1e6))
    place = Served("texts", 1, "production", 1, candidate=False)
    told = Predictions(place, random_ids(50), times, numbers | {"length": length}, {}, np.zeros(50), None)
    batch = gathered(told, "records/0/0", 1, JUDGE.profile)
    (pane,) = cut(JUDGE.profile, batch.columns, times)
    (expected,) = cut(JUDGE.profile, {"text": vectors, "length": length}, times)
    assert pane.window == expected.window
    assert {column.name for column in PackedBatch.FromString(batch.data).inputs} == {"length", *numbers}


def test_a_single_prediction_that_lacks_a_number_lacks_the_vector() -> None:
    numbers = {component_of("text", place): np.zeros(1) for place in range(WIDTH - 1)}
    place, times = Served("texts", 1, "production", 1, candidate=False), np.array([int(NOON.timestamp() * 1e6)])
    told = Predictions(place, random_ids(1), times, numbers | {"length": np.ones(1)}, {}, np.zeros(1), None)
    (pane,) = cut(JUDGE.profile, gathered(told, "records/0/0", 1, JUDGE.profile).columns, times)
    assert [pane.window.of(feature.name)[-1] for feature in JUDGE.profile.features] == [0, *[1] * 9]
