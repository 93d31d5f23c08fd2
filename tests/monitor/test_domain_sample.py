"""What outcomes say about scores, where somebody writes them otherwise than the model names its classes."""

from __future__ import annotations

import math

import pytest

from services.monitor.domain.sample import Scored, log_loss, outcomes_of

PAYMENTS = [*[Scored(0.02, "0", (None, "0"))] * 99, Scored(0.9, "1", (None, "1"))]


@pytest.mark.parametrize("label", ["fraud", "maybe", "", "1.0"])
@pytest.mark.parametrize("predicted", [0.02, 0.9])
def test_an_outcome_of_a_class_that_the_model_hasnt_changes_what_is_thought_of_no_other(
    label: str, predicted: float
) -> None:
    wrong = Scored(predicted, str(round(predicted)), (None, label))
    *others, spoilt = outcomes_of([*PAYMENTS, wrong])
    assert others == outcomes_of(PAYMENTS)
    assert math.isnan(spoilt)
    assert log_loss([*PAYMENTS, wrong]) == log_loss(PAYMENTS)


def test_where_one_class_alone_is_predicted_and_two_others_came_true_nobody_can_say_which_is_the_models() -> None:
    records = [Scored(0.02, "0", (None, label)) for label in ("0", "1", "fraud")]
    assert outcomes_of(records) == pytest.approx([0.0, math.nan, math.nan], nan_ok=True)


def test_of_three_classes_the_score_is_about_the_predicted_one() -> None:
    records = [Scored(0.8, "a", (None, "a")), Scored(0.6, "b", (None, "c")), Scored(0.7, "b", (None, "b"))]
    assert outcomes_of(records) == [1.0, 0.0, 1.0]
