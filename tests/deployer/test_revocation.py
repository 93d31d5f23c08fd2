"""A revoked stable is taken back where the policy says so, and never where a person has to decide."""

from __future__ import annotations

from uuid import uuid4

import pytest

from services.deployer.domain.deployment import Deployment, Place
from services.deployer.domain.policy import Policy
from services.deployer.domain.rollout import Rollout
from services.deployer.events import HELD, ROLLBACK_DECIDED, Asked
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
