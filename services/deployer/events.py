"""What the deployer tells, to and from protobuf; and what it hears from the monitor.

A decision is told when it is made; an effect only once the proxy shows it. So an effect's event is kept with the
history, and told by `take_effect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.deployer.v1 import events_pb2
from goldenpath.monitor.v1 import events_pb2 as monitor_pb2
from services.chassis.telemetry import current_traceparent
from services.chassis.topics import DEPLOYER
from services.deployer.domain.deployment import Deployment, Place
from services.deployer.domain.going_back import Outcome, Signal, Trouble, Verb

if TYPE_CHECKING:
    from services.deployer.store import DeployerUnitOfWork
    from services.deployer.store.history import Entry

STARTED: Final = "deployment.started"
ADVANCED: Final = "deployment.advanced"
PROMOTED: Final = "deployment.promoted"
ROLLBACK_DECIDED: Final = "deployment.rollback_decided"
ROLLED_BACK: Final = "deployment.rolled_back"
HELD: Final = "deployment.held"
RELEASED: Final = "deployment.released"
FAILED: Final = "deployment.failed"
RETIRED: Final = "deployment.retired"
TRAINING_REQUESTED: Final = "training.requested"

_Effect = (
    events_pb2.DeploymentStarted
    | events_pb2.DeploymentAdvanced
    | events_pb2.DeploymentPromoted
    | events_pb2.DeploymentRolledBack
    | events_pb2.DeploymentRetired
)
_EFFECTS: Final[Mapping[str, type[_Effect]]] = {
    STARTED: events_pb2.DeploymentStarted,
    ADVANCED: events_pb2.DeploymentAdvanced,
    PROMOTED: events_pb2.DeploymentPromoted,
    ROLLED_BACK: events_pb2.DeploymentRolledBack,
    RETIRED: events_pb2.DeploymentRetired,
}
_VERBS: Final[Mapping[Verb, events_pb2.Verb.ValueType]] = {
    Verb.ROLL_BACK: events_pb2.VERB_ROLL_BACK,
    Verb.HOLD: events_pb2.VERB_HOLD,
    Verb.RETRAIN: events_pb2.VERB_RETRAIN,
    Verb.ABORT: events_pb2.VERB_ABORT,
    Verb.IGNORE: events_pb2.VERB_IGNORE,
}
_TROUBLES: Final[Mapping[int, Trouble]] = {
    monitor_pb2.SIGNAL_KIND_PERFORMANCE: Trouble.PERFORMANCE,
    monitor_pb2.SIGNAL_KIND_DATA_QUALITY: Trouble.DATA_QUALITY,
    monitor_pb2.SIGNAL_KIND_BIAS: Trouble.BIAS,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a decision answers, and who made it.

    Args:
        decision: The decision's id.
        received_at: When the signal or command came.
        signal: The signal; None where a person decided.
        actor: The person; empty where it was automatic.
    """

    decision: UUID
    received_at: datetime
    signal: Signal | None = None
    actor: str = ""


def signal_of(signal: monitor_pb2.Signal) -> Signal:
    """The monitor's signal, as the domain knows it."""
    return Signal(
        signal.id,
        _TROUBLES.get(signal.kind, Trouble.DRIFT),
        signal.version,
        signal.epoch,
        tuple(feature.feature for feature in signal.features) or tuple(signal.skew.inputs),
        signal.sentence,
    )


def position_of(deployment: Deployment, rollout: UUID | None = None) -> events_pb2.Position:
    """Where a deployment stands."""
    return events_pb2.Position(
        model=deployment.place.model,
        environment=deployment.place.environment,
        epoch=deployment.epoch,
        stable_version=deployment.stable.version if deployment.stable else 0,
        candidate_version=deployment.candidate.version if deployment.candidate else 0,
        candidate_weight=deployment.weight,
        rollout=str(rollout) if rollout else "",
        holdback_version=deployment.warm.version if deployment.warm and deployment.held_back else 0,
        holdback_weight=deployment.held_back,
    )


def decision_of(asked: Asked, outcome: Outcome, deployment: Deployment, *, decided_at: datetime) -> events_pb2.Decision:
    """A decision with its numbers; `deployment` as it stood when it was made."""
    signal = asked.signal
    made = events_pb2.Decision(
        id=str(asked.decision),
        signal_id=signal.id if signal else "",
        verb=_VERBS[outcome.verb],
        position=position_of(deployment),
        target_version=outcome.target.version if outcome.target else 0,
        reason=outcome.reason,
        actor=asked.actor,
        received_at=timestamp(asked.received_at),
        decided_at=timestamp(decided_at),
        features=signal.features if signal else (),
    )
    if outcome.comparison is not None:
        made.comparison.CopyFrom(_comparison(outcome, deployment))
    return made


def _comparison(outcome: Outcome, deployment: Deployment) -> events_pb2.Comparison:
    numbers = outcome.comparison
    if numbers is None:
        return events_pb2.Comparison()
    return events_pb2.Comparison(
        measure=numbers.measure,
        current_version=deployment.stable.version if deployment.stable else 0,
        target_version=outcome.target.version if outcome.target else 0,
        current_loss=numbers.current,
        target_loss=numbers.target,
        difference_lower=numbers.lower,
        difference_upper=numbers.upper,
        rows=numbers.rows,
        rows_with_outcome=numbers.rows_with_outcome,
        records_a_day=numbers.records_a_day,
    )


async def tell(uow: DeployerUnitOfWork, place: Place, type_name: str, body: Message, sentence: str) -> None:
    """Keep what happened, and tell it with the commit."""
    uow.emit(DEPLOYER, type_name, f"model/{place.model}", body)
    await _keep(uow, place, type_name, body, sentence, effective=True)


async def tell_once_effective(
    uow: DeployerUnitOfWork, place: Place, type_name: str, body: _Effect, sentence: str
) -> None:
    """Keep what was decided; it is told once the proxy shows it."""
    await _keep(uow, place, type_name, body, sentence, effective=False)


async def _keep(
    uow: DeployerUnitOfWork, place: Place, type_name: str, body: Message, sentence: str, *, effective: bool
) -> None:
    await uow.history.add(
        place,
        type_name,
        body.SerializeToString(),
        sentence,
        actor=uow.actor,
        traceparent=current_traceparent(),
        effective=effective,
    )


async def take_effect(uow: DeployerUnitOfWork, entry: Entry) -> None:
    """The proxy shows what was decided: tell it. Doing so twice changes nothing."""
    body = _EFFECTS[entry.type]()
    body.ParseFromString(entry.body)
    body.effective_at.CopyFrom(timestamp(uow.now))
    decided = body.decision if isinstance(body, events_pb2.DeploymentRolledBack) and body.decision.id else None
    if decided is not None:
        decided.effective_at.CopyFrom(timestamp(uow.now))
    if not await uow.history.took_effect(entry, body.SerializeToString()):
        return
    if decided is not None:
        await uow.decisions.rewrite(UUID(decided.id), decided.SerializeToString())
    await uow.deployments.shown(entry.place, uow.now)
    uow.emit(DEPLOYER, entry.type, f"model/{entry.place.model}", body)


def timestamp(at: datetime) -> Timestamp:
    """A moment in protobuf."""
    made = Timestamp()
    made.FromDatetime(at)
    return made
