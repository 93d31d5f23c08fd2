"""The second demo: a new kind of fraud that no input shows. Outcomes do, days later, and the platform goes back.

Or, where the new fraud beats both versions, it asks for a third, which is trained by the command in golden.yaml and
goes through the same gates.

A day takes `_DAY` here: complaints come as many days after a payment as they would, and so long the monitor waits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from golden import project as projects
from golden.demo import promise_story
from golden.demo.play import Play
from golden.demo.story import Story
from golden.demo.traffic import Traffic
from goldenpath.deployer.v1 import events_pb2 as decisions
from goldenpath.registry.v1 import registry_service_pb2 as registry

if TYPE_CHECKING:
    from golden.embedded.platform import Platform

_DAY: Final = timedelta(seconds=2)
_WITHIN: Final = "within: 8d"
_TRAINED_WITHIN: Final = timedelta(minutes=5)


class FraudPlay(Play):
    """One run of it.

    Args:
        seed: Of the world that payments come from; 0: the one whose customers trained the models.
        beaten: True: the new fraud beats both versions, and a third is asked for.
        more: What every demo takes.
    """

    example = "fraud"

    def __init__(self, *, seed: int = 0, beaten: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self._seed = seed
        self._beaten = beaten

    @property
    def _last_version(self) -> int:
        return 3 if self._beaten else 2

    @property
    def _way_out(self) -> set[tuple[str, str]]:
        if self._beaten:
            return {
                ("deployer", "process performance.degraded"),
                ("deployer", "decide"),
                ("golden", "retrain"),
                ("governance", "process model.registered"),
            }
        return {
            ("deployer", "process performance.degraded"),
            ("deployer", "decide"),
            ("registry", "process deployment.rolled_back"),
        }

    def _records(self) -> Iterator[Any]:
        from examples.fraud import traffic as feed
        from examples.fraud.scenarios import Scenario
        from examples.fraud.simulator import DOCUMENTED

        scenario = Scenario.IN_THE_CROWD if self._beaten else Scenario.BELOW_THE_LIMIT
        return cycle(feed.payments(self._seed or DOCUMENTED.seed, scenario))

    def _label_delay(self, record: Any) -> timedelta:
        days: float = record.known_after / timedelta(days=1)
        return _DAY * days

    def _acts(self, running: Platform, story: Story, traffic: Traffic[Any]) -> None:
        self._train(running, 1)
        project = projects.load(self._in_short_days())
        self._screen.act("Version 1: a few rules about the request")
        first = self._admit(story, project, 1, said="rules that anybody can read")
        self._train(running, 2)
        story.live(1)
        traffic.start()
        self._screen.act("Version 2: boosted trees that know customers and terminals")
        second = self._admit(story, project, 2, said="better on held-out payments")
        story.served_enough(traffic, "simulated payments")
        was, now = (version.registered.metrics["cost"] for version in (first, second))
        story.promoted(2, traffic, f"euros a payment {was:.2f} → {now:.2f}")
        if self._beaten:
            with self._trainer(project):
                self._train_again(story, project, traffic)
        else:
            self._outbreak(story, traffic)

    def _admit(self, story: Story, project: projects.Project, version: int, *, said: str) -> registry.Version:
        with self._screen.step("train", "notebook") as step:
            run = self._run_of(version)
            step.say("on 150 simulated days of 1,000 customers")
        made = self._register(story, project, run, said=said)
        story.approved(version)
        return made

    def _outbreak(self, story: Story, traffic: Traffic[Any]) -> None:
        from examples.fraud import traffic as feed

        self._screen.act("A new kind of fraud: stolen cards of big spenders, each just below the limit")
        traffic.break_with(feed.outbreak)
        signal = promise_story.degraded(story, 2)
        before = traffic.tally()
        decision = story.decided(signal, decisions.VERB_ROLL_BACK)
        story.taken_back(1, decision, traffic, before)
        promise_story.explained(story, traffic.tally().newest["2"])
        a_day = feed.payments_a_day()
        with self._screen.step("money", "deployer") as step:
            found = decision.comparison
            low, high = a_day * found.difference_lower, a_day * found.difference_upper
            step.say(f"{low:,.0f} to {high:,.0f} euros a day aren't lost any more, at {a_day:,.0f} payments a day")

    def _train_again(self, story: Story, project: projects.Project, traffic: Traffic[Any]) -> None:
        from examples.fraud import traffic as feed

        self._screen.act("A new kind of fraud: stolen cards of anybody, for amounts that many people pay")
        traffic.break_with(feed.outbreak)
        signal = promise_story.degraded(story, 2)
        decision = story.decided(signal, decisions.VERB_RETRAIN)
        third = promise_story.trained_again(story, decision.signal_id, within=_TRAINED_WITHIN)
        story.approved(third.registered.version)
        limit = third.registered.metrics["cost"] + project.promise.margin
        story.promoted(third.registered.version, traffic, f"promised is {limit:.2f} euros a payment at most")
        promise_story.kept(story, third.registered.version)

    @contextmanager
    def _trainer(self, project: projects.Project) -> Iterator[None]:
        """`golden trainer` beside the project, as its author."""
        command = [sys.executable, "-m", "golden", "--as", "ada:scientist", "trainer", str(project.file.parent)]
        with (self.home / "trainer.log").open("w") as log:
            process = subprocess.Popen(  # noqa: S603 - the command is ours
                command,
                env=os.environ | {"GOLDEN_HOME": str(self.home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield
            finally:
                process.terminate()
                process.wait()

    def _in_short_days(self) -> Path:
        """The example, with outcomes expected within as many of the demo's days."""
        folder = self._draft()
        file = folder / projects.FILE
        file.write_text(file.read_text().replace(_WITHIN, f"within: {8 * _DAY.total_seconds():g}s"))
        return folder
