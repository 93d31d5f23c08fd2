"""The registry, as the monitor sees it: a version's reference profile and drift settings, which never change.

What it said is kept in our own tables, so a judge goes on while the registry is down, and after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from goldenpath.registry.v1 import events_pb2 as told_pb
from goldenpath.registry.v1 import registry_service_pb2 as pb
from goldenpath.registry.v1.events_pb2 import DriftSettings
from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import NotFound
from services.chassis.grpc_client import Sibling
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.performance import CostMatrix
from services.monitor.domain.promise import Promise
from services.monitor.store import MonitorUnitOfWork, References
from services.profile import ReferenceProfile

if TYPE_CHECKING:
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub

_THRESHOLD: Final = 0.5  # where golden.yaml names none
_QUANTILE: Final = 0.5
MOST_JUDGES: Final = 2_000  # some 200 kB each
_ASK_AGAIN: Final = timedelta(seconds=5)  # for a version that the registry doesn't know: it may be about to


class Judges:
    """Gives the judge of a version.

    Args:
        database: Where what the registry said is kept.
        registry: The registry.
        clock: Where the time comes from.
    """

    def __init__(self, database: Database[MonitorUnitOfWork], registry: Sibling, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._judges: OrderedDict[tuple[str, int], Judge | None] = OrderedDict()
        self._unknown: dict[tuple[str, int], float] = {}

    async def of(self, model: str, version: int) -> Judge | None:
        """The judge of a version; None where it has no reference profile, or the registry doesn't know it.

        Raises:
            Unavailable: the registry wasn't asked about it yet, and doesn't answer.
            Invalid: what it gave is no profile.
        """
        key = model, version
        if key in self._judges:
            self._judges.move_to_end(key)
            return self._judges[key]
        if self._clock.monotonic() < self._unknown.get(key, float("-inf")):
            return None
        try:
            judge = await self._made(model, version)
        except NotFound:
            self._unknown[key] = self._clock.monotonic() + _ASK_AGAIN.total_seconds()
            return None
        self._unknown.pop(key, None)
        self._judges[key] = judge
        while len(self._judges) > MOST_JUDGES:
            self._judges.popitem(last=False)
        return judge

    async def _made(self, model: str, version: int) -> Judge | None:
        async with self._database.read() as connection:
            known = await References(connection).get(model, version)
        profile, settings = known or await self._asked(model, version)
        if profile is None:
            return None
        told = settings.pop("promise", None)
        return Judge(ReferenceProfile.from_bytes(profile), Settings(), promise_of(told)).by(**settings)

    async def _asked(self, model: str, version: int) -> tuple[bytes | None, dict[str, Any]]:
        stub: RegistryServiceAsyncStub = RegistryServiceStub(self._registry.channel)
        answer = await self._registry.ask(stub.GetVersion, pb.GetVersionRequest(model=model, version=version))
        profile = None
        if answer.version.registered.profile_digest:
            asked = pb.GetProfileRequest(model=model, version=version)
            profile = (await self._registry.ask(stub.GetProfile, asked)).profile
        settings = settings_of(answer.version.drift)
        if answer.version.outcomes.within.ToTimedelta() and answer.version.registered.HasField("promise"):
            settings["promise"] = _told(answer.version)
        async with self._database.begin() as uow:
            await uow.references.keep(model, version, profile, settings)
        return profile, settings


def settings_of(told: DriftSettings, *, alone: bool = False) -> dict[str, Any]:
    """Drift settings, without what is left at the shipped default; alone with it, so that nothing else stays."""
    shipped = Settings()
    settings: dict[str, Any] = {each.name: getattr(shipped, each.name) for each in fields(Settings)} if alone else {}
    if told.effect:
        settings["effect"] = told.effect
    if told.tolerance:
        settings["tolerance"] = told.tolerance
    if told.feature_tolerances:
        settings["tolerances"] = dict(told.feature_tolerances)
    if told.false_alarms_per_year:
        settings["false_alarms_per_year"] = told.false_alarms_per_year
    if told.seasonal:
        settings["seasonal"] = True
    return settings


def _told(version: pb.Version) -> dict[str, Any]:
    """What a version promised and how its outcomes are followed, as plain values that can be kept."""
    promised, outcomes = version.registered.promise, version.outcomes
    worse = promised.margin if promised.direction == told_pb.DIRECTION_LOWER else -promised.margin
    cost = outcomes.cost
    matrix = ((cost.passed, cost.missed), (cost.false_alarm, cost.caught))
    return {
        "metric": promised.metric,
        "limit": promised.value + worse,
        "within": outcomes.within.ToTimedelta().total_seconds(),
        "threshold": outcomes.threshold or _THRESHOLD,
        "quantile": outcomes.quantile or _QUANTILE,
        "amount": outcomes.amount,
        "segments": list(outcomes.segments),
        "fixed": [[each.fixed for each in row] for row in matrix],
        "of_amount": [[each.of_amount for each in row] for row in matrix],
        "has_cost": outcomes.HasField("cost"),
        "false_alarms_per_year": version.drift.false_alarms_per_year or Settings().false_alarms_per_year,
    }


def promise_of(told: dict[str, Any] | None) -> Promise | None:
    """What was kept of a version's promise; None where its outcomes aren't followed."""
    if told is None:
        return None
    (passed, missed), (false_alarm, caught) = told["fixed"]
    (of_passed, of_missed), (of_false_alarm, of_caught) = told["of_amount"]
    cost = CostMatrix(
        fixed=((passed, missed), (false_alarm, caught)),
        of_amount=((of_passed, of_missed), (of_false_alarm, of_caught)),
    )
    return Promise(
        metric=told["metric"],
        limit=told["limit"],
        within=timedelta(seconds=told["within"]),
        threshold=told["threshold"],
        quantile=told.get("quantile", _QUANTILE),  # an earlier release didn't keep it
        amount=told["amount"],
        segments=tuple(told["segments"]),
        cost=cost if told["has_cost"] else None,
        false_alarms_per_year=told["false_alarms_per_year"],
    )
