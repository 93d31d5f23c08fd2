"""What the monitor is told from outside."""

from __future__ import annotations

from services.chassis.settings import ServiceSettings
from services.monitor.sample_store import KEPT_OUTCOMES


class MonitorSettings(ServiceSettings):
    """The settings of all services, and the monitor's own."""

    kept_records: int = 10_000
    """How many of a watch's newest records are kept with inputs and scores, for GetSample: five times what the deployer
    asks for by default, some 2 MB each."""

    kept_outcomes: int = KEPT_OUTCOMES
    """How many of a model's newest outcomes are kept: those of the kept records of several versions, with room for
    those that come before their record."""
