"""A service whose clock is wrong by as much as a file says: python -m tests.faults.skewed SERVICE.

Only the injected clock moves; leases and deadlines, which stand on the database's clock and on the loop's, don't.
"""

from __future__ import annotations

import importlib
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.chassis.clock import SystemClock
from services.chassis.runner import main

SKEW = "GOLDEN_FAULTS_SKEW"  # the variable that names the file; it holds seconds, and may be absent


def skew_clock(file: Path) -> None:
    """Let every clock of this process be wrong from now on."""

    def now(self: SystemClock) -> datetime:  # noqa: ARG001 - a method's shape
        try:
            wrong = timedelta(seconds=float(file.read_text()))
        except (OSError, ValueError):
            wrong = timedelta()
        return datetime.now(UTC) + wrong

    SystemClock.now = now  # type: ignore[method-assign] # that is what this module is for


def run(service: str) -> None:
    """Run a service."""
    skew_clock(Path(os.environ[SKEW]))
    main(importlib.import_module(f"services.{service}.app").run)


if __name__ == "__main__":
    run(sys.argv[1])
