"""A campaign: starts a platform, lets lives run and an adversary work, checks after each step, and settles at the end.

    start → a step: lives begin, the fault, mended, checked → … → the last fault → settled without a human
          → golden doctor lists the rest → an operator's commands → settled, whole, nothing waits but reviewers

Everything that is said also stands in `campaign.log` in the campaign's folder.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from golden.checkup import Finding, examine, readiness
from golden.operations import ask
from services.chassis.topics import RECORDS
from tests.faults.adversary import HEARD, Adversary
from tests.faults.bus import Bus
from tests.faults.checker import check
from tests.faults.disk import small_disk
from tests.faults.evidence import Checked, Evidence, wrong_of
from tests.faults.lives import Lives
from tests.faults.plan import Step, kinds, plan, plan_beside
from tests.faults.rows import Rows
from tests.faults.seen import Seen, look
from tests.faults.settling import settled, whole
from tests.faults.world import Replica, World

_SETTLES_WITHIN: Final = timedelta(minutes=4)  # a decision without an answer takes 45 s, a canary a few
_FOR_A_HUMAN: Final = ("waits for a reviewer", "failed", "held")  # what may be left, and is listed
_LOOKS_EVERY: Final = 4  # steps after which an operator lifts what is held, so that more versions are served
_RUNS_FOR_STEPS: Final = 4  # steps for each version that may be served


@dataclass(frozen=True)
class Settings:
    """What somebody asked for."""

    seed: int
    steps: int
    replicas: int
    keep: bool = False


class Broken(Exception):
    """A promise doesn't hold."""


@dataclass
class Tally:
    """What was tried, and how long it took to mend."""

    tried: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)


