"""What stands around the deployer in its tests: siblings that answer as told, and a runtime of small servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np

from golden.embedded.processes import free_port
from services.chassis.errors import GoldenpathError, Unavailable
from services.deployer.clients import Admission, Sample
from services.deployer.domain.deployment import Place, Role
from services.deployer.domain.policy import Policy
from services.deployer.domain.routing import Address
from services.deployer.domain.shadow import Disagreement
from services.deployer.runtimes import Endpoint, Process
from services.deployer.store.versions import Known
from tests.deployer.backends import Backend


class FakeGovernance:
    """Admits everything but what was revoked; `error` is what it raises instead."""

    def __init__(self) -> None:
        self.error: GoldenpathError | None = None
        self.refused: set[int] = set()
        self.asked: list[int] = []

    async def check(self, place: Place, version: int, digest: str) -> Admission:
        self.asked.append(version)
        if self.error is not None:
            raise self.error
        assert digest == digest_of(version)
        return Admission(version not in self.refused, f"{place} {version}", f"verdict-{version}")

    async def newest_approved(self, model: str) -> int:
        if self.error is not None:
            raise self.error
        return len(model)


class FakeRegistry:
    """Knows every version, with one policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.error: GoldenpathError | None = None

    async def version(self, place: Place, version: int) -> Known:
        if self.error is not None:
            raise self.error
        return Known(place, version, digest_of(version), "", "", self.policy, None, "")


class FakeMonitor:
    """Has one sample, or nothing; and one count of paired answers, or nothing."""

    def __init__(self) -> None:
        self.given: Sample | None = None
        self.answers: Disagreement | None = None
        self.asked: list[Role] = []
        self.hangs = False

    async def sample(self, signal_id: str, *, within: timedelta) -> Sample:
        if self.hangs:
            await asyncio.sleep(within.total_seconds() * 10)
        if self.given is None:
            raise Unavailable(f"no monitor knows {signal_id}")
        return self.given

    async def disagreement(self, place: Place, candidate: Role, *, within: timedelta) -> Disagreement:
        self.asked.append(candidate)
        if self.answers is None:
            raise Unavailable(f"no monitor watches {place} within {within}")
        return self.answers


class FakeRuntime:
    """Runs a small server in this process for every endpoint; `broken` versions end at once."""

    def __init__(self) -> None:
        self.backends: dict[Address, Backend] = {}
        self.broken: set[int] = set()
        self.score: dict[int, Callable[[float], float]] = {}
        self._pids = 0
        self._loop = asyncio.get_running_loop()
        self._started: dict[Address, None] = {}  # in the order in which they were
        self._dead: set[Address] = set()

    def free_address(self) -> Address:
        backend = Backend("")
        backend.port = free_port()
        self.backends[backend.address] = backend
        return backend.address

    def start(self, endpoint: Endpoint) -> Process:
        backend = self.backends[endpoint.address]
        backend.name = str(endpoint.version)
        backend.score = self.score.get(endpoint.version, backend.score)
        if endpoint.version in self.broken:
            self._dead.add(endpoint.address)
        else:
            self._started[endpoint.address] = None
            asyncio.run_coroutine_threadsafe(backend.start(), self._loop).result(30)  # it is called on a thread
        self._pids += 1
        return Process(self._pids, 0.0)

    def find(self, endpoint: Endpoint) -> Process | None:
        """One whose start was killed half way."""
        return Process(self._pids, 0.0) if endpoint.address in self._started else None

    def alive(self, endpoint: Endpoint) -> bool:
        running = endpoint.address not in self._dead and endpoint.address in self.backends
        return running and endpoint.process is not None

    def stop(self, endpoint: Endpoint) -> None:
        self._dead.add(endpoint.address)

    def kill(self, endpoint: Endpoint) -> None:
        self.stop(endpoint)

    def last_words(self, endpoint: Endpoint) -> str:
        return f"can't start: version {endpoint.version} is broken"

    async def answers_ready(self, endpoint: Endpoint) -> bool:
        return self.alive(endpoint)

    def servers_of(self, version: int) -> list[Backend]:
        """A version's servers that run, oldest first."""
        running = (self.backends[address] for address in self._started if address not in self._dead)
        return [backend for backend in running if backend.name == str(version)]

    async def die(self, version: int) -> None:
        """A version's oldest server crashes."""
        backend = self.servers_of(version)[0]
        self._dead.add(backend.address)
        await backend.stop()

    async def close(self) -> None:
        for backend in self.backends.values():
            await backend.stop()


def digest_of(version: int) -> str:
    return f"{version:064x}"


def sample_of(*, current: list[float], outcomes: list[float]) -> Sample:
    """Records with one input x, which runs from 0 to 1."""
    x = np.linspace(0, 1, len(current)).tolist()
    return Sample({"x": x}, np.array(current), np.array(outcomes))


def quick(policy: Policy) -> Policy:
    """A policy for tests: small samples, small waits."""
    return replace(policy, minimum_sample=80, minimum_served=30, answer_within=timedelta(seconds=2))
