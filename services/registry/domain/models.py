"""A model: what its versions have in common, and who may change it.

A person with a verified token may say anything about a model. A claim (an event on a topic that anybody writes) may
start a model and fill in what nobody has said yet; it may raise the risk tier, but never lower it, and never take a
model away from its owner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, IntEnum

from services.chassis.errors import Conflict, Denied


class Kind(Enum):
    """What a model is."""

    MODEL = "model"
    AGENT = "agent"


class RiskTier(IntEnum):
    """How much harm a wrong answer can do; a higher one is stricter."""

    MINIMAL = 1
    LIMITED = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something: the token's subject, or (where not verified) the name that was claimed."""

    subject: str
    verified: bool


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a registration says about the model as a whole; an empty owner or use case says nothing."""

    kind: Kind
    risk_tier: RiskTier
    owner: str = ""
    use_case: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model. `latest_version` is 0 where it has none."""

    name: str
    facts: ModelFacts
    created_at: datetime
    latest_version: int = 0


def revised(model: Model, said: ModelFacts, actor: Actor) -> Model:
    """The model after somebody said something about it; the same one where that changes nothing.

    Raises:
        Conflict: a model would become an agent, or an agent a model.
        Denied: the risk tier would fall, or a claim would change the owner.
    """
    known = model.facts
    if said.kind is not known.kind:
        raise Conflict(
            f"{model.name} is registered as {known.kind.value}, not as {said.kind.value}",
            where="kind",
            fix="register it under another name",
        )
    if said.risk_tier < known.risk_tier:
        raise Denied(
            f"the risk tier of {model.name} can't fall from {known.risk_tier.name.lower()} "
            f"to {said.risk_tier.name.lower()}: its author would do away with the second person",
            where="risk_tier",
            fix=f"write  risk_tier: {known.risk_tier.name.lower()}, or register it under another name",
        )
    if not actor.verified:
        _refuse_claim(model, said)
    facts = replace(
        said,
        owner=said.owner or known.owner,
        use_case=said.use_case or known.use_case,
    )
    return replace(model, facts=facts)


def check_owner(model: Model, actor: Actor) -> None:
    """Let through whoever owns a model.

    Raises:
        Denied: they don't.
    """
    if actor.subject != model.facts.owner:
        whom = model.facts.owner or "nobody yet"
        raise Denied(f"{actor.subject} doesn't own {model.name}: {whom} does", fix="ask its owner, or an operator")


def _refuse_claim(model: Model, said: ModelFacts) -> None:
    known = model.facts
    if known.owner and said.owner and said.owner != known.owner:
        raise Denied(
            f"an event can't change the owner of {model.name}: who sent it is only a claim",
            where="registration.owner",
            fix="register with a token:  golden register",
        )
