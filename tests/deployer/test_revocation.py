"""A revoked stable is taken back where the policy says so, and never where a person has to decide.

A version that was retired is nothing to go back to, like a revoked one; what serves stays.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from services.deployer.domain.deployment import Deployment, Place
from services.deployer.domain.policy import Policy
from services.deployer.domain.rollout import Rollout
from services.deployer.events import ADVANCED, HELD, ROLLBACK_DECIDED, Asked
from services.deployer.handlers import going_back, holds, rollouts
from services.deployer.store.versions import Known
from tests.deployer.fakes import digest_of
from tests.deployer.memory import NOW, Tables, done

PLACE = Place("credit")
POLICY = Policy(steps=(100,), back_when_revoked=True)


@pytest.fixture
def tables() -> Tables:
    """Three versions have served, one after another."""
    made = Tables(Deployment(PLACE))
    for version in (1, 2, 3):
        rollout = Rollout(uuid4(), PLACE, version)
        known = Known(PLACE, version, digest_of(version), "", "", POLICY, None, f"verdict-{version}")
        done(made.begin().rollouts.add(rollout, traceparent=""))
        done(rollouts.begin_rollout(rollout.id, known, made.begin()))
        done(rollouts.give_traffic(rollout.id, PLACE, made.begin()))
    made.told.clear()
    return made


def revoke(tables: Tables, version: int) -> None:
    done(going_back.revoke_version(PLACE, version, "it is wrong", tables.begin()))


def stable(tables: Tables) -> int:
    assert tables.deployment.stable is not None
    return tables.deployment.stable.version


def test_a_revoked_stable_is_taken_back(tables: Tables) -> None:
    revoke(tables, 3)
    assert stable(tables) == 2
    assert ROLLBACK_DECIDED in tables.told


def test_a_second_revocation_holds_since_it_went_back_once_by_itself(tables: Tables) -> None:
    revoke(tables, 3)
    revoke(tables, 2)
    assert stable(tables) == 2
    assert tables.told[-1] == HELD


def test_a_person_may_go_back_once_more(tables: Tables) -> None:
    revoke(tables, 3)
    uow = tables.begin(actor="otto")
    target = done(going_back.rollback_target(tables.deployment, uow, version=1))
    assert target is not None
    done(going_back.go_back(PLACE, target, "better", Asked(uuid4(), NOW, actor="otto"), uow))
    assert stable(tables) == 1


def test_a_revoked_stable_stays_while_its_deployment_is_held(tables: Tables) -> None:
    done(holds.hold(PLACE, "wait", tables.begin(actor="otto")))
    revoke(tables, 3)
    assert stable(tables) == 3


def test_a_revoked_version_that_was_kept_warm_stands_behind_nobody(tables: Tables) -> None:
    revoke(tables, 2)
    assert tables.deployment.warm is None
    assert stable(tables) == 3
    assert tables.told == []


def test_units_that_stayed_with_a_revoked_version_leave_it(tables: Tables) -> None:
    tables.deployment = replace(tables.deployment, holdback=5)
    revoke(tables, 2)
    assert tables.deployment.held_back == 0
    assert tables.told == [ADVANCED]


def test_a_revoked_stable_that_is_replaced_is_not_kept_warm(tables: Tables) -> None:
    policy = replace(POLICY, back_when_revoked=False)
    tables.versions[3] = replace(tables.versions[3], policy=policy)
    revoke(tables, 3)
    rollout = Rollout(uuid4(), PLACE, 4)
    known = Known(PLACE, 4, digest_of(4), "", "", POLICY, None, "verdict-4")
    done(holds.release(PLACE, "go on", tables.begin(actor="otto")))
    done(tables.begin().rollouts.add(rollout, traceparent=""))
    done(rollouts.begin_rollout(rollout.id, known, tables.begin()))
    done(rollouts.give_traffic(rollout.id, PLACE, tables.begin()))
    assert (stable(tables), tables.deployment.warm) == (4, None)


def test_nothing_goes_back_to_a_retired_version(tables: Tables) -> None:
    for version in (1, 2):
        done(going_back.retire_version(PLACE, version, "it is old", tables.begin()))
    assert tables.deployment.warm is None
    assert done(going_back.rollback_target(tables.deployment, tables.begin())) is None
    assert done(going_back.rollback_target(tables.deployment, tables.begin(), version=1)) is None


def test_a_rollout_of_a_retired_version_ends(tables: Tables) -> None:
    rollout = Rollout(uuid4(), PLACE, 4)
    done(tables.begin().rollouts.add(rollout, traceparent=""))
    done(going_back.retire_version(PLACE, 4, "a mistake", tables.begin()))
    assert not done(tables.begin().rollouts.open(PLACE))
    assert stable(tables) == 3
