"""An error's type says an event's fate, and a limit guards the topic."""

from __future__ import annotations

import pytest

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


def test_the_limit_is_a_share_of_the_last_events_and_not_a_few_bad_ones() -> None:
    limit = DeadLetterLimit()
    remember(limit, died=19, lived=0)
    assert limit.exceeded() == ""
    remember(limit, died=1, lived=0)
    assert limit.exceeded() == "20 of its last 20 events became dead letters"
    remember(limit, died=0, lived=21)
    assert limit.exceeded() == ""


def remember(limit: DeadLetterLimit, *, died: int, lived: int) -> None:
    for _ in range(died):
        limit.remember(died=True)
    for _ in range(lived):
        limit.remember(died=False)


def test_an_error_reads_as_a_sentence_with_its_place_and_what_to_do() -> None:
    assert str(GoldenpathError("isn't there", where="model", fix="register it")) == "model: isn't there (register it)"