class Campaign:
    """One campaign.

    Args:
        settings: What somebody asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="golden-faults-"))
        self._folder.chmod(0o755)  # PostgreSQL runs as another user where this runs as root
        self._disk = small_disk(self._folder / "disk")
        self._database = (self._disk.folder if self._disk else self._folder) / "postgres"
        self._world = World(self._folder / "home", self._database, replicas=settings.replicas)
        self._bus = Bus(self._world.kafka.bootstrap)
        self._tally = Tally()
        self._looks: list[Seen] = []
        self._began = time.monotonic()

    async def run(self) -> int:
        """Run it; the process's exit status."""
        self._say(
            f"seed {self._settings.seed}, {self._settings.steps} steps, {self._settings.replicas} of each service"
        )
        self._say(f"everything stands in {self._folder}")
        well = False
        try:
            await self._run()
            well = True
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said with the seed, and the evidence is kept
            self._say(f"✗ {type(error).__name__}: {error}")
        finally:
            await self._world.stop()
            self._leave(well=well)
        return 0 if well else 1

    async def _run(self) -> None:
        self._world.folders.home.mkdir()
        self._say("starting")
        await self._world.start_parts()
        self._say("Kafka, PostgreSQL and Envoy run")
        training = asyncio.create_task(self._world.train(4 + self._settings.steps // _RUNS_FOR_STEPS))
        await self._world.start_services()
        runs = await training
        self._say(f"every service is ready, and {len(runs)} versions are trained")
        self._lives = Lives(self._world, self._bus, runs, seed=self._settings.seed)
        self._adversary = Adversary(self._world, self._bus, self._lives, disk=self._disk)
        self._rows = Rows(self._world, self._bus, self._lives.told, seed=self._settings.seed)
        await self._rows.begin()
        traffic = asyncio.create_task(self._lives.send_traffic())
        seed, steps, replicas = self._settings.seed, self._settings.steps, self._settings.replicas
        try:
            for step, beside in zip(
                plan(seed, steps, replicas=replicas), plan_beside(seed, steps, replicas=replicas), strict=True
            ):
                await self._step(step, beside)
            await self._end()
        finally:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
        await self._settle()  # the last requests' records
        await self._prove()

    async def _step(self, step: Step, beside: Step) -> None:
        if step.number % _LOOKS_EVERY == 0:
            await self._lives.release_all()
        self._lives.begin(step.lives)
        if reason := self._adversary.cannot(step):
            self._tally.skipped[step.kind] = reason
            self._say(f"{step.number:3}  at life {self._lives.begun}  {step}  — left out: {reason}")
            return
        began = time.monotonic()
        await self._adversary.do(step, beside)
        took = time.monotonic() - began
        self._tally.tried.update([step.kind, beside.kind])
        self._tally.seconds.setdefault(step.kind, []).append(took)
        checked = await self._check()
        counts = f"{len(self._bus.records)} records, {sum(one.count for one in checked)} facts checked"
        self._say(f"{step.number:3}  at life {self._lives.begun}  {step} | {beside}  {took:.1f} s  {counts}")

    async def _check(self) -> list[Checked]:
        evidence = await self._evidence()
        checked = check(evidence)
        if wrong := list(wrong_of(checked)):
            raise Broken("; ".join(wrong))
        return checked

    async def _evidence(self) -> Evidence:
        """The topics, read before the databases and after them: each must have what the other had before."""
        await self._bus.read()
        older = len(self._bus.records)
        seen = await look(self._world)
        await self._bus.read()
        self._looks.append(seen)
        evidence = Evidence(self._bus.records, seen, self._lives.told, self._bus.poison, older)
        if len(self._looks) > 2:
            evidence.revoked_before = frozenset(
                (one["model"], one["version"]) for one in self._looks[-3].cases if one["state"] == "revoked"
            )
            evidence.history_before = max((one["id"] for one in self._looks[-2].history), default=0)
            del self._looks[0]
        return evidence

    # The end

    async def _end(self) -> None:
        await self._lives.finish()
        await self._rows.finish()
        self._say(f"lives: {_counts(self._lives.told.lives)}; requests: {_counts(self._lives.told.requests)}")
        self._say(f"settled {await self._settle():.1f} s after the last fault, without a human")
        await self._check()
        findings = await asyncio.to_thread(self._doctor)
        for what, times in Counter(_kind(finding) for finding in findings).items():
            self._say(f"     doctor: {times} times {what}")
        await self._listed(findings)
        await self._operate()
        self._say(f"settled {await self._settle():.1f} s after an operator's commands")

    async def _prove(self) -> None:
        """Nothing happens any more: everything must be there, and the doctor find nothing but reviewers' work."""
        evidence = await self._evidence()
        checked = [*check(evidence), *whole(evidence)]
        if wrong := list(wrong_of(checked)):
            raise Broken("; ".join(wrong))
        findings = await asyncio.to_thread(self._doctor)
        if left := [one for one in findings if not any(words in one.what for words in _FOR_A_HUMAN)]:
            raise Broken(f"golden doctor still finds {left}")
        self._report(checked)

    async def _settle(self) -> float:
        """Wait until nothing has to happen any more; how long it took."""
        began, left = time.monotonic(), ["nobody has looked"]
        records = {place: end for place, end in (await self._bus.ends()).items() if place.topic == RECORDS.name}
        while time.monotonic() - began < _SETTLES_WITHIN.total_seconds():
            ends = await self._bus.ends() | records  # of what is served until now: that goes on being told
            left = settled(await self._evidence(), await self._bus.committed(HEARD), ends)
            if not left:
                return time.monotonic() - began
            await asyncio.sleep(1)
        raise Broken(f"it didn't settle within {_SETTLES_WITHIN}: {'; '.join(left)}")

    def _doctor(self) -> list[Finding]:
        return examine(self._world.as_("otto", "operator"))

    async def _listed(self, findings: list[Finding]) -> None:
        """What waits for a human is in the doctor's list."""
        seen = self._looks[-1]
        said = " ".join(f"{finding.where} {finding.what}" for finding in findings)
        dead = {one.service for one in seen.waiting if one.dead}
        held = {f"{one['model']}/production" for one in seen.deployments if one.get("hold")}
        waiting = {"waits for a reviewer" for one in seen.cases if one["state"] == "waiting"}
        letters = {
            f"{service} {sum(one.dead and one.service == service for one in seen.waiting)} dead" for service in dead
        }
        if missing := [one for one in (*letters, *held, *waiting) if one not in said]:
            raise Broken(f"golden doctor doesn't say: {missing}")

    async def _operate(self) -> None:
        """An operator drops what was poison, replays the rest, and lifts every hold."""
        poison = self._bus.poison
        otto = self._world.as_("otto", "operator")
        for _ in range(40):  # behind a dead letter of a key the next one comes to light
            dead = [one for one in (await look(self._world)).waiting if one.dead]
            if not dead:
                break
            for one in dead:
                action = "drop" if (one.topic, one.partition, one.offset) in poison else "replay"
                path = f"/v1/deadletters/{one.id}/{action}"
                await asyncio.to_thread(ask, otto, one.service, "POST", path, {"reason": "the campaign is over"})
            await asyncio.sleep(1)
        await self._lives.release_all()
        # In threads: the links between services and what they depend on are here.
        replicas = [one for one in self._world.replicas if await asyncio.to_thread(self._stopped_itself, one)]
        await self._world.stop_replicas(replicas)
        await self._adversary.supervise()

    def _stopped_itself(self, replica: Replica) -> bool:
        url = self._world.as_("otto", "operator", number=replica.number).endpoints.http[replica.service]
        return "stopped itself" in str(readiness(url))

    # Words

    def _report(self, checked: list[Checked]) -> None:
        self._say("")
        for one in checked:
            self._say(f"  {one.count:7,}  {one.promise}")
        self._say("")
        for kind in kinds():
            times, took = self._tally.tried[kind], self._tally.seconds.get(kind, [])
            mended = f"mended after {max(took):.1f} s at most" if took else self._tally.skipped.get(kind, "")
            self._say(f"  {times:3} times {kind}  {mended}")
        repeats = f"{len(self._bus.repeats)} repeats, {len(self._bus.poison)} of poison"
        self._say(f"✓ nothing was lost: {self._lives.begun} lives, {len(self._bus.records):,} records ({repeats})")

    def _say(self, words: str) -> None:
        line = f"{time.monotonic() - self._began:7.1f} s  {words}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        with (self._folder / "campaign.log").open("a") as log:
            log.write(line + "\n")

    def _leave(self, *, well: bool) -> None:
        if self._disk is not None:
            if not well or self._settings.keep:
                self._disk.keep(self._folder / "database")
            self._disk.unmount()
        if well and not self._settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        asked = self._settings
        again = f"--seed {asked.seed} --steps {asked.steps} --replicas {asked.replicas}"
        self._say(f'kept: {self._folder}   the same again: make faults ARGS="{again}"')


def _kind(finding: Finding) -> str:
    """A finding without whose it is: thousands of models wait for a reviewer."""
    model = finding.where.partition("@")[0]
    where = finding.where if "@" not in finding.where else "a version"
    return f"{where}: {finding.what}  →  {finding.fix.replace(finding.where, '…').replace(model, '…')}"


def _counts(counted: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counted.most_common())
