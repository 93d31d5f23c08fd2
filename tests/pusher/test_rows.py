"""What a row may say: each way to be wrong is refused with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.features.shapes import Kind, Row, Shape
from services.pusher.domain.rows import Given, row_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHAPE = Shape(
    "cards",
    "cards_history",
    {"card": Kind.TEXT, "branch": Kind.WHOLE},
    {"mean": Kind.NUMBER, "count": Kind.WHOLE, "abroad": Kind.FLAG, "city": Kind.TEXT},
    "event_time",
    "kept_at",
)
GIVEN = Given({"card": "c1", "branch": "-7"}, NOW, {"mean": 2.5, "count": 3.0, "abroad": 1.0}, {"city": "Köln"})


def test_a_row_has_the_types_of_its_view() -> None:
    assert row_of(GIVEN, SHAPE, NOW, where="rows[0]") == Row(
        {"card": "c1", "branch": -7}, {"mean": 2.5, "count": 3, "abroad": True, "city": "Köln"}, NOW
    )


def test_what_isnt_a_number_is_missing() -> None:
    assert row_of(replace(GIVEN, numbers={"mean": float("nan")}), SHAPE, NOW, where="").values == {"city": "Köln"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        pytest.param({"event_time": None}, "rows[0].event_time", id="no moment"),
        pytest.param({"event_time": NOW + timedelta(minutes=6)}, "rows[0].event_time", id="a moment ahead of us"),
        pytest.param({"keys": {"card": "c1"}}, "rows[0].keys", id="a key is missing"),
        pytest.param({"keys": dict(GIVEN.keys) | {"bank": "b"}}, "rows[0].keys", id="a key too many"),
        pytest.param({"keys": {"card": "", "branch": "1"}}, "rows[0].keys[card]", id="an empty key"),
        pytest.param({"keys": {"card": "c", "branch": "x"}}, "rows[0].keys[branch]", id="a key of another type"),
        pytest.param({"keys": {"card": "c", "branch": "9" * 19}}, "rows[0].keys[branch]", id="a key too large"),
        pytest.param({"numbers": {"median": 1.0}}, "rows[0][median]", id="a feature that the view hasn't"),
        pytest.param({"numbers": {"city": 1.0}}, "rows[0][city]", id="a number for text"),
        pytest.param({"texts": {"mean": "1"}}, "rows[0][mean]", id="text for a number"),
        pytest.param({"numbers": {"count": 1.5}}, "rows[0][count]", id="a part of a whole number"),
        pytest.param({"numbers": {"count": float("inf")}}, "rows[0][count]", id="an endless whole number"),
        pytest.param({"numbers": {"abroad": 2.0}}, "rows[0][abroad]", id="neither true nor false"),
    ],
)
def test_a_row_that_isnt_one_of_the_views_is_refused(change: Mapping[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as refused:
        row_of(replace(GIVEN, **change), SHAPE, NOW, where="rows[0]")
    assert refused.value.where == where
