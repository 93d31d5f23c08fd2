"""The monitor's own metrics; the suite's stand in `services.chassis.instruments`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

BATCHES: Final = Counter("goldenpath_monitor_batches", "Batches of records by what became of them.", ["result"])
RECORDS: Final = Counter("goldenpath_monitor_records", "Records that were read.")
