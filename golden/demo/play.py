"""What every demo stands on: the platform, the people, training, registration, and what is printed at the end."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.console import Console

from golden import project as projects
from golden import registration, training
from golden.connection import Connection
from golden.demo.screen import Screen
from golden.demo.story import Story
from golden.demo.traffic import Traffic
from golden.traces import Episode, episodes_of, read_spans, story_of
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis import telemetry
from services.chassis.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from golden.embedded.platform import Platform

_RATE: Final = 200.0  # requests a second: what leaves two cores room for training beside it
_LAST_SPANS: Final = timedelta(seconds=20)  # a span is written when it ends, and the last ones end after what they did
_PROCESSES: Final = 6  # an episode is connected through at least so many


class Play(ABC):
    """One run of a demo.

    Args:
        home: Where its platform lives; emptied first. None: a folder of its own beside the usual home.
        patience: How long any one thing may take.
        keep: True: the platform is left running.
        trained: The runs of versions 1 and 2, where the home's MLflow has them: it isn't emptied then, and nothing is
            trained.
        console: Where it is shown.
    """

    example: ClassVar[str]
    """The example that it plays, a folder's name."""

    def __init__(
        self, *, home: Path | None, patience: timedelta, keep: bool, trained: Sequence[str], console: Console
    ) -> None:
        from golden.embedded import platform

        self.home = home or platform.default_home() / "demo"
        self._patience = patience
        self._keep = keep
        self._trained = trained
        self._trainings: list[training.Training] = []
        self._console = console
        self._screen = Screen(console)
        self._example = _example(self.example)

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
                self._acts(running, story, traffic)
            self._summary(running, story, traffic, time.monotonic() - began)

    @property
    @abstractmethod
    def _last_version(self) -> int:
        """The version whose story is told at the end."""

    @property
    @abstractmethod
    def _way_out(self) -> set[tuple[str, str]]:
        """Service and name of spans that one trace must have, from the signal on; none where nothing happens."""

    @abstractmethod
    def _acts(self, running: Platform, story: Story, traffic: Traffic[Any]) -> None:
        """What happens."""

    @abstractmethod
    def _records(self) -> Iterator[Any]:
        """Records, without end."""

    @abstractmethod
    def _label_delay(self, record: Any) -> timedelta:
        """How long after a record's prediction its outcome becomes known."""

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
        made = Traffic(
            story.model,
            gateway=running.endpoints().gateway,
            bootstrap=running.endpoints().kafka.bootstrap,
            records=self._records(),
            rate=_RATE,
            label_delay=self._label_delay,
        )
        try:
            yield made
        finally:
            made.stop()

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
        return self.home / self.example

    def _summary(self, running: Platform, story: Story, traffic: Traffic[Any], seconds: float) -> None:
        tally = traffic.tally()
        if tally.failures:
            raise Conflict(f"{tally.failures} of {tally.requests} requests failed: {'; '.join(tally.errors)}")
        episodes = self._episodes(running, story)
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
        _check_connected(episodes, self._way_out)
        told = f"golden trace {story.model}@{self._last_version}"
        self._console.print(f"\n  The story: {told}      The record: golden audit {story.model}")
        if not self._keep:
            self._console.print("  [dim]make demo ARGS=--keep leaves the platform running, to look around[/dim]")

    def _episodes(self, running: Platform, story: Story) -> list[Episode]:
        """The story in traces, once what every process still does of it has ended and is written."""
        deadline = time.monotonic() + _LAST_SPANS.total_seconds()
        while True:
            episodes = story_of(episodes_of(read_spans(running.folders.traces)), story.model, self._last_version)
            if not any(episode.missing_parents for episode in episodes) or time.monotonic() > deadline:
                return episodes
            time.sleep(_LAST_SPANS.total_seconds() / 20)


def _example(name: str) -> Path:
    try:
        found = import_module(f"examples.{name}.measure").__file__
    except ImportError:
        raise Unavailable("the demo's records aren't here", fix="run it in the project's checkout: make demo") from None
    return Path(str(found)).parent


def _check_connected(episodes: Sequence[Episode], way_out: set[tuple[str, str]]) -> None:
    """One episode goes through all the platform, one from the signal to what mended it, and none has lost a span.

    Raises:
        Conflict: it isn't so.
    """
    widest = max((len(episode.processes) for episode in episodes), default=0)
    lost = [episode.trace_id for episode in episodes if episode.missing_parents]
    back = any(way_out.issubset((span.service, span.name) for span in episode.spans) for episode in episodes)
    if way_out and not back:
        raise Conflict(f"no trace goes from the signal to the end: {sorted(f'{a}: {b}' for a, b in way_out)}")
    if widest < _PROCESSES or lost:
        raise Conflict(f"the traces aren't connected: {widest} processes in the widest, spans are missing in {lost}")
