"""The first demo: real census records, a feed that gets stuck, amounts that arrive in cents."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from golden import project as projects
from golden import registration
from golden.commands.register import point_at
from golden.demo.play import Play
from golden.demo.sabotage import Sabotage, change_a_byte, revoke_in_canary
from golden.demo.story import Story
from golden.demo.traffic import Traffic
from goldenpath.deployer.v1 import events_pb2 as decisions
from goldenpath.registry.v1 import registry_service_pb2 as registry

if TYPE_CHECKING:
    from golden.embedded.platform import Platform

_LABEL_DELAY: Final = timedelta(seconds=3)
_QUIET_RECORDS: Final = 20_000
_UNANSWERED: Final = {"collection_process", "known_gaps"}


class Performance(Play):
    """One run of it.

    Args:
        no_drift: True: nothing breaks, and 1995's traffic must stay quiet.
        sabotage: What is broken on purpose, so that the demo must fail.
        more: What every demo takes.
    """

    example = "credit"

    def __init__(self, *, no_drift: bool, sabotage: Sabotage, **more: Any) -> None:
        super().__init__(**more)
        self._no_drift = no_drift
        self._sabotage = sabotage
        self._raised = ""  # by what the monitor made the platform go back

    @property
    def _last_version(self) -> int:
        return 1 if self._no_drift else 2

    @property
    def _way_out(self) -> set[tuple[str, str]]:
        if self._no_drift:
            return set()
        return {
            ("deployer", f"process {self._raised}"),
            ("deployer", "decide"),
            ("registry", "process deployment.rolled_back"),
        }

    def _records(self) -> Iterator[Any]:
        from examples.credit import traffic as feed

        return cycle(feed.records(year=95 if self._no_drift else 94))

    def _label_delay(self, _: Any) -> timedelta:
        return _LABEL_DELAY

    def _acts(self, running: Platform, story: Story, traffic: Traffic[Any]) -> None:
        self._version_1(running, story)
        traffic.start()
        self._version_2(story, traffic)
        self._quiet(story, traffic) if self._no_drift else self._drift(running, story, traffic)

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
        story.served_enough(traffic, "real held-out records")
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
        decision = story.decided(signal, decisions.VERB_HOLD)
        story.held_then_cleared(decision.signal_id, traffic.repair)

        self._screen.act("Act two: the amounts arrive in cents")
        began, before = datetime.now(UTC), traffic.tally()
        traffic.break_with(feed.amounts_in_cents)
        signal = story.seen({"capital_gains", "capital_losses", "dividends"}, began)
        decision = story.decided(signal, decisions.VERB_ROLL_BACK)
        self._raised = story.raised(decision.signal_id)
        story.taken_back(1, decision, traffic, before)

    def _quiet(self, story: Story, traffic: Traffic[Any]) -> None:
        self._screen.act("1995's real traffic on the 1994 model: nothing is wrong, so nothing may happen")
        story.quiet(traffic, _QUIET_RECORDS)

    def _complete(self, project: projects.Project) -> None:
        """What the scientist writes once governance has named what is missing."""
        answers = self._draft_folder / "data" / "datasheet.completed.md"
        shutil.copyfile(answers, project.at(project.dataset.datasheet))
