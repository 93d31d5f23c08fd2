from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Conflict, Invalid, NotFound
from services.deployer.domain.comparison import Comparison
from services.deployer.domain.deployment import Arm, Deployment, Place, Role
from services.deployer.domain.going_back import Served, Signal, Trouble, Verb, decide, numbers, target_of
from services.deployer.domain.policy import Policy, from_json, to_json
from services.deployer.domain.rollout import Rollout, State, next_of
from services.deployer.domain.routing import Address, routing_of

PLACE = Place("credit")
EMPTY = Deployment(PLACE)
ONE = EMPTY.with_candidate(1, "a").promoted()
TWO = ONE.with_candidate(2, "b")
POLICY = Policy()
SIGNAL = Signal("s", Trouble.DRIFT, 2, 4)


def rollout(version: int = 2, state: State = State.ADMITTED, *, commanded: bool = False) -> Rollout:
    return Rollout(uuid4(), PLACE, version, state=state, commanded=commanded)


def test_the_epoch_rises_with_every_change_of_stable_or_candidate() -> None:
    epochs = [EMPTY.epoch, ONE.epoch, TWO.epoch, TWO.with_share(25).epoch, TWO.without_candidate().epoch]
    assert epochs == [0, 2, 3, 3, 4]
    assert TWO.promoted().gone_back(Role(1, "a"), automatic=True).epoch == 5


def test_a_signal_is_stale_once_its_version_has_left_its_role() -> None:
    promoted = TWO.promoted()
    assert TWO.arm_of(2, 3) is Arm.CANDIDATE
    assert promoted.arm_of(2, 3) is None
    assert promoted.arm_of(2, 4) is Arm.STABLE
    assert promoted.arm_of(1, 2) is None


def test_a_stable_keeps_its_role_while_candidates_come_and_go() -> None:
    later = TWO.without_candidate().with_candidate(3, "c")
    assert later.arm_of(1, 2) is Arm.STABLE
    assert later.arm_of(1, later.epoch) is Arm.STABLE
    assert later.arm_of(1, later.epoch + 1) is None


def test_a_version_that_came_back_is_not_in_the_role_that_it_had() -> None:
    back = TWO.promoted().gone_back(Role(1, "a"), automatic=True)
    assert back.arm_of(1, 2) is None
    assert back.arm_of(1, 5) is Arm.STABLE


def test_a_command_of_an_older_epoch_changes_nothing() -> None:
    TWO.check_epoch(0)
    TWO.check_epoch(3)
    with pytest.raises(Conflict, match="moved on"):
        TWO.check_epoch(2)
    with pytest.raises(Invalid):
        TWO.check_epoch(4)


def test_a_promotion_keeps_what_it_replaced_warm_and_may_go_back_again() -> None:
    gone = TWO.promoted().gone_back(Role(1, "a"), automatic=True)
    assert gone.went_back
    again = gone.with_candidate(3, "c").promoted()
    assert again.warm is not None
    assert again.warm.version == 1
    assert not again.went_back


def test_a_hold_of_a_person_outlives_a_signals() -> None:
    held = ONE.held("a person wants it")
    assert held.held("drift", signal_id="s").hold == held.hold
    assert ONE.held("drift", signal_id="s").held("a person wants it").hold == held.hold


@pytest.mark.parametrize("change", [Deployment.promoted, Deployment.without_candidate])
def test_without_a_candidate_there_is_nothing_to_move(change: object) -> None:
    with pytest.raises(NotFound):
        change(ONE)  # type: ignore[operator] # it is one of two methods


def test_a_rollout_goes_through_its_steps_and_ends_promoted() -> None:
    moved = rollout().provision(digest="b", verdict_id="v", policy=POLICY).provisioned(first=False)
    weights = [moved.weight]
    while not moved.over:
        moved = moved.advance("fine", verdict_id="v")
        weights.append(moved.weight)
    assert weights == [5, 25, 100]
    assert moved.state is State.PROMOTED


def test_a_shadow_comes_before_the_first_step() -> None:
    moved = rollout().provision(digest="b", verdict_id="v", policy=Policy(shadow=True)).provisioned(first=False)
    assert (moved.state, moved.weight) == (State.SHADOW, 0)
    assert moved.advance("fine", verdict_id="").weight == 5


def test_after_a_shadow_step_alone_a_version_has_all_the_traffic() -> None:
    policy = Policy(shadow=True, steps=(100,))
    moved = rollout().provision(digest="b", verdict_id="v", policy=policy).provisioned(first=False)
    assert moved.state is State.SHADOW
    assert moved.advance("fine", verdict_id="").state is State.PROMOTED


