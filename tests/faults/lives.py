"""Lives of models: what people and other systems do with a platform, whether it is well or not.

A life is begun by its number, and its number and the seed say what it is. Most end at the gate, since that costs
little: refused for want of documents, waiting for a reviewer, denied. Some are served: a version of one of a few
models, which is approved, gets a server, a canary and real traffic. Trouble is part of a life: an approval is
revoked, the monitor raises a signal (through its own outbox), an operator goes back.

Everybody asks again until they have an answer, as a person or a client with retries does. A refusal is an answer.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc
import httpx

from golden.connection import error_of
from golden.inference import request_of
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.ingest.v1 import events_pb2 as ingest
from goldenpath.monitor.v1 import events_pb2 as monitor
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.clock import SystemClock
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.database import Database, UnitOfWork
from services.chassis.errors import NotFound, Unavailable
from services.chassis.topics import INGEST, MONITOR
from tests.faults.bus import Bus
from tests.faults.patience import persist
from tests.faults.registrations import QUESTIONS, dataset_of, registration_of
from tests.faults.world import World

SERVED: Final = ("served-a", "served-b")
_AT_ONCE: Final = 6  # registrations under way; more would only wait for the registry's turn
_TRAFFIC: Final = timedelta(milliseconds=60)  # between two requests: a step's sample of 20 in a few seconds
_KINDS: Final = {
    "undocumented": 4,  # refused
    "waiting": 4,  # high risk, and nobody has looked yet
    "denied": 2,
    "trained": 4,  # training.completed from another system: its author is a claim, so two must look
    "documented": 6,  # dataset.documented from another system
    "served": 4,
    "revoked": 1,
    "signalled": 1,
    "stale": 1,
    "taken back": 1,
}


@dataclass
class Told:
    """What the campaign did, and must find again."""

    lives: Counter[str] = field(default_factory=Counter)
    trainings: set[str] = field(default_factory=set)  # models of training.completed events that Kafka has
    datasets: dict[str, int] = field(default_factory=dict)  # by name, how many different documents Kafka has
    stale_signals: set[str] = field(default_factory=set)
    requests: Counter[int] = field(default_factory=Counter)
    rows: set[tuple[str, int]] = field(default_factory=set)  # customers' minutes that Kafka has
    rows_tried: set[tuple[str, int]] = field(default_factory=set)  # and those that it may have


class Lives:
    """People and systems around a platform.

    Args:
        world: The platform.
        bus: Its topics.
        runs: MLflow runs to register.
        seed: Of every choice.
    """

    def __init__(self, world: World, bus: Bus, runs: list[str], *, seed: int) -> None:
        self.told = Told()
        self.begun = 0
        self._world = world
        self._bus = bus
        self._runs = runs
        self._seed = seed
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._under_way: list[asyncio.Task[None]] = []
        self._versions: Counter[str] = Counter()
        self._ada = world.as_("ada", "scientist")
        self._grace = world.as_("grace", "reviewer")
        self._otto = world.as_("otto", "operator")

    def begin(self, count: int) -> None:
        """Begin so many lives; they go on by themselves."""
        for _ in range(count):
            self.begun += 1
            self._under_way.append(asyncio.create_task(self._live(self.begun)))

    async def finish(self) -> None:
        """Wait until every life that was begun has its answers."""
        while self._under_way:
            await self._under_way.pop()

    async def send_traffic(self) -> None:
        """Requests to what is served, for ever, without retries."""
        async with httpx.AsyncClient(timeout=5) as client:
            while True:
                for model in SERVED:
                    url = f"{self._ada.endpoints.gateway}/v2/models/{model}/infer"
                    age, hours = random.gauss(40, 12), float(random.randrange(60))
                    status = 0
                    with suppress(httpx.HTTPError):
                        inputs = request_of({"age": age, "hours": hours})
                        status = (await client.post(url, json=inputs, headers={"x-unit-id": f"{age}"})).status_code
                    self.told.requests[status] += 1
                await asyncio.sleep(_TRAFFIC.total_seconds())

    async def release_all(self) -> None:
        """An operator has looked, and lifts every hold."""
        for model in SERVED:
            request = deployer.ReleaseRequest(model=model, reason="looked at")
            await self._answered(lambda request=request: self._otto.deployer.Release(request))  # type: ignore[misc] # mypy can't infer a lambda with a default

    async def _live(self, number: int) -> None:
        rng = random.Random(f"{self._seed}/{number}")
        kind = "served" if number <= len(SERVED) else rng.choices([*_KINDS], weights=[*_KINDS.values()])[0]
        self.told.lives[kind] += 1
        life: dict[str, Callable[[int, random.Random], Awaitable[object]]] = {
            "undocumented": self._undocumented,
            "waiting": self._waiting,
            "denied": self._denied,
            "trained": self._trained,
            "documented": self._documented,
            "served": self._served,
            "revoked": self._revoked,
            "signalled": self._signalled,
            "stale": self._stale,
            "taken back": self._taken_back,
        }
        await life[kind](number, rng)

    # Lives that end at the gate

    async def _undocumented(self, number: int, rng: random.Random) -> None:
        await self._register(registration_of(f"life-{number}", rng.choice(self._runs), answers=()))

    async def _waiting(self, number: int, rng: random.Random) -> int:
        return await self._register(registration_of(f"life-{number}", rng.choice(self._runs)))

    async def _denied(self, number: int, rng: random.Random) -> None:
        version = await self._waiting(number, rng)
        request = governance.DenyRequest(model=f"life-{number}", version=version, comment="not like this")
        await self._judged(lambda: self._grace.governance.Deny(request))

    async def _trained(self, number: int, rng: random.Random) -> None:
        registration = registration_of(f"life-{number}", rng.choice(self._runs))
        await self._publish(
            "training.completed", f"model/life-{number}", ingest.TrainingCompleted(registration=registration)
        )
        self.told.trainings.add(f"life-{number}")

    async def _documented(self, number: int, rng: random.Random) -> None:
        name = f"shared-{number % 7}"
        owner = f"owner-{number}"
        dataset = dataset_of(name, rng.sample(QUESTIONS, rng.randint(0, len(QUESTIONS))), owner=owner)
        await self._publish("dataset.documented", f"dataset/{name}", ingest.DatasetDocumented(dataset=dataset))
        self.told.datasets[name] = self.told.datasets.get(name, 0) + 1

    # Lives that are served, and their trouble

    async def _served(self, number: int, _: random.Random) -> None:
        model = SERVED[number % len(SERVED)]
        self._versions[model] += 1
        run = self._runs[(self._versions[model] - 1) % len(self._runs)]
        version = await self._register(registration_of(model, run))
        request = governance.ApproveRequest(model=model, version=version, comment="fine")
        await self._judged(lambda: self._grace.governance.Approve(request))

    async def _revoked(self, number: int, rng: random.Random) -> None:
        at = await self._position(rng)
        if at is not None:
            request = governance.RevokeRequest(model=at.model, version=at.stable_version, reason=f"life {number}")
            await self._answered(lambda: self._grace.governance.Revoke(request))

    async def _taken_back(self, number: int, rng: random.Random) -> None:
        at = await self._position(rng)
        if at is not None:
            request = deployer.RollBackRequest(model=at.model, epoch=at.epoch, reason=f"life {number}")
            await self._answered(lambda: self._otto.deployer.RollBack(request))

    async def _signalled(self, number: int, rng: random.Random) -> None:
        at = await self._position(rng)
        if at is not None:
            await self._signal(at.model, at.candidate_version or at.stable_version, at.epoch, f"life {number}")

    async def _stale(self, number: int, rng: random.Random) -> None:
        """A signal about a role that nobody has any more, or never had."""
        at = await self._position(rng)
        if at is not None:
            id_ = await self._signal(at.model, at.stable_version + 1_000, at.epoch, f"life {number}")
            self.told.stale_signals.add(id_)

    async def _signal(self, model: str, version: int, epoch: int, sentence: str) -> str:
        signal = monitor.Signal(
            id=str(uuid.uuid4()),
            kind=monitor.SIGNAL_KIND_DRIFT,
            model=model,
            environment="production",
            version=version,
            epoch=epoch,
            sentence=sentence,
        )

        async def emit() -> None:
            database = Database(
                self._world.dsn("monitor"),
                source="goldenpath/monitor",
                clock=SystemClock(),
                unit_of_work=UnitOfWork,
                connections=1,
            )
            await database.start()
            try:
                async with database.begin() as uow:
                    uow.emit(MONITOR, "drift.detected", f"model/{model}", monitor.DriftDetected(signal=signal))
            finally:
                await database.stop()

        await persist(emit)
        return signal.id

    async def _position(self, rng: random.Random) -> Any:
        """Where a served model stands; None while nothing of it serves."""
        request = deployer.GetDeploymentRequest(model=rng.choice(SERVED))
        answer = await self._answered(lambda: self._otto.deployer.GetDeployment(request))
        return answer.deployment.position if answer and answer.deployment.position.stable_version else None

    # Words to the platform

    async def _register(self, request: registry.RegisterVersionRequest) -> int:
        async with self._room:
            answer = await self._answered(lambda: self._ada.registry.RegisterVersion(request, timeout=30.0))
        return int(answer.version.registered.version) if answer else 0

    async def _judged(self, ask: Callable[[], Any]) -> None:
        """Ask governance about a version that it may not have heard of yet."""

        async def heard() -> None:
            try:
                await asyncio.to_thread(ask)
            except grpc.RpcError as failure:
                error = error_of(failure)
                if isinstance(error, NotFound):
                    raise Unavailable("not judged yet") from None
                raise error from None

        await persist(heard)

    async def _answered(self, ask: Callable[[], Any]) -> Any:
        """The answer to a question; None where the answer is no."""

        async def answer() -> Any:
            try:
                return await asyncio.to_thread(ask)
            except grpc.RpcError as failure:
                raise error_of(failure) from None

        return await persist(answer)

    async def _publish(self, type_name: str, subject: str, body: Any) -> None:
        made = event_of(
            body, type=type_name, source="campaign", subject=subject, time=datetime.now(UTC), actor="somebody"
        )
        # The same event again where nobody knows whether it arrived: its id makes that harmless.
        await persist(lambda: self._bus.write([(INGEST.name, subject.encode(), headers_of(made), made.data)]))
