"""Everything that a check may look at, and what a check comes to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from goldenpath.deployer.v1 import events_pb2 as deployer
from services.chassis.topics import CONTROL, RECORDS
from tests.faults.bus import Place, Written
from tests.faults.lives import Told
from tests.faults.seen import Seen

LOGGED: Final = {topic.name for topic in (*CONTROL, RECORDS)}  # what governance's log takes
EFFECTS: Final[dict[str, Any]] = {
    "deployment.started": deployer.DeploymentStarted,
    "deployment.advanced": deployer.DeploymentAdvanced,
    "deployment.promoted": deployer.DeploymentPromoted,
    "deployment.rolled_back": deployer.DeploymentRolledBack,
}


@dataclass(frozen=True)
class Checked:
    """One promise: how often it was looked at, and what is wrong."""

    promise: str
    count: int
    wrong: tuple[str, ...] = ()


@dataclass
class Evidence:
    """Everything that a check may look at.

    Args:
        records: What stands on the topics, the adversary's own repeats included.
        seen: What stands in the databases.
        told: What the campaign did.
        poison: Where the adversary wrote what no service wrote.
        older: How many of the records were read before the databases; the others may be newer than these.
        revoked_before: Versions whose approval was revoked two looks ago.
        history_before: The highest number in the deployer's history at the last look.
    """

    records: Sequence[Written]
    seen: Seen
    told: Told
    poison: set[Place] = field(default_factory=set)
    older: int | None = None
    revoked_before: frozenset[tuple[str, int]] = frozenset()
    history_before: int = 0

    def events(self, topic: str) -> list[Written]:
        """A topic's events in the order of their keys, without poison; repeats included."""
        own = (one for one in self.records if one.topic == topic and one.place not in self.poison)
        return sorted(own, key=lambda one: (one.partition, one.offset))

    def firsts(self, topic: str) -> list[Written]:
        """A topic's events where they stand for the first time."""
        known: set[tuple[str, str]] = set()
        found = []
        for one in self.events(topic):
            if one.event is not None and (one.event.source, one.event.id) not in known:
                known.add((one.event.source, one.event.id))
                found.append(one)
        return found

    def effects(self) -> dict[str, list[tuple[str, Any]]]:
        """By model, the effects that the deployer told, in order."""
        found: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
        for one in self.firsts("deployer.events"):
            if one.event and one.event.type in EFFECTS:
                body = EFFECTS[one.event.type].FromString(one.value or b"")
                found[body.position.model].append((one.event.type, body))
        return dict(found)


def wrong_of(checks: Iterable[Checked]) -> Iterator[str]:
    """What is wrong, a line each."""
    for one in checks:
        yield from (f"{one.promise}: {what}" for what in one.wrong[:5])