def test_an_agent_is_never_mirrored_and_a_first_version_has_nothing_to_mirror() -> None:
    begun = rollout().provision(digest="b", verdict_id="v", policy=Policy(shadow=True, acts=True))
    assert begun.provisioned(first=False).state is State.CANARY
    assert rollout().provision(digest="b", verdict_id="v", policy=Policy(shadow=True)).provisioned(first=True).over


@pytest.mark.parametrize("state", [State.PROMOTED, State.ROLLED_BACK, State.FAILED, State.SUPERSEDED])
def test_what_is_over_stays_over(state: State) -> None:
    done = rollout(state=state)
    for move in (done.abort, done.fail, done.promote):
        with pytest.raises(Conflict):
            move("again")


def test_a_version_with_traffic_is_aborted_and_never_failed_or_superseded() -> None:
    canary = rollout(state=State.CANARY)
    assert canary.abort("bad").state is State.ROLLED_BACK
    with pytest.raises(Conflict):
        canary.fail("bad")
    with pytest.raises(Conflict):
        canary.supersede(3)


def test_of_those_that_wait_the_newest_goes_on_unless_a_person_named_one() -> None:
    waiting = [rollout(2), rollout(4), rollout(3)]
    chosen, ended = next_of(waiting)
    assert chosen is not None
    assert chosen.version == 4
    assert {one.version for one in ended} == {2, 3}
    chosen, _ = next_of([*waiting, rollout(1, commanded=True)])
    assert chosen is not None
    assert chosen.version == 1
    assert next_of([]) == (None, [])


def test_a_policy_survives_being_kept() -> None:
    policy = Policy(steps=(10, 50, 100), answer_within=timedelta(seconds=3), shadow=True, back_without_answer=True)
    assert from_json(to_json(policy)) == policy
    assert from_json({}) == POLICY


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"steps": ()}, id="no steps"),
        pytest.param({"steps": (50, 25, 100)}, id="falling"),
        pytest.param({"steps": (0, 100)}, id="nothing"),
        pytest.param({"steps": (5, 25)}, id="never all"),
        pytest.param({"error_margin": 0.0}, id="no margin"),
        pytest.param({"latency_margin": 0.5}, id="faster than itself"),
        pytest.param({"minimum_sample": 0}, id="no sample"),
        pytest.param({"minimum_pairs": 0}, id="no pairs"),
        pytest.param({"holdback": 6}, id="too many held back"),
        pytest.param({"disagreement_limit": 1.0}, id="all may disagree"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        Policy(**wrong)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    "barred",
    [
        pytest.param({"requests": 499}, id="served too little"),
        pytest.param({"signalled": True}, id="had a signal"),
        pytest.param({"left_for_cause": True}, id="was taken back"),
        pytest.param({"revoked": True}, id="is revoked"),
        pytest.param({"unusable": True}, id="doesn't start"),
    ],
)
def test_the_newest_earlier_version_without_trouble_is_gone_back_to(barred: dict[str, int]) -> None:
    oldest, now = Served(Role(1, "a", 2), 900), Served(Role(3, "c", 6), 900)
    fine = Served(Role(2, "b", 4), 900)
    assert target_of([oldest, fine, now], stable=3, minimum_served=500) == fine.role
    bad = Served(**{"role": Role(2, "b", 4), "requests": 900} | barred)  # type: ignore[arg-type] # one field differs
    assert target_of([oldest, bad, now], stable=3, minimum_served=500) == oldest.role
    assert target_of([bad, now], stable=3, minimum_served=500) is None


def test_what_a_version_served_over_all_its_stays_counts_and_so_does_its_past() -> None:
    first, second, now = Served(Role(1, "a", 2), 300), Served(Role(1, "a", 6), 300), Served(Role(2, "b", 8), 9)
    assert target_of([first, second, now], stable=2, minimum_served=500) == second.role
    left = Served(Role(1, "a", 2), 300, left_for_cause=True)
    assert target_of([left, second, now], stable=2, minimum_served=500) is None


def compared(lower: float, upper: float) -> Comparison:
    return Comparison("log_loss", 0.167, 0.126, lower, upper, 500, 400)


@pytest.mark.parametrize(
    ("comparison", "verb"),
    [
        pytest.param(compared(0.02, 0.06), Verb.ROLL_BACK, id="helps"),
        pytest.param(compared(-0.06, -0.02), Verb.HOLD, id="harms"),
        pytest.param(compared(-0.02, 0.06), Verb.HOLD, id="noise"),
        pytest.param(None, Verb.HOLD, id="no answer"),
    ],
)
def test_going_back_is_decided_by_the_numbers(comparison: Comparison | None, verb: Verb) -> None:
    outcome = decide(SIGNAL, Role(1, "a"), comparison, POLICY, went_back=False)
    assert outcome.verb is verb


