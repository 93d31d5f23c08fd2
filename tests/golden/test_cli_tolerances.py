"""`golden tolerances`: what each feature should be allowed, from how its reference's own stretches of time differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from services.monitor.domain.measures import MEASURES
from services.profile.effects import TOLERANCES


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A thousand rows of which `trend` rises all along."""
    random = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "trend": random.normal(size=8_000) + np.linspace(0, 2, 8_000),
            "steady": random.normal(size=8_000),
            "city": random.choice(np.array(["Rome", "Oslo", None], dtype=object), 8_000),
        }
    )
    frame.to_parquet(tmp_path / "reference.parquet")
    frame.to_csv(tmp_path / "reference.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("effect", ["psi", "js", "ks", "wasserstein"])
@pytest.mark.parametrize("name", ["reference.parquet", "reference.csv"])
def test_what_was_restless_already_is_allowed_more(reference: Path, golden: Any, effect: str, name: str) -> None:
    told = json.loads(golden("tolerances", str(reference / name), "--effect", effect, "--json").out)
    assert told[0]["feature"] == "trend"
    assert told[0]["tolerance"] == 2 * told[0]["largest"]
    assert {each["tolerance"] for each in told[1:]} == {TOLERANCES[effect]}


def test_a_suggestion_is_written_as_golden_yaml_takes_it(reference: Path, golden: Any) -> None:
    shown = golden("tolerances", str(reference / "reference.parquet")).out
    drift = yaml.safe_load(shown.partition("In golden.yaml:")[2])["drift"]
    assert list(drift["feature_tolerances"]) == ["trend"]
    assert drift["feature_tolerances"]["trend"] > 0.4


def test_vectors_are_allowed_for_as_what_stands_for_them(tmp_path: Path, golden: Any) -> None:
    vectors = np.random.default_rng(2).normal(size=(2_000, 3)) + np.linspace(0, 4, 2_000)[:, np.newaxis]
    pd.DataFrame({"text": [None, *vectors]}).to_parquet(tmp_path / "reference.parquet")
    told = json.loads(golden("tolerances", str(tmp_path / "reference.parquet"), "--json").out)
    assert {each["feature"] for each in told} == {f"text·{which}" for which in ("distance", *range(1, 9))}
    assert told[0]["largest"] > 0.4


def test_the_shipped_tolerances_are_the_monitors() -> None:
    assert dict(TOLERANCES) == {name: measure.tolerance for name, measure in MEASURES.items()}


@pytest.mark.parametrize("wrong", [["nothing.csv"], ["reference.csv", "--effect", "vibes"]])
def test_what_cannot_be_suggested_from_is_said(reference: Path, golden: Any, wrong: list[str]) -> None:
    ended = golden("tolerances", str(reference / wrong[0]), *wrong[1:])
    assert ended.status == 1
    assert ended.err.startswith("✗ ")
