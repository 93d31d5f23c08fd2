"""What the story has beyond `story` where outcomes tell it: a promise that is broken, and one that is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from golden.demo.story import Story
from golden.explaining import explain
from golden.promises import in_words
from goldenpath.monitor.v1 import events_pb2 as found_pb
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import Conflict

_OUTCOMES_OF_SUCCESSOR: Final = 1_000


def degraded(story: Story, version: int) -> str:
    """Outcomes say that a version broke its promise, while its inputs are what they were; the signal's id."""
    with story.screen.step("seen", "monitor") as step:

        def found() -> found_pb.Signal | None:
            report = story.report()
            step.now(f"{report.performance.rows:,} payments with outcomes, {report.performance.loss:.3f} each")
            return next((one.signal for one in story.signals() if one.level == "degraded"), None)

        signal = step.until(found, within=story.patience * 2, what="performance.degraded")
        if signal.version != version or story.detected_since(datetime.fromtimestamp(0, UTC)):
            raise Conflict(f"the signals speak of version {signal.version}, or of inputs that didn't change")
        kept = signal.performance
        name, estimated = in_words(kept.metric), story.report(version).estimated
        expected = f"scores alone let one expect {estimated.loss:.2f}" if estimated.rows else "nothing was expected"
        step.say(
            f"{name} {kept.loss:.2f}, surely above {kept.lower:.2f}; promised was {kept.limit:.2f} at most"
            f" · {kept.rows:,} outcomes · no input drifts, and {expected}"
        )
        return str(signal.id)


def trained_again(story: Story, signal: str, *, within: timedelta) -> registry.Version:
    """A new version was asked for because of a signal; the trainer answers with one that names the request."""
    with story.screen.step("retrain", "trainer") as step:
        asked = story.deployment().training
        if asked.decision.signal_id != signal:
            raise Conflict("no new version is asked for because of this signal")

        def came() -> registry.Version | None:
            step.now("golden trainer runs the command in golden.yaml")
            newest = story.author.registry.GetVersion(registry.GetVersionRequest(model=story.model)).version
            return newest if newest.registered.training_request == asked.id else None

        made = step.until(came, within=within, what="a version that answers the request")
        step.say(f"{story.model}@{made.registered.version} answers the request, on what was known by then")
        return made


def kept(story: Story, version: int) -> None:
    """Outcomes don't say that a version breaks its promise, on the traffic that broke the one before it."""
    with story.screen.step("kept", "monitor") as step:

        def enough() -> found_pb.Performance | None:
            report = story.report()
            step.now(f"{report.performance.rows:,} payments with outcomes, {report.performance.loss:.3f} each")
            known_by_now = report.version == version and report.performance.known >= _OUTCOMES_OF_SUCCESSOR
            return report.performance if known_by_now else None

        found = step.until(enough, within=story.patience * 2, what=f"outcomes of version {version}")
        if found.lower > found.limit:
            raise Conflict(f"version {version} costs {found.lower:.3f} at least, and {found.limit:.3f} was promised")
        name = in_words(found.metric)
        step.say(f"{name} {found.loss:.2f} on {found.known:,} outcomes; promised was {found.limit:.2f} at most")


def explained(story: Story, record_id: str) -> None:
    """A reviewer asks why one record scored as it did, whether or not the version still serves."""
    with story.screen.step("explain", "golden") as step:
        step.now("golden explain RECORD")
        told = explain(record_id, story.reviewer)
        if not told.says_the_same:
            raise Conflict(f"the record was answered {told.answered}, and its version says {told.reasons.score} now")
        first = told.reasons.parts[0]
        step.say(
            f"a record of version {told.record.version}: score {told.answered:.3g}, first because of"
            f" {first.input} {first.value:g} ({first.part:+.2g})"
        )
