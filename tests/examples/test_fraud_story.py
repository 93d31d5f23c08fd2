"""The story that the example is there to tell, on one seed; `measure` tells it on several."""

from __future__ import annotations

import pytest

from examples.fraud import measure
from examples.fraud.scenarios import Scenario
from services.profile.effects import TOLERANCES


@pytest.fixture(scope="module")
def told() -> measure.Story:
    return measure.story(seed=1)


def test_version_2_is_better_on_what_the_bank_knew(told: measure.Story) -> None:
    assert told.known.cost[2] < 0.7 * told.known.cost[1]
    assert told.known.precision[2][Scenario.GENUINE] > 0.2 + told.known.precision[1][Scenario.GENUINE]
    assert Scenario.BELOW_THE_LIMIT not in told.known.caught[1]


def test_version_1_catches_the_new_scenario_and_version_2_does_not(told: measure.Story) -> None:
    assert told.new.caught[1][Scenario.BELOW_THE_LIMIT] > 0.8
    assert told.new.caught[2][Scenario.BELOW_THE_LIMIT] < 0.4
    assert told.new.cost[1] < 0.7 * told.new.cost[2]


def test_inputs_hardly_move_while_the_loss_rises(told: measure.Story) -> None:
    assert max(told.drift) < TOLERANCES["psi"] / 2
    assert told.new.loss[2] > 2 * told.quiet.loss[2]


def test_the_tables_have_a_line_for_each_scenario_and_each_seed(told: measure.Story) -> None:
    assert measure.by_scenario([told]).count("\n") == 1 + len(told.new.caught[1])
    assert measure.by_seed([told, told]).count("\n") == 1 + 2
