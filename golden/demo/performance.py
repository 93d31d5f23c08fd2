"""The demo, put together: the platform, the people, the acts, and what is printed at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from golden import project as projects
from golden import registration, training
from golden.commands.register import point_at
from golden.connection import Connection
from golden.demo.sabotage import Sabotage, change_a_byte, revoke_in_canary
from golden.demo.screen import Screen
from golden.demo.story import Story
from golden.demo.traffic import Traffic
from golden.traces import Episode, episodes_of, read_spans, story_of
from goldenpath.deployer.v1 import events_pb2 as decisions
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis import telemetry
from services.chassis.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from golden.embedded.platform import Platform

_RATE: Final = 200.0  # requests a second: what leaves two cores room for training beside it
_LABEL_DELAY: Final = timedelta(seconds=3)
_QUIET_RECORDS: Final = 20_000
_PROCESSES: Final = 6  # an episode is connected through at least so many
_WAY_BACK: Final = {
    ("deployer", "process drift.detected"),
    ("deployer", "decide"),
    ("registry", "process deployment.rolled_back"),
}
_UNANSWERED: Final = {"collection_process", "known_gaps"}


class Performance:
    """One run of the demo.

    Args:
        home: Where its platform lives; emptied first. None: a folder of its own beside the usual home.
        patience: How long any one thing may take.
        no_drift: True: nothing breaks, and 1995's traffic must stay quiet.
        keep: True: the platform is left running.
        sabotage: What is broken on purpose, so that the demo must fail.
        trained: The runs of versions 1 and 2, where the home's MLflow has them: it isn't emptied then, and nothing is
            trained.
        console: Where it is shown.
    """

    def __init__(
        self,
        *,
        home: Path | None,
        patience: timedelta,
        no_drift: bool,
        keep: bool,
        sabotage: Sabotage,
        trained: Sequence[str],
        console: Console,
    ) -> None:
        from golden.embedded import platform

        self.home = home or platform.default_home() / "demo"
        self._patience = patience
        self._no_drift = no_drift
        self._keep = keep
        self._sabotage = sabotage
        self._trained = trained
        self._trainings: list[training.Training] = []
        self._console = console
        self._screen = Screen(console)
        self._example = _example()

    def run(self) -> None:
        """Tell the whole story.

        Raises:
            GoldenpathError: something of it didn't come true.
        """
        began = time.monotonic()
        with self._platform() as running:
            telemetry.configure("golden", traces_folder=running.folders.traces)
            story = self._people(running)
            with self._traffic(running, story) as traffic:
                self._version_1(running, story)
                traffic.start()
                self._version_2(story, traffic)
                self._quiet(story, traffic) if self._no_drift else self._drift(running, story, traffic)
            self._summary(running, story, traffic, time.monotonic() - began)

    @contextmanager
    def _platform(self) -> Iterator[Platform]:
        from golden.embedded import platform

        self._screen.act("The platform")
        platform.down(self.home, wipe=not self._trained)
        try:
            with self._screen.step("up", "golden") as step:
                running = platform.up(self.home, only=None, ports=platform.Ports.free(), say=step.now)
                step.say("registry, governance, deployer, monitor · Kafka, PostgreSQL, Envoy")
            yield running
        finally:
            for unfinished in self._trainings:
                unfinished.stop()
            if not self._keep:
                platform.down(self.home, wipe=False)

    def _people(self, running: Platform) -> Story:
        ada = Connection(running.endpoints(), lambda: running.token("ada", ["scientist"]))
        grace = Connection(running.endpoints(), lambda: running.token("grace", ["reviewer"]))
        model = projects.load(self._example).model
        both = Connection(running.endpoints(), lambda: running.token("ada", ["scientist", "reviewer"]))
        return Story(model, author=ada, reviewer=grace, both=both, screen=self._screen, patience=self._patience)

    @contextmanager
    def _traffic(self, running: Platform, story: Story) -> Iterator[Traffic[Any]]:
        from examples.credit import traffic as feed

        records = cycle(feed.records(year=95 if self._no_drift else 94))
        made = Traffic(
            story.model,
            gateway=running.endpoints().gateway,
            bootstrap=running.endpoints().kafka.bootstrap,
            records=records,
            rate=_RATE,
            label_delay=_LABEL_DELAY,
        )
        try:
            yield made
        finally:
            made.stop()

    def _version_1(self, running: Platform, story: Story) -> None:
        self._screen.act("Version 1: a linear model, without the amounts")
        project = projects.load(self._draft())
        with self._screen.step("train", "notebook") as step:
            self._train(running, 1)
            run = self._run_of(1)
            step.say("on 60,000 real records of 1994")
        self._train(running, 2)
        self._sabotage.strike("governance-down", lambda: running.stop("governance"))
        made = self._register(story, project, run, said="with its author's token").registered
        stored = running.folders.artifacts / "artifacts" / made.artifact_digest
        self._sabotage.strike("artifact-byte", lambda: change_a_byte(stored))
        story.refused(1, missing=_UNANSWERED)
        point_at(project, _UNANSWERED, self._console)
        with self._screen.step("document", "registry") as step:
            self._complete(project)
            story.author.registry.RegisterDataset(
                registry.RegisterDatasetRequest(dataset=registration.dataset_of(project))
            )
            step.say("the datasheet's two answers are written")
        story.approved(1)
        story.live(1)

    def _version_2(self, story: Story, traffic: Traffic[Any]) -> None:
        self._screen.act("Version 2: boosted trees, with the amounts")
        project = projects.load(self._draft_folder)
        with self._screen.step("train", "notebook") as step:
            run = self._run_of(2)
            step.say("was trained meanwhile")
        story.served_enough(traffic)
        before = story.author.registry.GetVersion(registry.GetVersionRequest(model=story.model, version=1))
        after = self._register(story, project, run, said="better on held-out records")
        story.approved(2)
        self._sabotage.strike("verdict-revoked", lambda: revoke_in_canary(story, 2))
        was, now = (version.registered.metrics["log_loss"] for version in (before.version, after))
        story.promoted(2, traffic, f"log loss {was:.3f} → {now:.3f}")

    def _drift(self, running: Platform, story: Story, traffic: Traffic[Any]) -> None:
        from examples.credit import traffic as feed

        self._sabotage.strike("monitor-stopped", lambda: running.stop("monitor"))
        self._screen.act("Act one: the education feed is stuck at one value")
        began = datetime.now(UTC)
        traffic.break_with(feed.education_stuck)
        signal = story.seen({"education"}, began)
        story.decided(signal, decisions.VERB_HOLD)
        story.held_then_cleared(signal, traffic.repair)

        self._screen.act("Act two: the amounts arrive in cents")
        began, before = datetime.now(UTC), traffic.tally()
        traffic.break_with(feed.amounts_in_cents)
        signal = story.seen({"capital_gains", "capital_losses", "dividends"}, began)
        decision = story.decided(signal, decisions.VERB_ROLL_BACK)
        story.taken_back(1, decision, traffic, before)

    def _quiet(self, story: Story, traffic: Traffic[Any]) -> None:
        self._screen.act("1995's real traffic on the 1994 model: nothing is wrong, so nothing may happen")
        story.quiet(traffic, _QUIET_RECORDS)

    def _train(self, running: Platform, version: int) -> None:
        """Begin to train a version."""
        if not self._trained:
            started = training.start(
                self._example / "train.ipynb",
                self.home / "notebooks" / f"version-{version}.ipynb",
                parameters={"version": version},
                tracking=running.endpoints().tracking,
                artifacts=running.folders.mlflow,
            )
            self._trainings.append(started)

    def _run_of(self, version: int) -> str:
        return self._trained[version - 1] if self._trained else self._trainings[version - 1].run_id()

    def _register(self, story: Story, project: projects.Project, run: str, *, said: str) -> registry.Version:
        with self._screen.step("register", "registry") as step:
            with telemetry.span("register", attributes={"goldenpath.model": story.model}):
                answer = story.author.registry.RegisterVersion(registration.request_of(project, run))
                telemetry.about(story.model, answer.version.registered.version)
            made = answer.version.registered
            losses = f"log loss {made.metrics['log_loss']:.3f} · AUC {made.metrics['auc']:.3f}"
            step.say(f"{made.model}@{made.version} · {losses} · {said}")
            return answer.version

    def _draft(self) -> Path:
        """The example as its author has it at first: a copy, since the demo writes into the datasheet."""
        folder = self._draft_folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._example, folder, ignore=shutil.ignore_patterns("*.parquet", "__pycache__"))
        for file in (self._example / "data").glob("*.parquet"):
            (folder / "data" / file.name).symlink_to(file)
        return folder

    @property
    def _draft_folder(self) -> Path:
        return self.home / "credit"

    def _complete(self, project: projects.Project) -> None:
        """What the scientist writes once governance has named what is missing."""
        answers = self._draft_folder / "data" / "datasheet.completed.md"
        shutil.copyfile(answers, project.at(project.dataset.datasheet))

    def _summary(self, running: Platform, story: Story, traffic: Traffic[Any], seconds: float) -> None:
        tally = traffic.tally()
        if tally.failures:
            raise Conflict(f"{tally.failures} of {tally.requests} requests failed: {'; '.join(tally.errors)}")
        last = 1 if self._no_drift else 2
        episodes = story_of(episodes_of(read_spans(running.folders.traces)), story.model, last)
        minutes, rest = divmod(int(seconds), 60)
        self._console.print(
            f"\n[bold]{story.model}[/bold] · {minutes} min {rest} s · nothing failed in {tally.requests:,} requests\n"
        )
        for row in self._screen.rows:
            line = f"  {row.step:<10} [dim]{row.where:<11}[/dim] {row.seconds:7.2f} s   {row.said}"
            self._console.print(line, soft_wrap=True)
        self._console.print()
        for episode in (one for one in episodes if len(one.processes) > 1):
            first = min(episode.spans, key=lambda span: span.start_ns).name
            line = f"  trace {episode.trace_id}   {first:<24} {len(episode.processes)} processes"
            self._console.print(line, style="dim", soft_wrap=True)
        _check_connected(episodes, went_back=not self._no_drift)
        self._console.print(f"\n  The story: golden trace {story.model}@2      The record: golden audit {story.model}")
        if not self._keep:
            self._console.print("  [dim]make demo ARGS=--keep leaves the platform running, to look around[/dim]")


def _example() -> Path:
    try:
        from examples.credit import census
    except ImportError:
        raise Unavailable("the demo's records aren't here", fix="run it in the project's checkout: make demo") from None
    return census.DATA.parent


def _check_connected(episodes: Sequence[Episode], *, went_back: bool) -> None:
    """One episode goes through all the platform, one from signal to demotion, and none has lost a span.

    Raises:
        Conflict: it isn't so.
    """
    widest = max((len(episode.processes) for episode in episodes), default=0)
    lost = [episode.trace_id for episode in episodes if episode.missing_parents]
    back = any(_WAY_BACK.issubset((span.service, span.name) for span in episode.spans) for episode in episodes)
    if went_back and not back:
        raise Conflict("no trace goes from the signal to the decision and the registry's alias")
    if widest < _PROCESSES or lost:
        raise Conflict(f"the traces aren't connected: {widest} processes in the widest, spans are missing in {lost}")
