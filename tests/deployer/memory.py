"""The deployer's tables in memory, for tests that try thousands of histories: one deployment, every row a value.

Each store is the real one with its statements replaced, so that the handlers run as they are. What a handler saves is
also kept in order (`saved`): most promises are about what follows what.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from services.chassis.clock import ManualClock
from services.chassis.errors import NotFound
from services.deployer.domain.deployment import Deployment, Place, Role
from services.deployer.domain.going_back import Served, Signal
from services.deployer.domain.rollout import Rollout
from services.deployer.store import DeployerUnitOfWork
from services.deployer.store.decisions import Case, Decisions
from services.deployer.store.deployments import Deployments
from services.deployer.store.history import History
from services.deployer.store.rollouts import Kept, Progress, Rollouts
from services.deployer.store.trainings import Trainings
from services.deployer.store.versions import Known, Stays, Versions

T = TypeVar("T")
NOWHERE: Any = None  # no connection: whoever needs one isn't replaced here, and fails
NOW = ManualClock().now()


@dataclass
class Tables:
    """What the deployer has written."""

    deployment: Deployment
    saved: list[Deployment] = field(default_factory=list)
    rollouts: dict[UUID, Rollout] = field(default_factory=dict)
    versions: dict[int, Known] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    unusable: set[int] = field(default_factory=set)
    stays: list[Served] = field(default_factory=list)
    cases: dict[str, Case] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    asked: bytes | None = None

    def begin(self, *, actor: str = "") -> DeployerUnitOfWork:
        """A unit of work on these tables; there is nothing to commit."""
        uow = DeployerUnitOfWork(NOWHERE, source="goldenpath/deployer", clock=ManualClock(), actor=actor)
        uow.__dict__ |= {  # where cached properties keep what they gave
            "deployments": _Deployments(self),
            "rollouts": _Rollouts(self),
            "versions": _Versions(self),
            "stays": _Stays(self),
            "history": _History(self),
            "decisions": _Decisions(self),
            "trainings": _Trainings(self),
        }
        return uow


def done(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waited for something")


class _Deployments(Deployments):
    def __init__(self, tables: Tables) -> None:
        super().__init__(NOWHERE)
        self._tables = tables

    async def lock(self, place: Place) -> Deployment:  # noqa: ARG002 - there is one deployment
        return self._tables.deployment

    async def save(self, deployment: Deployment) -> None:
        self._tables.deployment = deployment
        self._tables.saved.append(deployment)


class _Rollouts(Rollouts):
    def __init__(self, tables: Tables) -> None:
        super().__init__(NOWHERE, now=NOW)
        self._tables = tables

    async def add(self, rollout: Rollout, *, traceparent: str) -> None:  # noqa: ARG002 - nothing is traced here
        self._tables.rollouts[rollout.id] = rollout

    async def save(self, rollout: Rollout) -> None:
        self._tables.rollouts[rollout.id] = rollout

    async def note(self, rollout: Rollout, progress: Progress) -> None:
        """Progress is the judge's."""

    async def get(self, rollout: UUID) -> Kept:
        return _kept(self._tables.rollouts[rollout])

    async def open(self, place: Place) -> list[Kept]:  # noqa: ARG002 - there is one deployment
        return [_kept(one) for one in self._tables.rollouts.values() if not one.over]

    async def newest_version(self, place: Place) -> int:  # noqa: ARG002 - there is one deployment
        brought = [one for one in self._tables.rollouts.values() if one.state != "failed" or one.digest]
        return max((one.version for one in brought), default=0)


