"""The story that the demo tells, step by step, on the platform's own interfaces.

Nothing in it is told that didn't happen: each step asks the platform, and what it finds is checked. A step that
doesn't come true raises, and the demo exits non-zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc

from golden.connection import Connection, error_of
from golden.demo.answers import false_alarms, known, seconds_between
from golden.demo.screen import Screen, Step
from golden.demo.traffic import Tally, Traffic
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import events_pb2 as decisions
from goldenpath.governance.v1 import events_pb2 as judged
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor
from services.chassis.errors import Conflict, Denied

ENVIRONMENT: Final = "production"
_SAID: Final = {
    decisions.VERB_ROLL_BACK: "go back: it helps",
    decisions.VERB_HOLD: "hold: going back is worse",
    decisions.VERB_RETRAIN: "train again: going back is worse",
}
_SERVED_BEFORE_SUCCESSOR: Final = 600  # the rules go back only to a version that served 500 records well


class Story:
    """One model's life on the platform.

    Args:
        model: The model's name.
        author: The platform as the author reaches it.
        reviewer: The platform as a reviewer reaches it.
        both: The platform as the author reaches it, made a reviewer too: who may approve, but nothing of their own.
        screen: Where it is told.
        patience: How long any one thing may take.
    """

    def __init__(
        self,
        model: str,
        *,
        author: Connection,
        reviewer: Connection,
        both: Connection,
        screen: Screen,
        patience: timedelta,
    ) -> None:
        self.model = model
        self.author = author
        self.reviewer = reviewer
        self.both = both
        self.screen = screen
        self.patience = patience

    def refused(self, version: int, *, missing: set[str]) -> None:
        """Governance refuses a version, and names exactly what its datasheet lacks."""
        with self.screen.step("gate", "governance") as step:
            verdict = self._verdict(step, version, judged.VERDICT_STATE_REJECTED)
            failed = [row for row in verdict.evidence if row.outcome == judged.OUTCOME_FAILED]
            named = {key for row in failed for key in row.missing}
            if named != missing:
                raise Conflict(f"governance named {sorted(named)}, and {sorted(missing)} was missing")
            step.took(seconds_between(verdict.requested_at, verdict.decided_at))
            said = ", ".join(sorted(key.replace("_", " ") for key in missing))
            step.say(f"refused: the datasheet has no answer for {said}")

    def approved(self, version: int) -> None:
        """The author can't approve, a reviewer can."""
        with self.screen.step("approve", "governance") as step:
            self._verdict(step, version, judged.VERDICT_STATE_WAITING)
            request = governance.ApproveRequest(model=self.model, version=version, comment="Read the datasheet; fine.")
            self._refused_to_author(request)
            verdict = self.reviewer.governance.Approve(request).verdict
            if verdict.state != judged.VERDICT_STATE_APPROVED:
                raise Conflict(f"after the approval, version {version} isn't approved")
            who = verdict.approvals[-1].reviewer
            step.say(f"approved by {who}; {verdict.registered_by}, who registered it, may not")

    def _refused_to_author(self, request: governance.ApproveRequest) -> None:
        """Even with a reviewer's role: it is about who they are."""
        try:
            self.both.governance.Approve(request)
        except grpc.RpcError as failure:
            error = error_of(failure)
            if isinstance(error, Denied) and "regist" in error.what:
                return
            raise error from None
        raise Conflict("the author could approve what they registered")

    def live(self, version: int) -> None:
        """The first version has all the traffic."""
        with self.screen.step("live", "deployer") as step:
            self._stable(step, version)
            step.say(f"version {version} · first version · 100 %")

    def served_enough(self, traffic: Traffic[Any], records: str) -> None:
        """The stable version has served as much as the rules want of a version to go back to."""
        with self.screen.step("traffic", "clients") as step:

            def enough() -> bool:
                tally = traffic.tally()
                step.now(f"{tally.requests} requests")
                return self.report().rows_seen >= _SERVED_BEFORE_SUCCESSOR

            step.until(enough, within=self.patience, what=f"{_SERVED_BEFORE_SUCCESSOR} records in the monitor")
            step.say(f"{traffic.tally().requests:,} {records}, labels follow seconds later")

    def in_canary(self, version: int) -> None:
        """A candidate has a part of the traffic."""
        with self.screen.step("canary", "deployer") as step:

            def there() -> bool:
                at = self.deployment()
                self._not_failed(at, version)
                return at.position.candidate_version == version and at.position.candidate_weight > 0

            step.until(there, within=self.patience, what=f"the canary of version {version}")

    def promoted(self, version: int, traffic: Traffic[Any], better: str) -> None:
        """A candidate goes through its canary and gets all the traffic."""
        with self.screen.step(f"version {version}", "deployer") as step:
            before, weights = traffic.tally(), [0]

            def done() -> bool:
                at = self.deployment()
                if at.position.candidate_weight not in weights:
                    weights.append(at.position.candidate_weight)
                step.now(f"{at.position.candidate_weight} %  {at.rollout.judgement}")
                self._not_failed(at, version)
                return at.position.stable_version == version and at.effective

            step.until(done, within=self.patience * 2, what=f"the promotion of version {version}")
            path = " → ".join(f"{weight} %" for weight in [*weights[1:], 100] if weight)
            step.say(f"{path} · {better} · promoted{_failures(before, traffic)}")

    def _not_failed(self, at: deployer.Deployment, version: int) -> None:
        ended = (deployer.ROLLOUT_STATE_FAILED, deployer.ROLLOUT_STATE_ROLLED_BACK)
        if at.rollout.version == version and at.rollout.state in ended:
            raise Conflict(f"the rollout of version {version} ended: {at.rollout.judgement}")

    def seen(self, columns: set[str], began: datetime) -> str:
        """The monitor detects drift since a moment, and names columns that were really changed; the signal's id."""
        with self.screen.step("seen", "monitor") as step:

            def found() -> monitor.SignalRecord | None:
                step.now(self.report().sentence)
                return self.detected_since(began)

            record = step.until(found, within=self.patience, what="drift.detected")
            signal = record.signal
            named = [one.feature for one in signal.features]
            if not named or named[0] not in columns:
                raise Conflict(f"the signal names {named}, and {sorted(columns)} was changed")
            step.say(
                f"after {signal.rows_since:,} records · {', '.join(name for name in named if name in columns)}"
                f" · at most {false_alarms(signal.false_alarms_per_year)}"
            )
            return str(signal.id)

    def detected_since(self, began: datetime) -> monitor.SignalRecord | None:
        """The first drift that was detected since a moment; None where none was."""
        for record in reversed(self.signals()):  # the first of them: what comes later speaks of the same trouble
            if record.level == "detected" and record.signal.raised_at.ToDatetime(UTC) >= began:
                return record
        return None

    def signals(self) -> Sequence[monitor.SignalRecord]:
        """The newest signals about the model, newest first."""
        listed = known(lambda: self.author.monitor.ListSignals(monitor.ListSignalsRequest(model=self.model)))
        return listed.records if listed else ()

    def decided(self, signal: str, verb: decisions.Verb.ValueType) -> decisions.Decision:
        """The deployer answers a signal with this verb, and the numbers bear it out."""
        with self.screen.step("decided", "deployer") as step:
            decision = step.until(lambda: self._decision(signal), within=self.patience, what="a decision")
            if decision.verb == decisions.VERB_IGNORE:
                decision = self._answered_first(decision, verb)
            if decision.verb != verb:
                raise Conflict(f"decided {decisions.Verb.Name(decision.verb)}: {decision.reason}")
            numbers = decision.comparison
            if numbers.measure not in {"log_loss", "cost"}:
                raise Conflict(f"decided by {numbers.measure or 'nothing'}, though labels had come")
            helps = numbers.target_loss < numbers.current_loss
            if helps != (verb == decisions.VERB_ROLL_BACK):
                raise Conflict(f"the numbers don't bear the decision out: {decision.reason}")
            said = _SAID[verb]
            step.took(seconds_between(decision.received_at, decision.decided_at))
            step.say(
                f"{said}   {numbers.measure.replace('_', ' ')} {numbers.current_loss:.3f} → {numbers.target_loss:.3f}"
                f"   on {numbers.rows:,} affected records"
            )
            return decision

    def _decision(self, signal: str) -> decisions.Decision | None:
        answer = known(lambda: self.author.deployer.GetDecision(deployer.GetDecisionRequest(id=signal)))
        return answer.decision if answer else None

    def _answered_first(self, ignored: decisions.Decision, verb: decisions.Verb.ValueType) -> decisions.Decision:
        """Inputs and outcomes can both tell of one trouble: what answered the other signal, while this one waited."""
        listed = self.author.deployer.ListDecisions(deployer.ListDecisionsRequest(model=self.model)).decisions
        since = ignored.received_at.ToDatetime(UTC)
        also = (one for one in listed if one.verb == verb and one.decided_at.ToDatetime(UTC) >= since)
        return next(also, ignored)

    def raised(self, signal: str) -> str:
        """What a signal is called on the bus."""
        level = next(record.level for record in self.signals() if record.signal.id == signal)
        return "performance.degraded" if level == "degraded" else "drift.detected"

    def held_then_cleared(self, signal: str, repair: Callable[[], None]) -> None:
        """While it is held nothing moves; once the feed is repaired the signal clears and the hold lifts."""
        with self.screen.step("repaired", "monitor") as step:
            at = self.deployment()
            if not at.held or at.held_for_signal != signal:
                raise Conflict("the deployment isn't held for this signal")
            repair()

            def lifted() -> bool:
                step.now(self.report().sentence)
                return not self.deployment().held

            step.until(lifted, within=self.patience * 2, what="the end of the hold")
            step.say("the feed is repaired, the signal cleared, the hold is lifted")

    def taken_back(self, version: int, decision: decisions.Decision, traffic: Traffic[Any], before: Tally) -> None:
        """An earlier version has all the traffic again, and no request failed."""
        with self.screen.step("effective", "deployer") as step:
            self._stable(step, version)
            made = self._decision(decision.id)
            if made is None or not made.HasField("effective_at"):
                raise Conflict("the rollback has no effective moment")
            step.took(seconds_between(made.decided_at, made.effective_at))
            step.say(f"version {version} has all the traffic{_failures(before, traffic)}")

    def quiet(self, traffic: Traffic[Any], records: int) -> None:
        """Nothing is detected and nothing is held over so many records."""
        with self.screen.step("quiet", "monitor") as step:
            began, start = datetime.now(UTC), traffic.tally().requests

            def enough() -> bool:
                sent = traffic.tally().requests - start
                step.now(f"{sent:,} of {records:,} records  {self.report().sentence}")
                if self.detected_since(datetime.fromtimestamp(0, UTC)) or self.deployment().held:
                    raise Conflict("drift was detected, or the deployment held, where nothing had changed")
                return sent >= records

            step.until(enough, within=self.patience * 10, what=f"{records} records")
            step.say(f"{records:,} records since {began.astimezone():%H:%M:%S}: no drift detected, nothing held")

    def deployment(self) -> deployer.Deployment:
        """Where the deployment stands."""
        asked = deployer.GetDeploymentRequest(model=self.model, environment=ENVIRONMENT)
        return self.author.deployer.GetDeployment(asked).deployment

    def report(self, version: int = 0) -> monitor.GetReportResponse:
        """How a version stands; 0: the stable one."""
        asked = monitor.GetReportRequest(model=self.model, environment=ENVIRONMENT, version=version)
        report = known(lambda: self.author.monitor.GetReport(asked))
        return report or monitor.GetReportResponse(sentence="no records yet")

    def _stable(self, step: Step, version: int) -> None:
        def reached() -> bool:
            at = known(self.deployment)
            if at is None:
                return False
            step.now(at.rollout.judgement)
            self._not_failed(at, version)
            return at.position.stable_version == version and at.position.candidate_version == 0 and at.effective

        step.until(reached, within=self.patience, what=f"version {version} with all the traffic")

    def _verdict(self, step: Step, version: int, state: judged.VerdictState.ValueType) -> judged.Verdict:
        asked = governance.GetVerdictRequest(model=self.model, version=version)

        def found() -> judged.Verdict | None:
            answer = known(lambda: self.author.governance.GetVerdict(asked))
            return answer.verdict if answer and answer.verdict.state == state else None

        return step.until(found, within=self.patience, what=judged.VerdictState.Name(state))


def _failures(before: Tally, traffic: Traffic[Any]) -> str:
    """How many requests failed since; none is what the story claims.

    Raises:
        Conflict: some did.
    """
    since = traffic.tally().since(before)
    if since.failures:
        raise Conflict(f"{since.failures} of {since.requests} requests failed: {'; '.join(traffic.tally().errors)}")
    return f" · 0 of {since.requests:,} requests failed"
