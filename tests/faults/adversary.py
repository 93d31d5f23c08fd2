"""The adversary: does a step of the plan, waits as long as it says, and mends what it broke.

What it writes to topics it remembers (`Bus.poison`, `Bus.repeats`), so that the checker knows whose it is.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

from golden.operations import ask
from services.chassis.errors import Unavailable
from services.chassis.topics import FEATURES, TOPICS
from services.deployer.jobs import side_by_side
from tests.faults import poison
from tests.faults.bad_release import REASON
from tests.faults.bus import Bus, Written
from tests.faults.disk import Disk
from tests.faults.lives import Lives
from tests.faults.plan import Fault, Step
from tests.faults.world import HANDLES_NOTHING, PUSHER, READS_NOTHING, SESSION_TIMEOUT, Replica, World

HEARD: Final = {
    "registry": ("ingest.events", "deployer.events"),
    "governance": ("registry.events", "deployer.events"),
    "deployer": ("governance.events", "monitor.events", "registry.events"),
    "monitor": ("deployer.events", "inference.outcomes"),
    PUSHER: (FEATURES.name,),
}
_STARTS: Final = 3  # of what ends while it starts
_BAD_FOR: Final = timedelta(seconds=12)  # a bad release is taken back as soon as somebody looks
_BAD_LIVES: Final = 25  # more than the dead-letter limit's floor


class Adversary:
    """Breaks a platform, and mends it.

    Args:
        world: The platform.
        bus: Its topics.
        lives: What goes on meanwhile.
        disk: The database's own, where it may be filled; None where it may not.
    """

    def __init__(self, world: World, bus: Bus, lives: Lives, *, disk: Disk | None) -> None:
        self._world = world
        self._bus = bus
        self._lives = lives
        self._disk = disk

    def cannot(self, step: Step) -> str:
        """Why a step can't be done here; empty where it can."""
        if step.fault is Fault.DISK and self._disk is None:
            return "only root can make a small file system"
        return ""

    async def do(self, step: Step, beside: Step) -> None:
        """Do a step, and another to the pusher at the same time."""
        if step.fault is Fault.KAFKA:  # what writes to topics comes after what breaks them
            await self._do(step)
            await self._do(beside)
        else:
            await side_by_side([self._do(step), self._do(beside)])
        await self.supervise()

    async def _do(self, step: Step) -> None:
        deeds: dict[Fault, Callable[[Step], Awaitable[None]]] = {
            Fault.KILL: self._kill,
            Fault.FREEZE: self._freeze,
            Fault.KAFKA: self._kafka,
            Fault.POSTGRES: self._postgres,
            Fault.ENVOY: self._envoy,
            Fault.SERVER: self._server,
            Fault.CUT: self._cut,
            Fault.CLOSE: self._close,
            Fault.SLOW: self._slow,
            Fault.HOLD: self._hold,
            Fault.REPEAT: self._repeat,
            Fault.LATE: self._late,
            Fault.REREAD: self._reread,
            Fault.POISON: self._poison,
            Fault.CLOCK: self._clock,
            Fault.DISK: self._fill,
            Fault.RELEASE: partial(self._release, HANDLES_NOTHING),
            Fault.UNREADING: partial(self._release, READS_NOTHING),
        }
        await deeds[step.fault](step)

    async def supervise(self) -> None:
        """Start again what ended, as a supervisor would, and wait until all of it is ready.

        What was started while something else was broken may still be about to end, so this is tried again.
        """
        if not self._world.running["postgres"].alive():
            await self._world.start_postgres()
        for _ in range(_STARTS - 1):
            self._start_dead()
            with suppress(Unavailable):
                await self._world.wait_ready(self._world.replicas)
                return
        self._start_dead()
        await self._world.wait_ready(self._world.replicas)

    def _start_dead(self) -> None:
        for replica in self._world.dead():
            self._world.launch(replica)

    # Processes

    async def _kill(self, step: Step) -> None:
        replica = Replica(step.target, step.replica)
        await asyncio.to_thread(self._world.kill, str(replica))
        await _pass(step.amount)
        self._world.launch(replica)

    async def _freeze(self, step: Step) -> None:
        part = f"{step.target}/{step.replica}"
        self._world.signal(part, signal.SIGSTOP)
        await _pass(SESSION_TIMEOUT.total_seconds() + step.amount)
        self._world.signal(part, signal.SIGCONT)
        await _pass(2)  # the zombie tries what it was about to do

    async def _kafka(self, step: Step) -> None:
        await asyncio.to_thread(self._world.kill, "kafka")
        await _pass(step.amount)
        await self._world.start_kafka()

    async def _postgres(self, step: Step) -> None:
        await asyncio.to_thread(self._world.kill, "postgres")
        await _pass(step.amount)
        await self._world.start_postgres()

    async def _envoy(self, step: Step) -> None:
        await asyncio.to_thread(self._world.kill, "envoy")
        await _pass(step.amount)
        await self._world.start_envoy()

    async def _server(self, step: Step) -> None:
        servers = self._world.model_servers()
        if servers:
            random.Random(step.seed).choice(servers).send(signal.SIGKILL)
        await _pass(step.amount)

    async def _release(self, release: Sequence[str], step: Step) -> None:
        """A bad release replaces every replica, is seen, and is taken back; an operator replays what died of it."""
        replicas = [one for one in self._world.replicas if one.service == step.target]
        await self._world.stop_replicas(replicas)
        for replica in replicas:
            self._world.launch(replica, release)
        self._lives.begin(_BAD_LIVES)
        await _pass(_BAD_FOR.total_seconds())
        await self._world.stop_replicas(replicas)
        for replica in replicas:
            self._world.launch(replica)
        await self._world.wait_ready(replicas)
        await asyncio.to_thread(self.replay, step.target)

    def replay(self, service: str, *, mended: Callable[[str], bool] = lambda what: REASON in what) -> int:
        """An operator replays a service's dead letters whose cause is mended, and drops the others' poison later."""
        otto = self._world.as_("otto", "operator")
        letters = ask(otto, service, "GET", "/v1/deadletters?page_size=1000")["letters"]
        chosen = [letter["id"] for letter in letters if mended(letter["what"])]
        for letter in chosen:
            ask(otto, service, "POST", f"/v1/deadletters/{letter}/replay", {"reason": "a good release runs again"})
        return len(chosen)

    # Links, clock and disk

    async def _cut(self, step: Step) -> None:
        for _ in range(8):
            self._world.links[step.target].cut()
            await _pass(step.amount)

    async def _close(self, step: Step) -> None:
        self._world.links[step.target].close()
        await _pass(10 * step.amount)
        self._world.links[step.target].mend()

    async def _slow(self, step: Step) -> None:
        self._world.links[step.target].slow(timedelta(seconds=step.amount))
        await _pass(6)
        self._world.links[step.target].mend()

    async def _hold(self, step: Step) -> None:
        self._world.links[step.target].hold()
        await _pass(step.amount)
        self._world.links[step.target].mend()

    async def _clock(self, step: Step) -> None:
        file = self._world.skew_file(Replica(step.target, step.replica))
        file.write_text(str(step.amount))
        await _pass(4)
        file.unlink()

    async def _fill(self, step: Step) -> None:
        assert self._disk is not None
        self._disk.fill()
        await _pass(2 + step.amount)
        self._disk.make_room()

    # Topics

    async def _repeat(self, step: Step) -> None:
        stood = await self._stood(step.target)
        await self._again(stood[-int(step.amount) :])

    async def _late(self, step: Step) -> None:
        stood, rng = await self._stood(step.target), random.Random(step.seed)
        await self._again(rng.sample(stood, min(int(step.amount), len(stood))))

    async def _stood(self, topic: str) -> list[Written]:
        await self._bus.read()
        return [one for one in self._bus.records if one.topic == topic and one.place not in self._bus.poison]

    async def _again(self, records: list[Written]) -> None:
        places = await self._bus.write((one.topic, one.key, list(one.headers), one.value) for one in records)
        self._bus.repeats.update(places)

    async def _reread(self, step: Step) -> None:
        replicas = [one for one in self._world.replicas if one.service == step.target]
        await self._world.stop_replicas(replicas)
        await self._bus.forget_offsets(step.target, HEARD[step.target])
        for replica in replicas:
            self._world.launch(replica)

    async def _poison(self, step: Step) -> None:
        topic = next(topic for topic in TOPICS if topic.name == step.target)
        records = poison.of_every_kind(topic, random.Random(step.seed))
        self._bus.poison.update(await self._bus.write(records))
        self._bus.poison.add(await self._bus.write_undecodable(topic.name))


async def _pass(seconds: float) -> None:
    """Let time go by: what the services do in it is the test."""
    await asyncio.sleep(seconds)
