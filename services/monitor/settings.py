"""What the monitor is told from outside."""

from __future__ import annotations

from pathlib import Path

from services.chassis.settings import ServiceSettings
from services.monitor.join_store import OPEN_RECORDS
from services.monitor.sample_store import KEPT_OUTCOMES


class MonitorSettings(ServiceSettings):
    """The settings of all services, and the monitor's own."""

    kept_records: int = 10_000
    """How many of a watch's newest records are kept with inputs and scores, for GetSample: five times what the deployer
    asks for by default, some 2 MB each."""

    open_records: int = OPEN_RECORDS
    """How many records of a watch wait for their outcome at most, on disk; beyond, a sample of them does that neither
    senders nor outcomes choose, by a hash of their ids."""

    features_store: Path | None = None
    """The feature store's feature_store.yaml, whose history what was served is held against. It should come as somebody
    who can only read. None: nothing is."""

    kept_outcomes: int = KEPT_OUTCOMES
    """How many of a model's newest outcomes are kept: those of the records that wait, of several versions, with room
    for those that come before their record."""
