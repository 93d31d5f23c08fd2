"""Whatever is approved, judged, signalled, revoked, commanded and told twice, in any order: what always holds.

A state machine runs the real handlers on tables in memory, so that a thousand histories take seconds. Governance is a
set of versions that may serve; it is asked where the rollouts job asks it. What is told twice, or late, is told with
the epoch that its sender had seen.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from itertools import count, pairwise
from typing import Any
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.chassis.errors import Conflict
from services.deployer.domain.deployment import Arm, Deployment, Place
from services.deployer.domain.going_back import Outcome, Signal, Trouble, Verb, decide
from services.deployer.domain.policy import Policy
from services.deployer.domain.rollout import WITH_TRAFFIC, Rollout, State, next_of
from services.deployer.domain.routing import routing_of
from services.deployer.events import Asked
from services.deployer.handlers import going_back, holds, retirement, rollouts
from services.deployer.store.decisions import Case
from services.deployer.store.versions import Known
from tests.deployer.fakes import digest_of
from tests.deployer.memory import NOW, Tables, done

PLACE = Place("credit")
POLICIES = (
    Policy(),
    Policy(steps=(50, 100), back_without_answer=True, back_when_revoked=True),
    Policy(steps=(100,), back_when_revoked=True),
    Policy(shadow=True, holdback=5),
)
anywhere = st.integers(0, 30)  # an index into what there is, whatever that is by then


class Rollouts(RuleBasedStateMachine):
    """One deployment's life."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables(Deployment(PLACE))
        self.may_serve: set[int] = set()
        self.newest = 0
        self.signals = count(1)
        self.automatic: list[Deployment] = []  # as it stood after each automatic way back since the last promotion
        self.ended: dict[UUID, Rollout] = {}

    @initialize(served=st.lists(st.sampled_from(POLICIES), max_size=4))
    def some_versions_have_served(self, served: list[Policy]) -> None:
        for policy in served:
            self.a_version_goes_all_the_way(policy)

    # What others do

    @rule(policy=st.sampled_from(POLICIES))
    def a_version_is_approved(self, policy: Policy) -> None:
        self.newest += 1
        self.may_serve.add(self.newest)
        self.tables.versions.setdefault(self.newest, known(self.newest, policy))
        done(rollouts.admit_version(PLACE, self.newest, self.tables.begin()))

    @precondition(lambda self: self.newest)
    @rule(which=anywhere)
    def an_approval_is_told_again(self, which: int) -> None:
        version, before = 1 + which % self.newest, len(self.tables.rollouts)
        tried = [one for one in self.tables.rollouts.values() if one.version == version and not never_admitted(one)]
        done(rollouts.admit_version(PLACE, version, self.tables.begin()))
        assert len(self.tables.rollouts) == before or not tried

    @precondition(lambda self: self.newest)
    @rule(which=anywhere)
    def a_person_deploys(self, which: int) -> None:
        version = 1 + which % self.newest
        if version in self.may_serve:
            with suppress(Conflict):
                done(rollouts.admit_version(PLACE, version, self.tables.begin(actor="otto"), commanded=True))

    @precondition(lambda self: self.newest)
    @rule(which=anywhere)
    def an_approval_is_revoked(self, which: int) -> None:
        version = 1 + which % self.newest
        before = self.tables.deployment
        self.may_serve.discard(version)
        done(going_back.revoke_version(PLACE, version, "no", self.tables.begin()))
        self._note_way_back(before)

    @rule(ago=st.integers(0, 3), late=st.integers(0, 3), trouble=st.sampled_from(Trouble))
    def a_signal_comes(self, ago: int, late: int, trouble: Trouble) -> None:
        version, epoch = max(self.newest - ago, 1), max(self.tables.deployment.epoch - late, 0)
        before = self._everything()
        stale = self.tables.deployment.arm_of(version, epoch) is None
        signal = Signal(f"s{next(self.signals)}", trouble, version, epoch)
        done(going_back.open_decision(signal, PLACE, self.tables.begin()))
        assert not stale or self._everything() == before

    @precondition(lambda self: self.tables.cases)
    @rule(which=anywhere, late=st.booleans())
    def a_signal_is_decided(self, which: int, late: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        case = list(self.tables.cases.values())[which % len(self.tables.cases)]
        seen = self.tables.saved[-2] if late and len(self.tables.saved) > 1 else self.tables.deployment
        outcome = self._outcome(case, seen)
        before, everything = self.tables.deployment, self._everything()
        if outcome is None:
            return
        done(going_back.settle(case.id, outcome, seen, self.tables.begin()))
        self._note_way_back(before)
        assert seen == before or self._everything() == everything

    @precondition(lambda self: self.tables.cases)
    @rule(which=anywhere)
    def a_signal_clears(self, which: int) -> None:
        signal = list(self.tables.cases)[which % len(self.tables.cases)]
        done(going_back.clear_signal(signal, PLACE, "it is over", self.tables.begin()))

    # What the rollouts job does

    @rule(policy=st.sampled_from(POLICIES))
    def a_version_goes_all_the_way(self, policy: Policy) -> None:
        self.a_version_is_approved(policy)
        if self.tables.deployment.hold is None and self._active() is None:
            self.the_next_rollout_begins()
            while (active := self._active()) is not None:
                self._moves(self._next_step(active))

    @precondition(lambda self: self._waiting())
    @rule()
    def the_next_rollout_begins(self) -> None:
        chosen, _ = next_of(self._waiting())
        active = self._active()
        if chosen is None or (active is not None and active.state in WITH_TRAFFIC):
            return
        if chosen.version in self.may_serve:
            policy = self.tables.versions[chosen.version].policy
            done(rollouts.begin_rollout(chosen.id, known(chosen.version, policy), self.tables.begin()))
        else:
            done(rollouts.fail_rollout(chosen.id, PLACE, "it isn't admitted", self.tables.begin()))

    @precondition(lambda self: self.tables.rollouts)
    @rule(which=anywhere)
    def a_server_is_ready(self, which: int) -> None:
        rollout = self._any(which)
        if self._asked(rollout):
            self._moves(rollouts.give_traffic(rollout.id, PLACE, self.tables.begin()))

    @precondition(lambda self: self.tables.rollouts)
    @rule(which=anywhere, person=st.booleans())
    def a_step_is_passed(self, which: int, person: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        rollout = self._any(which)
        if rollout.state not in {State.ADMITTED, State.PROVISIONING} and self._asked(rollout):
            uow = self.tables.begin()
            work = rollouts.advance(rollout.id, PLACE, "fine", uow, verdict_id="v", to_all=person)
            self._moves(work, by_itself=not person)

    @precondition(lambda self: self.tables.rollouts)
    @rule(which=anywhere)
    def a_rollout_is_aborted(self, which: int) -> None:
        stable = self.tables.deployment.stable
        done(rollouts.abort_rollout(self._any(which).id, PLACE, "worse", self.tables.begin()))
        assert self.tables.deployment.stable == stable

    @precondition(lambda self: self.tables.rollouts)
    @rule(which=anywhere)
    def a_server_does_not_start(self, which: int) -> None:
        stable = self.tables.deployment.stable
        done(rollouts.fail_rollout(self._any(which).id, PLACE, "broken", self.tables.begin()))
        assert self.tables.deployment.stable == stable

    # What an operator does

    @rule()
    def an_operator_holds(self) -> None:
        done(holds.hold(PLACE, "wait", self.tables.begin(actor="otto")))

    @rule()
    def an_operator_releases(self) -> None:
        done(holds.release(PLACE, "go on", self.tables.begin(actor="otto")))

    @precondition(lambda self: self.tables.deployment.stable)
    @rule(version=st.integers(0, 6))
    def an_operator_goes_back(self, version: int) -> None:
        uow = self.tables.begin(actor="otto")
        target = done(going_back.rollback_target(self.tables.deployment, uow, version=version))
        if target is not None and self.tables.deployment.stable is not None:
            done(going_back.go_back(PLACE, target, "better", Asked(uuid4(), NOW, actor="otto"), uow))

    @rule()
    def an_operator_retires(self) -> None:
        before = self.tables.deployment
        with suppress(Conflict):
            done(retirement.retire(PLACE, "over", self.tables.begin(actor="otto")))
            assert self.tables.deployment == Deployment(PLACE, epoch=before.epoch + 1)
            assert not self._waiting()
            self.automatic = []

    # What the guard and the servers' job find

    @rule(late=st.booleans())
    def the_units_that_stayed_do_better(self, late: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        seen = self.tables.saved[-2] if late and len(self.tables.saved) > 1 else self.tables.deployment
        before, everything = self.tables.deployment, self._everything()
        if seen.held_back and seen.may_go_back:  # else the guard waits
            done(going_back.leave_for_holdback(seen, "failures", self.tables.begin()))
            self._note_way_back(before)
            assert seen == before or self._everything() == everything

    @precondition(lambda self: self.tables.deployment.warm)
    @rule()
    def a_warm_server_does_not_start(self) -> None:
        warm = self.tables.deployment.warm
        assert warm is not None
        done(going_back.give_up_version(PLACE, warm.version, self.tables.begin()))

    # What always holds

    @invariant()
    def the_epoch_rises_with_every_change_of_a_role_and_only_then(self) -> None:
        for before, after in pairwise([Deployment(PLACE), *self.tables.saved]):
            changed = roles(before) != roles(after)
            assert after.epoch == before.epoch + changed

    @invariant()
    def the_candidate_is_the_one_of_the_only_active_rollout(self) -> None:
        active = [one for one in self.tables.rollouts.values() if not one.over and one.state is not State.ADMITTED]
        candidate = self.tables.deployment.candidate
        assert [one.version for one in active] == ([candidate.version] if candidate else [])

    @invariant()
    def there_is_one_stable_and_its_stay_is_the_last(self) -> None:
        stable = self.tables.deployment.stable
        assert [stay.role for stay in self.tables.stays[-1:]] == ([stable] if stable else [])
        epochs = [stay.role.epoch for stay in self.tables.stays]
        assert epochs == sorted(set(epochs))

    @invariant()
    def a_rollout_that_is_over_never_changes(self) -> None:
        for id_, ended in self.ended.items():
            assert self.tables.rollouts[id_] == ended
        self.ended |= {id_: one for id_, one in self.tables.rollouts.items() if one.over}

    @invariant()
    def what_may_not_serve_stands_behind_nobody_and_has_no_units(self) -> None:
        warm = self.tables.deployment.warm
        assert warm is None or warm.version not in self.tables.revoked | self.tables.unusable
        assert self.tables.deployment.held_back == 0 or warm is not None

    @invariant()
    def the_traffic_is_divided_whole_and_the_stable_keeps_some(self) -> None:
        routes = routing_of([self.tables.deployment], {}).routes
        shares = [{share.arm: share.weight for share in route.shares} for route in routes]
        assert [sum(weights.values()) for weights in shares] == [100] * len(routes)
        assert all(weights[Arm.STABLE] > 0 for weights in shares)

    @invariant()
    def nothing_goes_back_by_itself_twice_for_one_promotion(self) -> None:
        assert len(self.automatic) <= 1

    # Helpers

    def _everything(self) -> object:
        return (
            self.tables.deployment,
            list(self.tables.rollouts.values()),
            list(self.tables.stays),
            dict(self.tables.cases),
        )

    def _any(self, which: int) -> Rollout:
        return list(self.tables.rollouts.values())[which % len(self.tables.rollouts)]

    def _waiting(self) -> list[Rollout]:
        return [one for one in self.tables.rollouts.values() if one.state is State.ADMITTED]

    def _active(self) -> Rollout | None:
        active = done(self.tables.begin().rollouts.active(PLACE))
        return active.rollout if active is not None else None

    def _next_step(self, rollout: Rollout) -> Coroutine[Any, Any, None]:
        if rollout.state is State.PROVISIONING:
            return rollouts.give_traffic(rollout.id, PLACE, self.tables.begin())
        return rollouts.advance(rollout.id, PLACE, "fine", self.tables.begin(), verdict_id="v")

    def _asked(self, rollout: Rollout) -> bool:
        """The job asks governance before anything gains traffic; a no aborts."""
        if rollout.version not in self.may_serve:
            done(rollouts.abort_rollout(rollout.id, PLACE, "it isn't admitted any more", self.tables.begin()))
        return rollout.version in self.may_serve

    def _moves(self, move: Coroutine[Any, Any, None], *, by_itself: bool = True) -> None:
        before = self.tables.deployment
        done(move)
        after = self.tables.deployment
        assert after == before or before.hold is None or not by_itself, "it went on by itself while it was held"
        if after.stable != before.stable:
            self.automatic = []  # a promotion

    def _note_way_back(self, before: Deployment) -> None:
        after = self.tables.deployment
        if after.stable != before.stable:
            assert before.hold is None, "it went back by itself while it was held"
            self.automatic.append(after)

    def _outcome(self, case: Case, seen: Deployment) -> Outcome | None:
        """What the decisions job would come to, had it looked at `seen`."""
        arm = seen.arm_of(case.signal.version, case.signal.epoch)
        if arm is None or case.cleared:
            return Outcome(Verb.IGNORE, "stale")
        if seen.hold is not None:
            return None
        if seen.candidate is not None:
            return Outcome(Verb.ABORT, "trouble") if seen.candidate.version == case.signal.version else None
        target = done(going_back.rollback_target(seen, self.tables.begin()))
        policy = replace(self.tables.versions[case.signal.version].policy, back_without_answer=True)
        return decide(case.signal, target, None, policy, went_back=seen.went_back)


def known(version: int, policy: Policy) -> Known:
    return Known(PLACE, version, digest_of(version), "", "", policy, None, f"verdict-{version}")


def never_admitted(rollout: Rollout) -> bool:
    return rollout.state is State.FAILED and not rollout.digest


def roles(deployment: Deployment) -> tuple[object, object]:
    return deployment.stable, deployment.candidate


Rollouts.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
test_what_always_holds_of_a_rollout = Rollouts.TestCase
