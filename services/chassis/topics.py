"""Every topic of the suite, in one place: who owns it, what stands on it, and how it is kept.

Partition counts of our topics never change: a key's events would part from each other. Control topics are kept
forever and aren't compacted, so that a lost read model can be rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from services.chassis.errors import Unavailable

if TYPE_CHECKING:  # what reads settings costs a third of a second, and `golden --help` imports this
    from services.chassis.settings import KafkaAccess

DEAD_LETTERS: Final = ".dlq"
LARGEST_DEAD_LETTER_BYTES: Final = 2 * 1024 * 1024  # the largest event that a topic takes, and why it died


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
FEATURES = Topic(
    "ingest.features",
    owner="others",
    types=_types("goldenpath.ingest.v1", "features.computed"),
    kept=timedelta(days=7),  # the feature store keeps the history; this is for a pusher that was away
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
        "training.requested",
    ),
)
MONITOR = Topic(
    "monitor.events",
    owner="monitor",
    types=_types(
        "goldenpath.monitor.v1",
        "drift.noticed",
        "drift.detected",
        "drift.cleared",
        "performance.degraded",
        "data_quality.violated",
    )
    + _REJECTED,
)
RECORDS = Topic(
    "inference.records",
    owner="modelserver",
    types=_types("goldenpath.modelserver.v1", "inference.recorded")
    + _types("goldenpath.ingest.v1", "prediction.recorded", "inference.logged"),
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

TOPICS: Final = (INGEST, FEATURES, REGISTRY, GOVERNANCE, DEPLOYER, MONITOR, RECORDS, OUTCOMES)
CONTROL: Final = (INGEST, REGISTRY, GOVERNANCE, DEPLOYER, MONITOR)


async def create_topics(kafka: KafkaAccess, *, topics: Sequence[Topic] = TOPICS, replication: int = 1) -> None:
    """Create every topic that isn't there, and its dead-letter topic; those that are there stay as they are.

    Raises:
        Unavailable: Kafka doesn't answer, doesn't let us in, or refuses to create one.
    """
    admin = AIOKafkaAdminClient(**kafka.client())
    try:
        await admin.start()
        there = set(await admin.list_topics())
        missing = [new for new in _new_topics(topics, replication) if new.name not in there]
        if missing:
            await _create(admin, missing)
    except (KafkaError, OSError) as error:
        raise await kafka.explained(error) from None
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, missing: list[NewTopic]) -> None:
    # The client doesn't raise: each topic's error is a code in the answer.
    answer: Any = await admin.create_topics(missing)
    for name, code, *_ in answer.topic_errors:
        # Another replica may have been faster.
        if code not in {0, TopicAlreadyExistsError.errno}:
            raise Unavailable(f"the topic {name} can't be created: {for_code(code).__name__}")


def _new_topics(topics: Sequence[Topic], replication: int) -> list[NewTopic]:
    made = []
    for one in topics:
        kept = "-1" if one.kept is None else str(int(one.kept.total_seconds() * 1000))
        settings = {"retention.ms": kept, "cleanup.policy": "delete"}
        letters = {
            "retention.ms": "-1",
            "cleanup.policy": "delete",
            "max.message.bytes": str(LARGEST_DEAD_LETTER_BYTES),
        }
        made.append(NewTopic(one.name, one.partitions, replication, topic_configs=settings))
        made.append(NewTopic(one.name + DEAD_LETTERS, 1, replication, topic_configs=letters))
    return made
