"""The second demo: a new kind of fraud that no input shows. Outcomes do, days later, and the platform goes back.

A day takes `_DAY` here: complaints come as many days after a payment as they would, and so long the monitor waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from golden import project as projects
from golden.demo.play import Play
from golden.demo.story import Story
from golden.demo.traffic import Traffic
from goldenpath.deployer.v1 import events_pb2 as decisions
from goldenpath.registry.v1 import registry_service_pb2 as registry

if TYPE_CHECKING:
    from golden.embedded.platform import Platform

_DAY: Final = timedelta(seconds=2)
_WITHIN: Final = "within: 8d"


class FraudPlay(Play):
    """One run of it.

    Args:
        seed: Of the world that payments come from; 0: the one whose customers trained the models.
        more: What every demo takes.
    """

    example = "fraud"

    def __init__(self, *, seed: int = 0, **more: Any) -> None:
        super().__init__(**more)
        self._seed = seed

    @property
    def _last_version(self) -> int:
        return 2

    @property
    def _way_back(self) -> set[tuple[str, str]]:
        return {
            ("deployer", "process performance.degraded"),
            ("deployer", "decide"),
            ("registry", "process deployment.rolled_back"),
        }

    def _records(self) -> Iterator[Any]:
        from examples.fraud import traffic as feed

        return cycle(feed.payments(self._seed) if self._seed else feed.payments())

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
        signal = story.degraded(2)
        before = traffic.tally()
        decision = story.decided(signal, decisions.VERB_ROLL_BACK)
        story.taken_back(1, decision, traffic, before)
        a_day = feed.payments_a_day()
        with self._screen.step("money", "deployer") as step:
            found = decision.comparison
            low, high = a_day * found.difference_lower, a_day * found.difference_upper
            step.say(f"{low:,.0f} to {high:,.0f} euros a day aren't lost any more, at {a_day:,.0f} payments a day")

    def _in_short_days(self) -> Path:
        """The example, with outcomes expected within as many of the demo's days."""
        folder = self._draft()
        file = folder / projects.FILE
        file.write_text(file.read_text().replace(_WITHIN, f"within: {8 * _DAY.total_seconds():g}s"))
        return folder
