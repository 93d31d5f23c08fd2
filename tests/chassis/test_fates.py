"""An error's type says an event's fate, and a limit guards the topic."""

from __future__ import annotations

import pytest

from services.chassis import instruments
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.fates import DeadLetterLimit, Fate, fate_of
from services.chassis.leases import LeaseLost


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (Invalid("x"), Fate.DEAD),
        (Denied("x"), Fate.DEAD),
        (NotFound("x"), Fate.PARK),
        (Conflict("x"), Fate.PARK),
        (Unavailable("x"), Fate.PAUSE),
        (LeaseLost("x"), Fate.PAUSE),
        (KeyError("x"), Fate.RETRY),
    ],
)
def test_an_errors_type_says_an_events_fate(error: Exception, fate: Fate) -> None:
    assert fate_of(error) is fate


def limit_after(*counts: tuple[bool, int], topic: str = "topic") -> DeadLetterLimit:
    limit = DeadLetterLimit("test")
    for died, events in counts:
        limit.remember(topic, died=died, events=events)
    return limit


DIED, LIVED = True, False


@pytest.mark.parametrize(
    ("counts", "exceeded"),
    [
        pytest.param([(DIED, 19)], "", id="a few bad ones"),
        pytest.param([(DIED, 20)], "20 of the last 20 events on topic became dead letters", id="nothing but bad ones"),
        pytest.param([(LIVED, 21), (DIED, 20)], "", id="not half"),
        pytest.param([(LIVED, 21), (DIED, 21)], "21 of the last 42 events on topic became dead letters", id="half"),
        pytest.param([(LIVED, 900), (DIED, 99)], "", id="not half of the last ones"),
        pytest.param([(LIVED, 900), (DIED, 100)], "100 of the last 200 events on topic became dead letters", id="late"),
    ],
)
def test_the_limit_is_a_share_of_a_topics_last_events_and_not_a_few_bad_ones(
    counts: list[tuple[bool, int]], exceeded: str
) -> None:
    assert limit_after(*counts).exceeded() == exceeded


def test_a_topic_on_which_all_is_well_hides_no_other() -> None:
    limit = limit_after((DIED, 19), topic="bad")
    limit.remember("good", died=False, events=500)
    limit.remember("bad", died=True)

    assert limit.exceeded() == "20 of the last 20 events on bad became dead letters"


def test_a_limit_that_was_exceeded_is_told_by_a_gauge() -> None:
    limit_after((DIED, 19))
    assert instruments.STOPPED.labels("test")._value.get() == 0
    limit_after((DIED, 20))
    assert instruments.STOPPED.labels("test")._value.get() == 1


def test_a_limit_that_was_exceeded_stays_so() -> None:
    assert limit_after((DIED, 20), (LIVED, 500)).exceeded() == "20 of the last 20 events on topic became dead letters"


def test_an_error_reads_as_a_sentence_with_its_place_and_what_to_do() -> None:
    assert str(GoldenpathError("isn't there", where="model", fix="register it")) == "model: isn't there (register it)"
