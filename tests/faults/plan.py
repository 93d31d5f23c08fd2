"""What the adversary will do: the same seed and number of steps give the same faults at the same lives.

A step is a fault and how it is done, all of it chosen before the first one. Faults come in rounds, each of which has
every kind once in an order of its own, so that a short campaign misses as few kinds as it can.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from golden.embedded.services import SERVICES
from services.chassis.topics import CONTROL, FEATURES, OUTCOMES, RECORDS
from tests.faults.world import PUSHER


class Fault(StrEnum):
    """Something that the adversary does."""

    KILL = "kill -9 of a service"
    FREEZE = "a service stopped for longer than its session, which comes back"
    KAFKA = "kill -9 of the broker"
    POSTGRES = "kill -9 of PostgreSQL"
    ENVOY = "kill -9 of the proxy"
    SERVER = "kill -9 of a model server"
    CUT = "connections cut again and again"
    CLOSE = "a dependency out of reach"
    SLOW = "a slow link"
    HOLD = "a dependency that is silent, and breaks no connection"
    REPEAT = "the newest events again"
    LATE = "old events again, late and out of order"
    REREAD = "a whole topic read again"
    POISON = "poison of every kind"
    CLOCK = "a clock that jumps"
    DISK = "a full disk for the database"
    RELEASE = "a release that fails every event"
    UNREADING = "a release that can't read any event"


# What is done to the pusher, to its database's link and to its topic, while something else is done to the rest.
BESIDE = (
    Fault.KILL,
    Fault.FREEZE,
    Fault.CLOSE,
    Fault.HOLD,
    Fault.REPEAT,
    Fault.LATE,
    Fault.REREAD,
    Fault.POISON,
)
LINKS = (*SERVICES, "kafka")
_JUMPS = (-3600.0, -90.0, 90.0, 3600.0)  # seconds; an hour is what a wrong time zone makes
# Seconds: less than a consumer's session, more than one, and more than a statement and the patience beyond it.
_SILENCES = (3.0, 10.0, 40.0)
_CONSUMED = (*CONTROL, OUTCOMES)
_OF_PUSHER = " (the pusher)"


@dataclass(frozen=True)
class Step:
    """One thing that the adversary does.

    Args:
        number: From 1.
        lives: How many lives begin before it.
        fault: What.
        target: The service, link or topic that it is done to; empty where the fault has only one.
        replica: Which replica, from 1.
        amount: How much: seconds before a process comes back, of a delay, of a clock; or how many events.
        seed: Of the choices that need the present, such as which of a topic's events.
    """

    number: int
    lives: int
    fault: Fault
    target: str
    replica: int
    amount: float
    seed: int

    @property
    def kind(self) -> str:
        """What a report counts it as."""
        return f"{self.fault}{_OF_PUSHER}" if self.target in {PUSHER, FEATURES.name} else str(self.fault)

    def __str__(self) -> str:
        words = [self.target and f"{self.target}/{self.replica}", f"{self.amount:g}"]
        return f"{self.fault}: " + " ".join(word for word in words if word)


def plan(seed: int, steps: int, *, replicas: int) -> list[Step]:
    """The steps of a campaign.

    >>> plan(7, 40, replicas=2) == plan(7, 40, replicas=2)
    True
    >>> len({step.fault for step in plan(7, 18, replicas=2)})
    18
    """
    rng = random.Random(seed)
    return [_step(number, fault, rng, replicas) for number, fault in enumerate(_rounds(list(Fault), steps, rng), 1)]


def plan_beside(seed: int, steps: int, *, replicas: int) -> list[Step]:
    """What is done to the pusher at each step; chosen apart, so that the other plan is the same without it.

    >>> len({step.kind for step in plan_beside(8, 8, replicas=1)})
    8
    """
    rng = random.Random(f"{seed}/{PUSHER}")
    return [
        _step_beside(number, fault, rng, replicas) for number, fault in enumerate(_rounds([*BESIDE], steps, rng), 1)
    ]


def kinds() -> list[str]:
    """Everything that a report counts."""
    return [*map(str, Fault), *(f"{fault}{_OF_PUSHER}" for fault in BESIDE)]


def _rounds(faults: list[Fault], steps: int, rng: random.Random) -> list[Fault]:
    """So many faults, in rounds."""
    chosen: list[Fault] = []
    while len(chosen) < steps:
        chosen += rng.sample(faults, len(faults))
    return chosen[:steps]


def _step_beside(number: int, fault: Fault, rng: random.Random, replicas: int) -> Step:
    target, amount = PUSHER, rng.uniform(0.2, 3.0)
    match fault:
        case Fault.CLOSE:
            amount = rng.uniform(0.1, 0.6)
        case Fault.HOLD:
            amount = rng.choice(_SILENCES[:2])
        case Fault.REPEAT | Fault.LATE:
            target, amount = FEATURES.name, rng.randint(5, 40)
        case Fault.POISON:
            target = FEATURES.name
    return Step(number, 0, fault, target, rng.randint(1, replicas), round(amount, 2), rng.getrandbits(32))


def _step(number: int, fault: Fault, rng: random.Random, replicas: int) -> Step:
    target, amount = "", rng.uniform(0.2, 3.0)
    match fault:
        case Fault.KILL | Fault.FREEZE | Fault.RELEASE | Fault.UNREADING:
            target = rng.choice(SERVICES)
        case Fault.CLOCK:
            target, amount = rng.choice(SERVICES), rng.choice(_JUMPS)
        case Fault.CUT | Fault.CLOSE | Fault.SLOW:
            target, amount = rng.choice(LINKS), rng.uniform(0.1, 0.6)
        case Fault.HOLD:
            target, amount = rng.choice(LINKS), rng.choice(_SILENCES)
        case Fault.REPEAT | Fault.LATE:
            target, amount = rng.choice(_CONSUMED).name, rng.randint(5, 40)
        case Fault.POISON:
            target = rng.choice((*_CONSUMED, RECORDS)).name
        case Fault.REREAD:
            target = rng.choice(SERVICES)
        case Fault.KAFKA | Fault.POSTGRES | Fault.ENVOY | Fault.SERVER | Fault.DISK:
            pass
    return Step(
        number, rng.randint(4, 12), fault, target, rng.randint(1, replicas), round(amount, 2), rng.getrandbits(32)
    )