@pytest.mark.parametrize("comparison", [pytest.param(compared(-1, 1), id="noise"), pytest.param(None, id="no answer")])
def test_high_risk_goes_back_when_unsure_and_stays_when_it_is_worse(comparison: Comparison | None) -> None:
    high = Policy(back_without_answer=True)
    assert decide(SIGNAL, Role(1, "a"), comparison, high, went_back=False).verb is Verb.ROLL_BACK
    assert decide(SIGNAL, Role(1, "a"), compared(-2, -1), high, went_back=False).verb is Verb.HOLD


def test_when_outcomes_are_bad_and_going_back_does_not_help_it_is_time_to_train() -> None:
    signal = Signal("s", Trouble.PERFORMANCE, 2, 4)
    assert decide(signal, Role(1, "a"), compared(-0.06, -0.02), POLICY, went_back=False).verb is Verb.RETRAIN


def test_nowhere_to_go_and_a_way_back_that_is_used_up_both_hold() -> None:
    assert decide(SIGNAL, None, None, POLICY, went_back=False).verb is Verb.HOLD
    assert decide(SIGNAL, Role(1, "a"), compared(1, 2), POLICY, went_back=True).verb is Verb.HOLD


@given(st.integers(1, 99), st.booleans())
def test_shares_always_sum_to_all_of_the_traffic(weight: int, mirrored: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    routing = routing_of([TWO.with_share(weight, mirrored=mirrored)], {})
    assert sum(share.weight for share in routing.routes[0].shares) == 100
    assert (routing.routes[0].mirror is not None) == mirrored


def test_the_warm_version_stands_behind_the_stable_and_behind_nobody_else() -> None:
    warm, stable = Address("w:1", "w:2"), Address("s:1", "s:2")
    routing = routing_of([TWO.promoted()], {(PLACE, 1): [warm], (PLACE, 2): [stable]})
    assert {upstream.version: upstream.fallback for upstream in routing.upstreams} == {2: (warm,), 1: ()}


def test_units_stay_with_the_version_before_where_the_policy_wants_it() -> None:
    promoted = TWO.promoted(holdback=5)
    shares = routing_of([promoted], {}).routes[0].shares
    assert [(share.version, share.arm, share.epoch, share.weight) for share in shares] == [
        (1, Arm.HOLDBACK, 4, 5),
        (2, Arm.STABLE, 4, 95),
    ]
    assert EMPTY.with_candidate(1, "a").promoted(holdback=5).held_back == 0
    assert promoted.gone_back(Role(1, "a"), automatic=True).held_back == 0
    assert promoted.without_warm().held_back == 0


def test_a_holdback_and_the_stable_stand_behind_each_other() -> None:
    warm, stable = Address("w:1", "w:2"), Address("s:1", "s:2")
    routing = routing_of([TWO.promoted(holdback=5)], {(PLACE, 1): [warm], (PLACE, 2): [stable]})
    assert {upstream.version: upstream.fallback for upstream in routing.upstreams} == {2: (warm,), 1: (stable,)}


@given(st.integers(0, 99), st.integers(0, 5))
def test_a_candidates_share_goes_before_the_holdbacks_and_the_stable_always_keeps_some(weight: int, held: int) -> None:
    route = routing_of([TWO.promoted(holdback=held).with_candidate(3, "c").with_share(weight)], {}).routes[0]
    weights = {share.arm: share.weight for share in route.shares}
    assert sum(weights.values()) == 100
    assert weights.get(Arm.CANDIDATE, 0) == weight
    assert weights.get(Arm.HOLDBACK, 0) <= held
    assert weights[Arm.STABLE] >= 1


def test_a_version_that_comes_again_as_the_candidate_is_held_back_no_longer() -> None:
    assert TWO.promoted(holdback=5).with_candidate(1, "a").held_back == 0


def test_nothing_is_routed_before_the_first_version_serves() -> None:
    assert routing_of([EMPTY.with_candidate(1, "a")], {}).routes == ()


def test_what_going_back_saves_is_said_a_day_with_its_assumption() -> None:
    found = Comparison("cost", 4.0, 1.0, 2.5, 3.5, 500, 400, records_a_day=1_000.0)
    saved = "going back saves 2,500 to 3,500 a day, if days to come are like these records"
    assert numbers(found) == f"cost 4.000 → 1.000 on 400 records; {saved}"
