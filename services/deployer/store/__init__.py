"""The deployer's tables, and nothing but this package speaks SQL."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from services.chassis.database import UnitOfWork
from services.deployer.store.decisions import Decisions
from services.deployer.store.deployments import Deployments
from services.deployer.store.endpoints import Endpoints
from services.deployer.store.guards import Guards
from services.deployer.store.history import History
from services.deployer.store.rollouts import Rollouts
from services.deployer.store.trainings import Trainings
from services.deployer.store.versions import Stays, Versions

__all__ = ["CHANNEL", "DeployerUnitOfWork"]

CHANNEL: Final = "deployer"
"""What the tables' triggers notify at every change, so that nothing that should be done waits for a poll."""


class DeployerUnitOfWork(UnitOfWork):
    """One transaction on the deployer's tables."""

    @cached_property
    def deployments(self) -> Deployments:
        """Where deployments stand."""
        return Deployments(self.connection)

    @cached_property
    def rollouts(self) -> Rollouts:
        """Attempts to move them."""
        return Rollouts(self.connection, now=self.now)

    @cached_property
    def versions(self) -> Versions:
        """What is known of versions here."""
        return Versions(self.connection)

    @cached_property
    def stays(self) -> Stays:
        """Each stay of a version as a stable."""
        return Stays(self.connection)

    @cached_property
    def history(self) -> History:
        """What happened, and what isn't in effect yet."""
        return History(self.connection, now=self.now)

    @cached_property
    def decisions(self) -> Decisions:
        """Signals and what was decided about them."""
        return Decisions(self.connection, now=self.now)

    @cached_property
    def trainings(self) -> Trainings:
        """Requests for a new version."""
        return Trainings(self.connection, now=self.now)

    @cached_property
    def guards(self) -> Guards:
        """How far promotions have been guarded."""
        return Guards(self.connection)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Server processes."""
        return Endpoints(self.connection)
