"""What governance is told from outside."""

from __future__ import annotations

from datetime import timedelta

from services.chassis.settings import ServiceSettings


class GovernanceSettings(ServiceSettings):
    """The settings of all services, and governance's own."""

    look_again_every: timedelta = timedelta(seconds=2)
    """How long a version that has to be looked at again waits at the longest, should a notification get lost."""