class _Versions(Versions):
    def __init__(self, tables: Tables) -> None:
        super().__init__(NOWHERE)
        self._tables = tables

    async def put(self, known: Known) -> None:
        self._tables.versions[known.version] = known
        self._tables.revoked.discard(known.version)
        self._tables.unusable.discard(known.version)

    async def get(self, place: Place, version: int) -> Known:
        if version not in self._tables.versions:
            raise NotFound(f"version {version} was never deployed at {place}")
        return self._tables.versions[version]

    async def revoke(self, place: Place, version: int) -> None:  # noqa: ARG002 - there is one deployment
        self._tables.revoked.add(version)

    async def give_up(self, place: Place, version: int) -> None:  # noqa: ARG002 - there is one deployment
        self._tables.unusable.add(version)


class _Stays(Stays):
    def __init__(self, tables: Tables) -> None:
        super().__init__(NOWHERE)
        self._tables = tables

    async def begin(self, place: Place, role: Role) -> None:  # noqa: ARG002 - there is one deployment
        self._tables.stays.append(Served(role, requests=1_000))

    async def all(self, place: Place) -> list[Served]:  # noqa: ARG002 - there is one deployment
        tables = self._tables
        return [
            replace(
                stay,
                revoked=stay.role.version in tables.revoked,
                unusable=stay.role.version in tables.unusable,
            )
            for stay in tables.stays
        ]

    async def forget(self, place: Place) -> None:  # noqa: ARG002 - there is one deployment
        self._tables.stays.clear()

    async def signalled(self, place: Place, version: int) -> None:  # noqa: ARG002 - there is one deployment
        last = max(at for at, stay in enumerate(self._tables.stays) if stay.role.version == version)
        self._tables.stays[last] = replace(self._tables.stays[last], signalled=True)

    async def left_for_cause(self, place: Place, version: int) -> None:  # noqa: ARG002 - there is one deployment
        self._tables.stays = [
            replace(stay, left_for_cause=True) if stay.role.version == version else stay for stay in self._tables.stays
        ]


class _History(History):
    def __init__(self, tables: Tables) -> None:
        super().__init__(NOWHERE, now=NOW)
        self._tables = tables

    async def add(self, place: Place, type_name: str, body: bytes, sentence: str, **more: object) -> None:  # noqa: ARG002 - only what was told counts here
        self._tables.told.append(type_name)


class _Decisions(Decisions):
    def __init__(self, tables: Tables) -> None:
        super().__init__(NOWHERE, now=NOW)
        self._tables = tables

    async def open(self, decision: UUID, place: Place, signal: Signal, *, traceparent: str) -> None:
        made = Case(decision, place, signal, cleared=False, open=True, received_at=NOW, traceparent=traceparent)
        self._tables.cases.setdefault(signal.id, made)

    async def clear(self, signal_id: str) -> None:
        for case in self._cases(signal_id):
            self._tables.cases[case.signal.id] = replace(case, cleared=True)

    async def record(
        self,
        decision: UUID,
        place: Place,  # noqa: ARG002 - there is one deployment
        signal_id: str,
        body: bytes,  # noqa: ARG002 - its words are the wire's
        *,
        received_at: datetime,  # noqa: ARG002 - time stands still
        traceparent: str,  # noqa: ARG002 - nothing is traced here
    ) -> None:
        for case in self._cases(signal_id):
            assert case.id == decision
            self._tables.cases[case.signal.id] = replace(case, open=False)

    async def case(self, decision: UUID) -> Case:
        return next(case for case in self._tables.cases.values() if case.id == decision)

    def _cases(self, signal_id: str) -> Iterable[Case]:
        return [case for case in self._tables.cases.values() if case.signal.id == signal_id]


def _kept(rollout: Rollout) -> Kept:
    return Kept(rollout, Progress(), "", NOW, NOW, NOW if rollout.over else None)


class _Trainings(Trainings):
    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def open(self, place: Place) -> bytes | None:  # noqa: ARG002 - there is one deployment
        return self._tables.asked

    async def add(self, request: UUID, place: Place, body: bytes) -> None:  # noqa: ARG002 - as above
        self._tables.asked = body

    async def answer_by_promotion(self, place: Place, version: int) -> None:  # noqa: ARG002 - as above
        self._tables.asked = None
