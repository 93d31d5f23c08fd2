"""The way back, under traffic: how long a decision takes, how long its effect, and how many requests fail meanwhile.

Each round brings a version that uses a column which then arrives in another unit. The monitor detects it, the deployer
replays the affected records through the version before, finds by the outcomes that going back helps, and goes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.figures import Figure
from benchmarks.lives import serve, stable, until
from golden.demo.traffic import Traffic
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as decisions
from services.chassis.errors import Conflict
from tests.e2e.world import MODEL, World, started

_ROUNDS: Final = 4
_RATE: Final = 100.0  # requests a second
_LABEL_DELAY: Final = timedelta(milliseconds=200)
_SERVED: Final = 700  # requests before a version is one to go back to; the rules want 500
_MINUTES: Final = 60.0


@dataclass(frozen=True)
class Person:
    """Somebody to predict, like those that the model was made from."""

    inputs: Mapping[str, float]
    unit: str
    label: str


def measure() -> list[Figure]:
    """Rounds of promotion, fault and automatic rollback."""
    with started(2 * _ROUNDS) as world:
        serve(world, 1)
        traffic = Traffic(
            MODEL,
            gateway=world.running.endpoints().gateway,
            bootstrap=world.running.endpoints().kafka.bootstrap,
            records=_people(),
            rate=_RATE,
            label_delay=lambda _: _LABEL_DELAY,
        )
        traffic.start()
        try:
            made = [_round(world, traffic, 2 * number) for number in range(1, _ROUNDS + 1)]
        finally:
            traffic.stop()
        return _figures(made, traffic)


def _round(world: World, traffic: Traffic[Person], number: int) -> decisions.Decision:
    """A version is promoted, its column breaks, and it is taken back; the decision that did it."""
    _more(traffic, _SERVED)
    serve(world, number)
    traffic.break_with(_hours_in_minutes)
    until(lambda: stable(world) == 1, "the way back")
    traffic.repair()
    asked = deployer.ListDecisionsRequest(model=MODEL, page_size=1)
    made = world.as_("otto", "operator").deployer.ListDecisions(asked).decisions[0]
    if made.verb != decisions.VERB_ROLL_BACK or made.comparison.measure != "log_loss":
        raise Conflict(f"it didn't go back by the outcomes: {made.reason}")
    return made


def _more(traffic: Traffic[Person], requests: int) -> None:
    before = traffic.tally().requests
    until(lambda: traffic.tally().requests - before >= requests, f"{requests} requests")


def _people() -> Iterator[Person]:
    random = np.random.default_rng(0)
    while True:
        age, hours = random.normal(40, 12), float(random.integers(0, 60))
        label = str(int(age + hours + random.normal(0, 10) > 70))  # noqa: PLR2004 - as train_tiny.py has it
        yield Person({"age": age, "hours": hours}, f"unit-{age}", label)


def _hours_in_minutes(person: Person) -> Person:
    return replace(person, inputs={**person.inputs, "hours": person.inputs["hours"] * _MINUTES})


def _figures(made: list[decisions.Decision], traffic: Traffic[Any]) -> list[Figure]:
    decided = [_ms(one.received_at, one.decided_at) for one in made]
    effective = [_ms(one.decided_at, one.effective_at) for one in made]
    tally = traffic.tally()
    waiting = (
        f"{_RATE:g} requests/s, outcomes {_LABEL_DELAY.total_seconds():g} s later; mostly waiting for 100 outcomes"
    )
    return [
        Figure("rollback.signal_to_decided.median", round(median(decided)), "ms", f"of {_ROUNDS}; {waiting}"),
        Figure("rollback.signal_to_decided.longest", round(max(decided)), "ms"),
        Figure("rollback.decided_to_effective.median", round(median(effective)), "ms", "aim: under 100"),
        Figure("rollback.decided_to_effective.longest", round(max(effective)), "ms"),
        Figure(
            "rollback.failed_requests", tally.failures, "requests", f"of {tally.requests:,} during {_ROUNDS} rounds"
        ),
    ]


def _ms(start: Any, end: Any) -> float:
    return float((end.ToDatetime() - start.ToDatetime()).total_seconds() * 1000)
