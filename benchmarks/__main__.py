"""`make bench`: every measurement, one after the other, so that none disturbs another.

`make bench ARGS="queries delivery"` runs only these. Ctrl-C ends what the present one has started, and shows what was
measured before it.
"""

from __future__ import annotations

import logging
import signal
import sys
from importlib import import_module
from pathlib import Path

import structlog

from benchmarks.figures import Figure, report
from services.chassis.errors import GoldenpathError

MEASUREMENTS = (
    "queries",
    "delivery",
    "recovery",
    "pipeline",
    "monitor",
    "monitor_peers",
    "monitor_scale",
    "judge",
    "monitor_rules",
    "monitor_nulls",
    "outcomes",
    "monitor_autocorrelated",
    "performance",
    "platform",
    "rollback",
    "modelserver",
    "features",
)
_STOPPED = 130  # as a shell says of what Ctrl-C ended


def main(wanted: list[str]) -> int:
    """Measure, print, and write bench.json beside this file; the exit status."""
    unknown = set(wanted) - set(MEASUREMENTS)
    if unknown:
        sys.exit(f"there is no measurement {min(unknown)}; there are {', '.join(MEASUREMENTS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    figures: list[Figure] = []
    try:
        return max([_measured(name, figures) for name in wanted or MEASUREMENTS])
    except KeyboardInterrupt:
        return _STOPPED
    finally:
        report(figures, Path(__file__).with_name("bench.json"))


def _measured(name: str, figures: list[Figure]) -> int:
    print(f"measuring {name} …", flush=True)
    try:
        figures += import_module(f"benchmarks.{name}").measure()
    except GoldenpathError as error:
        print(f"{name} came to nothing: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
