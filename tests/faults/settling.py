"""The end of a campaign: what still has to happen by itself, and what must be there when nothing has."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from aiokafka import TopicPartition

from services.chassis.topics import RECORDS
from tests.faults.evidence import EFFECTS, LOGGED, Checked, Evidence
from tests.faults.rows import NOON
from tests.faults.seen import Waiting


def settled(
    evidence: Evidence, committed: dict[tuple[str, TopicPartition], int], ends: dict[TopicPartition, int]
) -> list[str]:
    """What must still happen by itself; empty once nothing has to."""
    seen = evidence.seen
    held = {one["model"] for one in seen.deployments if one.get("hold")}
    open_ = [
        f"{one['model']}@{one['version']}" for one in seen.rollouts if not one["ended_at"] and one["model"] not in held
    ]
    undecided = [one["signal_id"] for one in seen.decisions if one["body"] is None and one["model"] not in held]
    checks = {
        "events aren't sent": sum(not row.sent for rows in seen.outbox.values() for row in rows),
        "offsets aren't committed": sum(
            ends.get(place, 0) - offset for (_, place), offset in committed.items() if offset < ends.get(place, 0)
        ),
        "events are parked": len(_parked(seen.waiting)),
        "versions are to be looked at": seen.stale_cases,
        "effects aren't there yet": sum(one["effective_at"] is None for one in seen.history),
        f"rollouts go on: {', '.join(open_)}": len(open_),
        "signals aren't decided": len(undecided),
        "records aren't logged": sum(
            max(end - seen.log_places.get((place.topic, place.partition), 0), 0)
            for place, end in ends.items()
            if place.topic in LOGGED
        ),
        "batches of records aren't read": sum(
            max(end - seen.stream.get(place.partition, 0), 0)
            for place, end in ends.items()
            if place.topic == RECORDS.name
        ),
    }
    return [f"{number} {what}" for what, number in checks.items() if number]


def _parked(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Events that are parked, and not behind a dead letter of their key."""
    waiting = list(waiting)
    behind = {(one.service, one.key) for one in waiting if one.dead}
    return [one for one in waiting if not one.dead and (one.service, one.key) not in behind]


def whole(evidence: Evidence) -> list[Checked]:
    """What must be there once everything has settled and nothing waits."""
    seen, told = evidence.seen, evidence.told
    models = {one["model"] for one in seen.versions}
    untrained = told.trainings - models
    versions = {(one["model"], one["number"]) for one in seen.versions}
    unjudged = versions - {(one["model"], one["version"]) for one in seen.cases}
    lacking = {
        name: f"{seen.datasheets.get(name, 0)} of {documents} documents"
        for name, documents in told.datasets.items()
        if seen.datasheets.get(name, 0) != documents
    }
    effects = [one for one in evidence.firsts("deployer.events") if one.event and one.event.type in EFFECTS]
    logged = {(one.topic, one.partition, one.offset) for one in seen.log}
    unlogged = [one.place for one in evidence.records if one.topic in LOGGED and one.place not in logged]
    unheard = len(effects) - len(seen.moments)
    kept = set(seen.kept)
    return [
        Checked("every training became a version", len(told.trainings), tuple(sorted(untrained))),
        Checked(
            "every document became a revision, once", sum(told.datasets.values()), tuple(map(str, lacking.items()))
        ),
        Checked("every version was judged", len(versions), tuple(map(str, unjudged))),
        Checked("every record of the bus is in the log", len(logged), tuple(map(str, unlogged))),
        Checked("every effect is noted", len(effects), (f"{unheard} aren't",) if unheard else ()),
        Checked("every row of features that was told is kept", len(kept), tuple(map(str, told.rows - kept))),
        _newest_are_served(evidence),
    ]


def _newest_are_served(evidence: Evidence) -> Checked:
    """What is online of a customer is what their newest row says."""
    newest: dict[str, int] = {}
    for customer, minute in evidence.told.rows:
        newest[customer] = max(minute, newest.get(customer, 0))
    said = {
        (customer, feature): (NOON + timedelta(minutes=minute), float(value))
        for customer, minute in newest.items()
        for feature, value in (("count_7d", minute), ("mean_7d", -minute))
    }
    wrong = [
        f"{place} is {evidence.seen.online.get(place)}"
        for place in said
        if evidence.seen.online.get(place) != said[place]
    ]
    return Checked("the newest of every customer's rows is online", len(said), tuple(wrong))
