"""Every topic of the suite, in one place: who owns it, what stands on it, and how it is kept.

Partition counts of our topics never change: a key's events would part from each other. Control topics are kept
forever and aren't compacted, so that a lost read model is rebuilt from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

DEAD_LETTERS: Final = ".dlq"


@dataclass(frozen=True)
class EventType:
    """A kind of event: its ce_type, and the full name of its body's message."""

    name: str
    schema: str


@dataclass(frozen=True)
class Topic:
    """A topic.

    Args:
        name: Its name on Kafka.
        owner: The only service that writes it; `others` where other systems do.
        types: The event types that stand on it.
        partitions: How many; never changed.
        kept: How long an event stays; None: forever.
        counted: True where its owner counts each aggregate's events (`ce_sequence`).
    """

    name: str
    owner: str
    types: tuple[EventType, ...]
    partitions: int = 6
    kept: timedelta | None = None
    counted: bool = True


def _types(package: str, *names: str) -> tuple[EventType, ...]:
    return tuple(EventType(name, f"{package}.{_message(name)}") for name in names)


def _message(type_name: str) -> str:
    return "".join(part.title() for part in type_name.replace(".", "_").split("_"))


_REJECTED = _types("goldenpath.ingest.v1", "event.rejected")

INGEST = Topic(
    "ingest.events",
    owner="others",
    types=_types("goldenpath.ingest.v1", "project.started", "training.completed", "dataset.documented"),
    counted=False,
)
REGISTRY = Topic(
    "registry.events",
    owner="registry",
    types=_types(
        "goldenpath.registry.v1",
        "model.registered",
        "model.promoted",
        "model.demoted",
        "model.retired",
        "dataset.registered",
    )
    + _REJECTED,
)
GOVERNANCE = Topic(
    "governance.events",
    owner="governance",
    types=_types(
        "goldenpath.governance.v1",
        "model.approved",
        "model.rejected",
        "approval.requested",
        "approval.granted",
        "approval.denied",
        "approval.revoked",
        "policy.changed",
    ),
)
DEPLOYER = Topic(
    "deployer.events",
    owner="deployer",
    types=_types(
        "goldenpath.deployer.v1",
        "deployment.started",
        "deployment.advanced",
        "deployment.promoted",
        "deployment.rollback_decided",
        "deployment.rolled_back",
        "deployment.held",
        "deployment.released",
        "deployment.failed",
        "deployment.retired",
    ),
)
MONITOR = Topic(
    "monitor.events",
    owner="monitor",
    types=_types("goldenpath.monitor.v1", "drift.noticed", "drift.detected", "drift.cleared") + _REJECTED,
)
RECORDS = Topic(
    "inference.records",
    owner="modelserver",
    types=_types("goldenpath.modelserver.v1", "inference.recorded"),
    kept=timedelta(days=7),
    counted=False,
)
OUTCOMES = Topic(
    "inference.outcomes",
    owner="others",
    types=_types("goldenpath.ingest.v1", "outcome.recorded"),
    # As long as a label may be late: a charge-back comes within 120 days, a loan's default within a year.
    kept=timedelta(days=400),
    counted=False,
)

TOPICS: Final = (INGEST, REGISTRY, GOVERNANCE, DEPLOYER, MONITOR, RECORDS, OUTCOMES)
CONTROL: Final = (INGEST, REGISTRY, GOVERNANCE, DEPLOYER, MONITOR)


def topic(name: str) -> Topic:
    """The topic of that name."""
    return next(topic for topic in TOPICS if topic.name == name)


async def create_topics(bootstrap: str, *, replication: int = 1) -> None:
    """Create every topic that isn't there, and its dead-letter topic; those that are there stay as they are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        missing = [new for new in _new_topics(replication) if new.name not in there]
        if missing:
            await _create(admin, missing)
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, missing: list[NewTopic]) -> None:
    try:
        await admin.create_topics(missing)
    except TopicAlreadyExistsError:
        return  # another replica was faster


def _new_topics(replication: int) -> list[NewTopic]:
    made = []
    for one in TOPICS:
        kept = "-1" if one.kept is None else str(int(one.kept.total_seconds() * 1000))
        made.append(_new_topic(one.name, one.partitions, replication, kept))
        made.append(_new_topic(one.name + DEAD_LETTERS, 1, replication, "-1"))
    return made


def _new_topic(name: str, partitions: int, replication: int, retention_ms: str) -> NewTopic:
    settings = {"retention.ms": retention_ms, "cleanup.policy": "delete"}
    return NewTopic(name, partitions, replication, topic_configs=settings)
