from __future__ import annotations

from datetime import timedelta

import pytest

from services.chassis.clock import ManualClock, SystemClock
from services.chassis.errors import Unavailable
from services.chassis.timekeeping import on_time
from tests.chassis.kit import Service


async def test_a_clock_that_agrees_with_the_databases_is_right(service: Service) -> None:
    await on_time(service.database, SystemClock())()


@pytest.mark.parametrize(
    ("wrong", "said"), [(timedelta(hours=1), "3,600 s ahead of"), (timedelta(seconds=-90), "90 s behind")]
)
async def test_a_clock_that_differs_from_the_databases_is_not_right(
    service: Service, wrong: timedelta, said: str
) -> None:
    clock = ManualClock(SystemClock().now() + wrong)
    with pytest.raises(Unavailable, match=f"our clock is {said} the database's"):
        await on_time(service.database, clock)()
